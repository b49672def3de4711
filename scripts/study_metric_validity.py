# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Which metric ranks descriptions as the truth does? The truth is known of EmoCue-Synth's clips.

    python scripts/study_metric_validity.py --out results/metric_validity.json --figure docs/metric_validity.png

Descriptions of every quality are composed from a clip's cues, in other words than the reference: with a share of the
cues left out, with cues that the clip does not show, with cues denied, with another emotion, of another clip. Their
exact F1 is read off the cue types that went into them, so no parser stands between. Every metric scores the same
texts; the result is the rank correlation of its scores with the exact F1 over these systems, and within each clip.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr

from xemogpt.data.synth.cue_types import AUDIO, VISUAL
from xemogpt.data.synth.exact import exact_cues
from xemogpt.data.synth.paragraph import Story, TypedCue, compose
from xemogpt.data.synth.phrasing import EMOTION_WORDS
from xemogpt.data.synth.plan import draw_plan

SEED = 0
KEPT, ADDED = (1.0, 0.75, 0.5, 0.25, 0.0), (0.0, 0.5, 1.0)
RESAMPLES = 1000
PRESETS = ("official", "equation", "robust")
DIMENSIONS = ("visual", "audio", "global")
COMPARED = (
    ("EmoCue-360 official", "BLEU-1"),
    ("EmoCue-360 official", "CIDEr"),
    ("EmoCue-360 robust", "EmoCue-360 official"),
    ("official, no global", "EmoCue-360 official"),
    ("robust, no global", "EmoCue-360 robust"),
    ("robust, no global", "official, no global"),
)


@dataclass(frozen=True)
class Told:
    """A description: its text, and the cues that it asserts or denies."""

    text: str
    cues: dict[str, int]


def stories(count: int) -> list[Story]:
    """What clips of the corpus show, two cues at least, without rendering them."""
    found: list[Story] = []
    index = 0
    while len(found) < count:
        plan = draw_plan(SEED, index)
        index += 1
        cues = [
            TypedCue(shown.type, modality, 1, shown.intensity)
            for modality, kinds in (("visual", plan.visual), ("audio", plan.audio))
            for shown in kinds
        ]
        if len(cues) > 1 and plan.face_emotion and plan.voice_emotion:
            emotions = (plan.face_emotion, plan.voice_emotion, plan.words_emotion, plan.label)
            found.append(Story(plan.person.is_male, 4.0, plan.sentence, tuple(cues), *emotions))
    return found


def told(story: Story, rng: np.random.Generator, held_out: bool = True) -> Told:
    """The story in words; `held_out` takes phrasings that the references never use."""
    text, _ = compose(story, rng, held_out)
    return Told(text, {cue.type: cue.polarity for cue in story.cues})


def thinned(story: Story, kept: float, added: float, rng: np.random.Generator) -> Story:
    """A share of the cues, and false ones, `added` times as many as there were true ones; shares hold on average."""
    count = len(story.cues)
    true = [story.cues[index] for index in rng.permutation(count)[: int(kept * count + rng.random())]]
    shown = {cue.type for cue in story.cues}
    pool = [(name, "visual") for name in VISUAL if name not in shown]
    pool += [(name, "audio") for name in AUDIO if name not in shown]
    drawn = rng.permutation(len(pool))[: int(added * count + rng.random())]
    false = [TypedCue(pool[index][0], pool[index][1], 1, float(rng.uniform(0.5, 1.0))) for index in drawn]
    return replace(story, cues=(*true, *false))


def other_emotion(story: Story, rng: np.random.Generator) -> Story:
    """The same cues, another feeling."""
    others = [name for name in EMOTION_WORDS if name not in (story.face, story.voice, story.words, story.label)]
    name = others[int(rng.integers(len(others)))]
    return replace(story, face=name, voice=name, words=name, label=name)


