# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Which layer of the small audio tower knows best how something was said? Linear probes of audio cues, by layer.

    python scripts/study_audio_layers.py --corpus corpus --out results/audio_layers.json

Every layer of Whisper tiny.en's encoder is read through its final norm, as a tower of so many layers would be. Of a
clip: the mean of each quarter, spread, peak and mean change of every channel; on these a ridge regression to each cue,
its penalty chosen on the last fifth of the training clips. Scored on validation clips by mean average precision, which
needs no threshold; of the cues that pitch alone gives away, also apart for the voices of men and of women.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xemogpt.data.jsonl import read_rows
from xemogpt.data.synth.cue_types import AUDIO
from xemogpt.data.synth.exact import read_truth
from xemogpt.data.synth.voice import voice_names
from xemogpt.eval.emocue_360.resampling import interval
from xemogpt.eval.score import provenance, shown_command
from xemogpt.hub.tiny import load_whisper_encoder
from xemogpt.media_xemogpt import load_audio
from xemogpt.towers_xemogpt import encode_voices
from xemogpt.train.stage0_tower import mean_average_precision

QUARTERS = 4
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # in shares of the mean variance of a channel
PITCH = ("high_pitch", "low_pitch", "monotone", "lively_intonation", "rising_end")
RESAMPLES = 1000
SEED = 0


def summary(steps: np.ndarray) -> np.ndarray:
    """Steps (L, d) of a clip -> (7 d,)."""
    parts = [quarter.mean(0) for quarter in np.array_split(steps, QUARTERS)]
    return np.concatenate([*parts, steps.std(0), steps.max(0), np.abs(np.diff(steps, axis=0)).mean(0)])


def speakers(split: Path, count: int) -> list[str]:
    """Whose voice each of the first so many clips has."""
    known = {row["id"]: row["speaker"] for row in read_rows(split / "truth.jsonl")}
    return [known[row["id"]] for row in islice(read_rows(split / "manifest.jsonl"), count)]


@torch.no_grad()
def features(split: Path, count: int) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """Of the first so many clips: summaries (N, 7 d) by number of layers, and which cues (N, types) they show."""
    truth = read_truth(split / "truth.jsonl")
    rows = list(islice(read_rows(split / "manifest.jsonl"), count))
    shown = np.array([[truth[row["id"]].cues.get(cue, 0) > 0 for cue in AUDIO] for row in rows])
    encoder, extractor = load_whisper_encoder()
    read = partial(extractor, sampling_rate=16000, padding="longest", truncation=False, return_tensors="pt")
    passed: list[torch.Tensor] = []
    for layer in encoder.layers:
        layer.register_forward_hook(lambda _, __, steps: passed.append(steps))
    found: dict[int, list[np.ndarray]] = {layers: [] for layers in range(1, len(encoder.layers) + 1)}
    with ThreadPoolExecutor(2) as pool:
        for waveform in pool.map(load_audio, [split / row["video"] for row in rows]):
            passed.clear()
            encode_voices(encoder, input_features=read(waveform)["input_features"])
            for layers, steps in enumerate(passed, 1):
                found[layers].append(summary(encoder.layer_norm(steps)[0].numpy()))
    return {layers: np.array(each) for layers, each in found.items()}, shown


def ridge(known: np.ndarray, wanted: np.ndarray, asked: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    """Every penalty with scores (M, types) of `asked` (M, k), learnt from `known` (N, k) and `wanted` (N, types)."""
    mean, spread = known.mean(0), known.std(0) + 1e-6
    known, asked = (np.clip((each - mean) / spread, -6, 6) for each in (known, asked))
    square = known @ known.T / known.shape[1]
    for penalty in PENALTIES:
        weights = np.linalg.solve(square + penalty * np.eye(len(square)), wanted - wanted.mean(0))
        yield penalty, asked @ known.T / known.shape[1] @ weights + wanted.mean(0)


def probe(known: np.ndarray, wanted: np.ndarray, asked: np.ndarray) -> tuple[float, np.ndarray]:
    """The penalty that is best on the last fifth of the known clips, and the scores of `asked` with it."""
    fit = len(known) * 4 // 5
    tried = ridge(known[:fit], wanted[:fit], known[fit:])
    best = max((mean_average_precision(scores, wanted[fit:] > 0.5), penalty) for penalty, scores in tried)[1]
    return best, dict(ridge(known, wanted, asked))[best]


def by_voice(scores: np.ndarray, shown: np.ndarray, male: np.ndarray, drawn: Sequence[np.ndarray]) -> dict[str, Any]:
    """Mean average precision of the cues of pitch, (N, types) each, for men's voices (N,) and women's, and the gap."""
    pitch = np.array([list(AUDIO).index(cue) for cue in PITCH])

    def precision(rows: np.ndarray) -> float:
        return mean_average_precision(scores[np.ix_(rows, pitch)], shown[np.ix_(rows, pitch)])

    sexes = (("men", True), ("women", False))
    found: dict[str, Any] = {name: precision(np.flatnonzero(male == is_male)) for name, is_male in sexes}
    gaps = [precision(rows[~male[rows]]) - precision(rows[male[rows]]) for rows in drawn]
    gap = {"gain": found["women"] - found["men"], "interval": list(interval(np.array(gaps)) or ())}
    return found | {"women - men": gap}


def main(argv: Sequence[str] | None = None) -> int:
    """Probe every layer, compare, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--corpus", required=True, type=Path, metavar="DIR", help="folder that `xemogpt synth` made")
    parser.add_argument("--clips", type=int, default=2000, metavar="N", help="to learn from (default: %(default)s)")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.json")
    args = parser.parse_args(argv)
    known, wanted = features(args.corpus / "train", args.clips)
    asked, shown = features(args.corpus / "validation", args.clips)
    male = np.isin(speakers(args.corpus / "validation", args.clips), voice_names(True))
    rng = np.random.default_rng(SEED)
    drawn = [rng.integers(len(shown), size=len(shown)) for _ in range(RESAMPLES)]
    table: dict[int, dict[str, Any]] = {}
    resampled: dict[int, np.ndarray] = {}
    for layers in known:
        penalty, scores = probe(known[layers], wanted.astype(float), asked[layers])
        resampled[layers] = np.array([mean_average_precision(scores[each], shown[each]) for each in drawn])
        table[layers] = {
            "mean_average_precision": mean_average_precision(scores, shown),
            "interval": list(interval(resampled[layers]) or ()),
            "penalty": penalty,
            "by_cue": {
                cue: mean_average_precision(scores[:, [i]], shown[:, [i]])
                for i, cue in enumerate(AUDIO)
                if shown[:, i].any()
            },
            "pitch_by_voice": by_voice(scores, shown, male, drawn),
        }
        print(f"{layers} layers: {table[layers]['mean_average_precision']:.3f}", flush=True)
    deepest = max(table)
    for layers in table:
        table[layers]["gain_over_all"] = {
            "gain": table[layers]["mean_average_precision"] - table[deepest]["mean_average_precision"],
            "interval": list(interval(resampled[layers] - resampled[deepest]) or ()),
        }
    about = {
        "what": "linear probes of audio cues in the features of Whisper tiny.en's encoder, cut after each layer",
        "command": f"python scripts/study_audio_layers.py {shown_command(argv or sys.argv[1:])}",
        "clips": {"train": len(wanted), "validation": len(shown), "of men": int(male.sum())},
        "shown": {cue: int(shown[:, i].sum()) for i, cue in enumerate(AUDIO)},
    }
    result = about | {"layers": {str(layers): each for layers, each in table.items()}} | provenance()
    args.out.write_text(json.dumps(result | {"seed": SEED}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
