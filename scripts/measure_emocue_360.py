# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Speed and memory of EmoCue-360: one pass over the distinct cues of a run, against calls of the encoder a sample.

    python scripts/measure_emocue_360.py --descriptions emer_v2_reason.csv --out results/emocue_360_speed.json

Descriptions are made of cues drawn from those of real ones, about twelve a side. The way of each sample is measured on
a part and scaled; so is the case in which no cue occurs twice, where one pass has only its batches to win by.
"""

import argparse
import json
import random
import resource
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

DIMENSIONS = ("visual", "audio", "global")
A_SIDE = {"visual": 5, "audio": 3, "global": 4}

Description = dict[str, list[str]]


def per_sample(predictions: Sequence[Description], references: Sequence[Description], encoder: Any) -> np.ndarray:
    """Precision and recall (3, 2) with two calls of the encoder a sample and dimension, as the authors' code."""
    scores = np.zeros((len(references), 3, 2))
    for number, (said, truth) in enumerate(zip(predictions, references, strict=True)):
        for column, name in enumerate(DIMENSIONS):
            similarity = encoder(truth[name]) @ encoder(said[name]).T
            scores[number, column] = similarity.max(0).mean(), similarity.max(1).mean()
    return scores.mean(0)


def one_pass(predictions: Sequence[Description], references: Sequence[Description], encoder: Any) -> np.ndarray:
    """The same (3, 2) by the metric."""
    from xemogpt.eval.emocue_360.scoring import score

    result = score(predictions, references, preset="equation", encoder=encoder)
    return np.array([[result[name]["precision"], result[name]["recall"]] for name in DIMENSIONS])


def draw(pool: dict[str, list[str]], count: int, chance: random.Random) -> list[Description]:
    """Descriptions of cues from the pool."""
    return [{name: chance.sample(pool[name], size) for name, size in A_SIDE.items()} for _ in range(count)]


def timed(work: Any, *args: Any) -> tuple[Any, float]:
    """What it gives, and the seconds it takes."""
    started = time.perf_counter()
    result = work(*args)
    return result, time.perf_counter() - started


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the result."""
    from xemogpt.eval.emocue_360.encoder import SentenceEncoder
    from xemogpt.eval.emocue_360.rules import RulesExtractor
    from xemogpt.eval.records import read_records
    from xemogpt.eval.score import provenance

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--descriptions", required=True, metavar="FILE", help="whose cues are drawn")
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--part", type=int, default=100, metavar="N", help="pairs of the per-sample way")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, metavar="FILE.json")
    args = parser.parse_args(argv)

    chance, extractor = random.Random(args.seed), RulesExtractor()
    pool: dict[str, dict[str, None]] = {name: {} for name in DIMENSIONS}
    for record in read_records(args.descriptions).values():
        for cue in extractor.extract(record.text or ""):
            if cue.kind != "subtitle":
                pool[cue.modality][cue.text] = None
    cues = {name: list(texts) for name, texts in pool.items()}
    predictions, references = (draw(cues, args.pairs, chance) for _ in range(2))
    encoder = SentenceEncoder()
    encoder(["warm up"] * 8)
    before = _peak()
    whole, seconds = timed(one_pass, predictions, references, encoder)
    peak = _peak()
    part = slice(args.part)
    slow, part_seconds = timed(per_sample, predictions[part], references[part], encoder)
    np.testing.assert_allclose(one_pass(predictions[part], references[part], encoder), slow, atol=1e-5)
    # No cue twice: the same texts, numbered.
    fresh = [
        [
            {name: [f"{text} {side} {number}" for text in row[name]] for name in DIMENSIONS}
            for number, row in enumerate(rows[part])
        ]
        for side, rows in (("a", predictions), ("b", references))
    ]
    _, distinct_one = timed(one_pass, *fresh, encoder)
    _, distinct_each = timed(per_sample, *fresh, encoder)
    projected = part_seconds * args.pairs / args.part
    measured = {
        "pairs": args.pairs,
        "cues_a_side": sum(A_SIDE.values()),
        "distinct_cues": len(
            {text for row in [*predictions, *references] for name in DIMENSIONS for text in row[name]}
        ),
        "one_pass_s": round(seconds, 2),
        "one_pass_peak_bytes": peak,
        "one_pass_added_bytes": peak - before,
        "per_sample_part": args.part,
        "per_sample_part_s": round(part_seconds, 2),
        "per_sample_projected_s": round(projected, 1),
        "times_faster": round(projected / seconds, 1),
        "no_cue_twice": {
            "pairs": args.part,
            "one_pass_s": round(distinct_one, 2),
            "per_sample_s": round(distinct_each, 2),
            "times_faster": round(distinct_each / distinct_one, 2),
        },
    }
    print(json.dumps(measured, indent=2))
    bare = [Path(word).name if Path(word).is_absolute() else word for word in argv or sys.argv[1:]]
    about = {"command": shlex.join(["python", "scripts/measure_emocue_360.py", *bare])}
    Path(args.out).write_text(json.dumps(about | measured | provenance() | {"seed": args.seed}, indent=2) + "\n")
    return 0


def _peak() -> int:
    """Bytes of memory that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(main())