def systems(clips: Sequence[Story]) -> dict[str, list[Told]]:
    """Descriptions of all clips by the system that tells them."""
    ways: dict[str, Callable[[int, np.random.Generator], Told]] = {}
    for kept, added in product(KEPT, ADDED):

        def partly(index: int, rng: np.random.Generator, kept: float = kept, added: float = added) -> Told:
            return told(thinned(clips[index], kept, added, rng), rng)

        ways[f"{kept:.0%} of the cues, {added:.0%} false"] = partly
    ways["all cues denied"] = lambda index, rng: told(
        replace(clips[index], cues=tuple(replace(cue, polarity=-1) for cue in clips[index].cues)), rng
    )
    ways["all cues, another emotion"] = lambda index, rng: told(other_emotion(clips[index], rng), rng)
    ways["another clip"] = lambda index, rng: told(clips[(index + 1) % len(clips)], rng)
    ways["another clip, this clip's emotion"] = lambda index, rng: told(
        replace(clips[index], cues=clips[(index + 1) % len(clips)].cues), rng
    )
    ways["all cues, the reference's phrasings"] = lambda index, rng: told(clips[index], rng, held_out=False)
    ways["half of the cues, the reference's phrasings"] = lambda index, rng: told(
        thinned(clips[index], 0.5, 0.0, rng), rng, held_out=False
    )
    return {
        name: [way(index, np.random.default_rng([SEED, number, index])) for index in range(len(clips))]
        for number, (name, way) in enumerate(ways.items(), 1)
    }


def measure(
    said: Sequence[Told], references: Sequence[str], truth: Sequence[dict[str, int]], encoder: Any
) -> dict[str, Any]:
    """A system's exact F1 and every metric, over all clips, and for each clip where a metric gives that."""
    from xemogpt.eval.emocue_360.scoring import score
    from xemogpt.eval.text_metrics import bleu, cider, cider_d

    exact = exact_cues([each.cues for each in said], truth)
    samples = {"exact F1": [2 * row["hits"] / max(row["said"] + row["shown"], 1) for row in exact["samples"]]}
    texts = [each.text for each in said]
    whole = {"exact F1": exact["all"]["f1"]}
    for preset in PRESETS:
        result = score(texts, references, preset=preset, encoder=encoder, derangements=0, bootstrap=0, per_sample=True)
        for name, parts in ((f"EmoCue-360 {preset}", DIMENSIONS), (f"{preset}, no global", DIMENSIONS[:2])):
            whole[name] = float(np.mean([result[part]["f1"] for part in parts]))
            samples[name] = [
                float(np.mean([row[part]["f1"] for part in parts if row.get(part)] or [0.0]))
                for row in result["samples"]
            ]
    for order in (1, 4):
        whole[f"BLEU-{order}"] = bleu(texts, references, order)[0]
    for name, metric in (("CIDEr", cider), ("CIDEr-D", cider_d)):
        samples[name] = metric(texts, references)
        whole[name] = float(np.mean(samples[name]))
    return {"scores": whole, "samples": samples}


