# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""How often a real annotator invents cues on rendered clips: without the label, with the right one, with a wrong one.

    python scripts/study_annotator.py --corpus corpus/test_identity --endpoint http://localhost:8000/v1 --model NAME \
        --answers runs/annotator --out annotator.json

Asked by the builder's own passes and prompts; every answer is kept, so a stopped study goes on. What a cue says is
read exactly (`xemogpt.data.synth.phrasing.read_cues`), and the builder's `verify` judges the passes with the wrong
label beside the one without. Every share comes with its 95 % bootstrap interval over clips.
"""

import argparse
import asyncio
import json
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from xemogpt.data.emocue.checks import VERSION
from xemogpt.data.emocue.client import Asker, Budget, Endpoint, RequestLog
from xemogpt.data.emocue.recipe import Pass, Recipe
from xemogpt.data.emocue.stages import Rejected, index_clip, infer_clip
from xemogpt.data.readers import read_dataset
from xemogpt.data.synth.cue_types import AUDIO, EMOTIONS, VISUAL
from xemogpt.data.synth.exact import Truth, read_truth
from xemogpt.data.synth.phrasing import read_cues
from xemogpt.eval.builder_quality import RESAMPLES, SEED, Annotated, share, verify_quality
from xemogpt.eval.emocue_360.resampling import paired_bootstrap

_SEES = {"visual": "frames", "audio": "audio"}
_TYPES = {"visual": set(VISUAL), "audio": set(AUDIO)}


async def asked(rows: Sequence[dict[str, Any]], wrong: Sequence[str], endpoint: Endpoint, folder: Path) -> list[Any]:
    """Of each clip the passes without the label, with the right one and with a wrong one, or why there are none."""
    labelled = [Pass(name, "m", f"emocue-{name}-1", (sees,), ("labels",)) for name, sees in _SEES.items()]
    blind = Pass("blind", "m", "emocue-blind-1", tuple(_SEES.values()), ("subtitle",))
    source = {"reader": "manifest", "root": "."}
    ways = {
        way: Recipe(source, str(folder), {"m": endpoint}, passes)
        for way, passes in (("blind", (blind,)), ("right label", (*labelled,)), ("wrong label", (*labelled,)))
    }
    path = folder / "requests.jsonl"
    log, busy = RequestLog(path), asyncio.Semaphore(2 * endpoint.in_flight)
    asker = Asker(endpoint, log, Budget({}, folder, path))

    async def one(row: dict[str, Any], other: str) -> Any:
        async with busy:
            try:
                clip = await asyncio.to_thread(index_clip, row)
                relabelled = clip | {"sample": row | {"label": other, "labels": []}}
                rows = [relabelled if way == "wrong label" else clip for way in ways]
                done = [await infer_clip(each, ways[way], {"m": asker}) for each, way in zip(rows, ways, strict=True)]
                return {way: each["passes"] for way, each in zip(ways, done, strict=True)}
            except Rejected as reason:
                return str(reason)

    try:
        return await asyncio.gather(*(one(row, other) for row, other in zip(rows, wrong, strict=True)))
    finally:
        await asker.client.close()
        log.close()


def measured(answers: Sequence[Any], truths: Sequence[Truth], wrong: Sequence[str]) -> dict[str, Any]:
    """Invented cues as they are read exactly, and what `verify` makes of those of a wrong label."""
    kept = [each for each in zip(answers, truths, wrong, strict=True) if not isinstance(each[0], str)]
    reasons = Counter(each for each in answers if isinstance(each, str))
    result: dict[str, Any] = {"clips": len(kept), "rejected": dict(reasons), "cues": {}}
    rates: dict[str, list[float | None]] = {}
    for way in ("blind", "right label", "wrong label"):
        said = [set().union(*map(cue_types, all_cues(answer[way]))) for answer, *_ in kept]
        shown = [{cue for cue, sign in truth.cues.items() if sign > 0} for _, truth, _ in kept]
        invented = [a - b for a, b in zip(said, shown, strict=True)]
        typical = [len({*EMOTIONS[other]} & bad) for bad, (*_, other) in zip(invented, kept, strict=True)]
        result["cues"][way] = {
            "told": share([len(all_cues(answer[way])) for answer, *_ in kept], [1] * len(kept)),
            "invented": share([len(each) for each in invented], [len(each) for each in said]),
            "invented and typical of the wrong label": share(typical, [len(each) for each in said]),
            "of the clip's cues": share([len(a & b) for a, b in zip(said, shown, strict=True)], list(map(len, shown))),
        }
        rates[way] = [len(bad) / len(each) if each else None for bad, each in zip(invented, said, strict=True)]
    for way in ("right label", "wrong label"):
        pairs = [pair for pair in zip(rates[way], rates["blind"], strict=True) if None not in pair]
        if pairs:
            mine, blind = ([pair[place] for pair in pairs] for place in range(2))
            result[f"invented, {way} against blind"] = paired_bootstrap(mine, blind, RESAMPLES, SEED)
    clips = []
    for answer, truth, other in kept:
        clip = Annotated([*answer["wrong label"], *answer["blind"]], [other], {})
        for each in clip.passes:
            for number, cue in enumerate(each["cues"]):
                types = cue_types(cue)
                true = all(truth.cues.get(kind) == 1 for kind in types)
                kind = "not read" if not types else "true" if true else "invented"
                clip.kinds[f"{each['name']}.{number}"] = f"{kind}, {'blind' if each['blind'] else 'labelled'}"
        clips.append(clip)
    return result | ({"verify": verify_quality(clips)["kinds"]} if clips else {})


def all_cues(passes: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """The cues of several passes."""
    return [cue for each in passes for cue in each["cues"]]


def cue_types(cue: dict[str, str]) -> set[str]:
    """The types of cue that a cue's text asserts of its modality."""
    read = read_cues(cue["text"], cue["modality"]) if cue["modality"] in _TYPES else {}
    return {kind for kind, sign in read.items() if sign > 0} & _TYPES.get(cue["modality"], set())