def correlations(table: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each metric with the exact F1: over systems, with an interval over systems; and within clips, averaged."""
    names = [name for name in next(iter(table.values()))["scores"] if name != "exact F1"]
    truth = np.array([row["scores"]["exact F1"] for row in table.values()])
    weights, found = resamples(len(truth)), dict[str, dict[str, Any]]()
    for name in names:
        values = np.array([row["scores"][name] for row in table.values()])
        found[name] = {
            "spearman": float(spearmanr(truth, values).statistic),
            "kendall": float(kendalltau(truth, values).statistic),
            "kendall_interval": interval(kendall(truth, values, weights)),
        }
        if name in next(iter(table.values()))["samples"]:
            ours, theirs = (np.array([row["samples"][key] for row in table.values()]).T for key in ("exact F1", name))
            within = [kendalltau(a, b).statistic for a, b in zip(ours, theirs, strict=True)]
            found[name]["kendall_within_clips"] = float(np.nanmean(within))
    return found


def differences(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Of Kendall's tau of two metrics, from the scores by system; the interval is over the same resampled systems."""
    truth = np.array([row["exact F1"] for row in scores.values()])
    weights, found = resamples(len(truth)), dict[str, dict[str, Any]]()
    for pair in COMPARED:
        whole, drawn = (
            [kendall(truth, np.array([row[name] for row in scores.values()]), each) for name in pair]
            for each in (np.ones((1, len(truth))), weights)
        )
        found[" - ".join(pair)] = {
            "kendall": float((whole[0] - whole[1])[0]),
            "interval": interval(drawn[0] - drawn[1]),
        }
    return found


def resamples(systems: int) -> np.ndarray:
    """float[r, n]: how often each of n systems was drawn in each of r resamples."""
    drawn = np.random.default_rng(SEED).integers(systems, size=(RESAMPLES, systems))
    return (drawn[..., None] == np.arange(systems)).sum(1).astype(float)


def kendall(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float[r]: Kendall's tau-b of n values, each there as often as a row of weights (r, n) says; NaN if all tie."""
    a, b = (np.sign(each[:, None] - each) for each in (a, b))
    both, ours, theirs = (np.einsum("ri,ij,rj->r", weights, each, weights) for each in (a * b, a * a, b * b))
    with np.errstate(invalid="ignore"):
        return both / np.sqrt(ours * theirs)


def interval(drawn: np.ndarray) -> list[float]:
    """The 95 % in the middle."""
    return [float(each) for each in np.nanpercentile(drawn, (2.5, 97.5))]


def draw(table: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]], path: str) -> None:
    """Each metric against the exact F1, one dot a system."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = [name for name in found if "equation" not in name]  # which gives the scores of "official" here
    figure, axes = plt.subplots(2, 4, figsize=(13, 6.4), sharex=True)
    truth = [row["scores"]["exact F1"] for row in table.values()]
    for axis, name in zip(axes.flat, names, strict=False):
        axis.scatter(truth, [row["scores"][name] for row in table.values()], s=22, color="#24537a")
        for special, color in (("all cues denied", "#b3261e"), ("all cues, another emotion", "#2e7d32")):
            if special not in table:
                continue
            row = table[special]["scores"]
            axis.scatter([row["exact F1"]], [row[name]], s=40, color=color, label=special)
        axis.set_title(f"{name}\nKendall {found[name]['kendall']:.2f}", fontsize=10)
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    if axes.flat[0].get_legend_handles_labels()[0]:
        axes.flat[0].legend(loc="lower center", frameon=False, fontsize=9)
    figure.supxlabel("exact F1 of the cues")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def write(
    out: str, figure: str | None, about: dict[str, Any], table: dict[str, dict[str, Any]], found: dict[str, Any]
) -> None:
    """The result, and the figure where one is asked for."""
    from xemogpt.eval.score import provenance

    systems = {name: row["scores"] for name, row in table.items()}
    scores = {"correlations": found, "differences": differences(systems), "systems": systems}
    Path(out).write_text(json.dumps(about | scores | provenance() | {"seed": SEED}, indent=2) + "\n")
    if figure:
        draw(table, found, figure)


def main(argv: Sequence[str] | None = None) -> int:
    """Compose, score, correlate, write."""
    from xemogpt.eval.cue_scores import Remembering
    from xemogpt.eval.score import shown_command

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=100, metavar="N", help="default: %(default)s")
    parser.add_argument("--out", required=True, metavar="FILE.json")
    parser.add_argument("--figure", metavar="FILE.png")
    args = parser.parse_args(argv)

    clips, encoder = stories(args.clips), Remembering()
    references = [told(each, np.random.default_rng([SEED, 0, i]), held_out=False).text for i, each in enumerate(clips)]
    truth = [{cue.type: 1 for cue in story.cues} for story in clips]
    table = {}
    for name, said in systems(clips).items():
        table[name] = measure(said, references, truth, encoder)
        print(f"{name:44}", *(f"{key} {value:.3f}" for key, value in table[name]["scores"].items()), flush=True)
    found = correlations(table)
    for name, row in found.items():
        print(f"{name:22}", row, flush=True)
    about = {
        "what": "rank correlation of metrics with the exact F1 of cues, over descriptions of known quality",
        "command": f"python scripts/study_metric_validity.py {shown_command(argv or sys.argv[1:])}",
        "clips": args.clips,
    }
    write(args.out, args.figure, about, table, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