def wrong_labels(truths: Sequence[Truth]) -> list[str]:
    """For each clip an emotion that neither its face, its voice nor its label has."""
    rng = np.random.default_rng(SEED)
    return [str(rng.choice([e for e in EMOTIONS if e not in (t.label, t.face, t.voice)])) for t in truths]


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, read and write the result."""
    from xemogpt.eval.score import provenance, shown_command

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--corpus", required=True, type=Path, metavar="DIR", help="a split that `xemogpt synth` made")
    add("--clips", type=int, default=200, metavar="N", help="the first N (default: %(default)s)")
    add("--endpoint", required=True, metavar="URL", help="OpenAI-compatible; its key is in EMOCUE_API_KEY")
    add("--model", required=True, metavar="NAME", help="its name there")
    add("--json", default="schema", help="as in a recipe's endpoints (default: %(default)s)")
    add("--answers", required=True, type=Path, metavar="DIR", help="where answers are kept")
    add("--out", required=True, metavar="FILE.json")
    args = parser.parse_args(argv)
    args.answers.mkdir(parents=True, exist_ok=True)
    truth = dict(islice(read_truth(args.corpus / "truth.jsonl").items(), args.clips))
    samples = {sample.id: sample for sample in read_dataset("manifest", args.corpus) if sample.id in truth}
    truths, wrong = list(truth.values()), wrong_labels(list(truth.values()))
    endpoint = Endpoint(args.endpoint, args.model, json=args.json)
    rows = [samples[name].to_row() for name in truth]
    answers = asyncio.run(asked(rows, wrong, endpoint, args.answers))
    about = {
        "what": "how often an annotator invents cues on rendered clips whose cues are known",
        "command": shlex.join(["python", "scripts/study_annotator.py"]) + " " + shown_command(argv or sys.argv[1:]),
        "model": args.model,
        "rules": VERSION,
    }
    found = about | measured(answers, truths, wrong) | provenance() | {"seed": SEED}
    Path(args.out).write_text(json.dumps(found, indent=1) + "\n")
    for way, each in found["cues"].items():
        print(f"{way:12} invented {each['invented']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
