# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What the parts of the design are worth at small size: each bridge (in the manner of Table V), and gradient gating.

    python scripts/study_ablation.py bridges --model runs/tiny-base --video-bridge runs/tiny-stage1 \
        --audio-bridge runs/tiny-stage2 --corpus corpus --work runs/ablation --out results/tiny_ablation.json
    python scripts/study_ablation.py gating --model runs/tiny-base --adapter runs/tiny-stage3-start \
        --corpus corpus --work runs/ablation --out results/tiny_ablation.json

`bridges` trains stage 3 on short questions about one medium alone (`see`, `hear`) without bridge, with VECB, with AECB
and with both; projectors are solved anew for each. It counts the cues in the answers to validation clips. `gating`
goes on from one adapter with the paper's questions about one modality of two, with the gates and without, and asks
about clips whose face and voice disagree. Variants differ in nothing else: data, their order, budget and seeds are
the same. Finished runs and answers are kept (see study_runs.py); each part keeps the other's place in the result.
"""

import argparse
import hashlib
import json
import random
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from study_runs import PLAIN, digest, gain_over_seeds, rebuild_bridge, run
from study_tiny import RESAMPLES, SEED, TYPES, answers, f1, obedience

from xemogpt.data.jsonl import read_rows
from xemogpt.data.synth.exact import Truth, exact_cues, names_emotion, read_truth
from xemogpt.data.synth.phrasing import read_cues
from xemogpt.eval.emocue_360.resampling import bootstrap_means
from xemogpt.inference.clips import Clip, gather_clips
from xemogpt.inference.explanation import Question

BRIDGES = {"none": (), "VECB": ("video",), "AECB": ("audio",), "both": ("video", "audio")}
GATING = {"ungated": False, "gated": True}
EXPLAINED = "explained.json"  # shares of the variance of the mean words that the solved projectors explain
OWN = {"visual": "face", "audio": "voice"}
LONGEST = 128  # tokens of an answer; an untrained model does not know when to stop
COMMON = {**PLAIN, "check": False, "dataloader_num_workers": 1}


class Unasked(Question):
    """What `see` and `hear` of stage 3 ask: nothing. The task says of which modality the answer is."""

    @property
    def text(self) -> str:
        return ""

    @property
    def prompt_id(self) -> str:
        return "none"


ALONE: dict[str, Callable[[Clip], Clip]] = {
    "visual": lambda clip: replace(clip, audio=False, subtitle=None),
    "audio": lambda clip: replace(clip, video=None, audio=clip.video, subtitle=None),
}


@dataclass(frozen=True)
class Counted:
    """Of clips (N,), in one order: hits, cues told, cues shown (N, 3), and whether the own emotion was named (N,)."""

    cues: np.ndarray
    obeys: np.ndarray
    floor: float


def counted(said: Mapping[str, str], truth: Mapping[str, Truth], kind: str) -> Counted:
    """The cues of one modality in answers about it, and whether they name its emotion before any other."""
    told = [{cue: sign for cue, sign in read_cues(text, kind).items() if cue in TYPES[kind]} for text in said.values()]
    shown = [{cue: sign for cue, sign in truth[name].cues.items() if cue in TYPES[kind]} for name in said]
    scores = exact_cues(told, shown)
    rows = [[row[key] for key in ("hits", "said", "shown")] for row in scores["samples"]]
    obeys = [names_emotion(text, getattr(truth[name], OWN[kind])) for name, text in said.items()]
    return Counted(np.array(rows, float), np.array(obeys, float), scores[kind]["floor"] or 0.0)


def share(values: np.ndarray) -> np.ndarray:
    """A mean (..., 1) of shares, as `f1` one of counts."""
    return values[..., 0]


def gain(
    values: Sequence[np.ndarray], base: Sequence[np.ndarray], score: Callable[[np.ndarray], np.ndarray]
) -> dict[str, Any]:
    """How much higher a variant scores than another, on the mean of the seeds, with its 95 % interval.

    Both are asked about the same clips after training from the same seeds: what is hard or lucky for both cancels. The
    half width joins what other seeds would do (Student's t; a bootstrap of so few would be too narrow) and what other
    clips would do (bootstrap), as independent.

    Args:
        values, base: for each seed (N, k), the same clips in the same order. score: of means (..., k).
    """
    both = np.stack([np.stack(values), np.stack(base)])  # (2, seeds, clips, k)
    _, seeds, clips, width = both.shape
    flat = both.transpose(2, 0, 1, 3).reshape(clips, -1)
    means = bootstrap_means(flat, RESAMPLES, SEED).reshape(-1, 2, seeds, width)
    of_clips = np.subtract(*np.percentile((score(means)[:, 0] - score(means)[:, 1]).mean(1), (97.5, 2.5))) / 2
    by_seed = score(both.mean(2))
    over_seeds = gain_over_seeds(*by_seed)
    middle = over_seeds["gain"]
    half = float(np.hypot(of_clips, over_seeds["interval"][1] - middle))
    return {"gain": middle, "interval": [middle - half, middle + half], "by_seed": (by_seed[0] - by_seed[1]).tolist()}


def started(args: argparse.Namespace, name: str) -> Path:
    """The model, as a folder, with the bridges of a variant, from stages 1 and 2, and projectors solved for them.

    It is what stage 3 would make of the same settings in each run; once for all seeds, since it takes minutes.
    """
    from xemogpt.train import stage3_sft
    from xemogpt.train.collator import InstructionCollator
    from xemogpt.train.mixture import read_mixture
    from xemogpt.train.projector_start import start_projectors

    manifest = args.corpus / "train/manifest.jsonl"
    kept: dict[str, Any] = {f"{media}_bridge": str(getattr(args, f"{media}_bridge")) for media in BRIDGES[name]}
    known = [digest(path) for path in (args.model, manifest, *kept.values())] + [args.start_projectors, *kept]
    folder = args.work / f"{name}-start-{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:10]}"
    if (folder / EXPLAINED).is_file():
        return folder
    arguments = stage3_sft.Arguments(
        model=str(args.model), model_dtype="bfloat16", start_projectors=args.start_projectors, **kept
    )
    model, processor, _ = stage3_sft.load(arguments)
    for media in {"video", "audio"} - set(BRIDGES[name]):
        rebuild_bridge(model, media, 0)
    samples = read_mixture([{"manifest": str(manifest)}]).samples
    random.Random(SEED).shuffle(samples)
    rows = stage3_sft.projector_rows(samples, arguments)
    explained = start_projectors(model, InstructionCollator(processor), rows, workers=1)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / EXPLAINED).write_text(json.dumps(explained) + "\n", encoding="utf-8")  # last
    return folder


def first_clips(split: Path, count: int, out: Path) -> Path:
    """A manifest of the first so many clips of a split, with full paths."""
    rows = list(islice(read_rows(split / "manifest.jsonl"), count))
    for row in rows:
        row |= {name: str((split / row[name]).resolve()) for name in ("video", "audio") if row.get(name)}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return out


def answered(
    adapter: Path, clips: Mapping[str, Sequence[Clip]], questions: Mapping[str, Question], batch_size: int
) -> dict[str, dict[str, str]]:
    """An adapter's answers to each question about its clips, by id; each is kept as soon as it is there.

    It is merged, since that answers faster, into a folder that is removed again.
    """
    from xemogpt.hub.merge import merge

    asked = {kind: [str(clip.id) for clip in each] for kind, each in clips.items()}
    folder = adapter / f"answers-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:10]}"
    done, merged = folder / "all.json", adapter / "merged"
    if not done.is_file():
        folder.mkdir(exist_ok=True)
        shutil.rmtree(merged, ignore_errors=True)
        merge(adapter, merged)
        told = {
            kind: answers(clips[kind], question, folder, kind, str(merged), batch_size, LONGEST)
            for kind, question in questions.items()
        }
        done.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        shutil.rmtree(merged)
    return json.loads(done.read_text(encoding="utf-8"))


def course(out: Path) -> dict[str, float]:
    """How many questions a run has seen, in how many seconds, and its last validation loss, if it had one."""
    state = json.loads((out / "trainer_state.json").read_text(encoding="utf-8"))
    names = {"train_runtime": "train_seconds", "eval_loss": "loss"}
    found = {names[key]: row[key] for row in state["log_history"] for key in names if key in row}
    return {"questions": state["global_step"] * state["train_batch_size"]} | found


def compared(
    runs: Mapping[str, Sequence[np.ndarray]], score: Callable[[np.ndarray], np.ndarray], pairs: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Scores of variants, by seed (clips, k), and the gains of pairs of them."""
    by_seed = {name: [float(score(each.mean(0))) for each in rows] for name, rows in runs.items()}
    return {
        "mean": {name: float(np.mean(each)) for name, each in by_seed.items()},
        "by_seed": by_seed,
        "gains": {f"{one} - {other}": gain(runs[one], runs[other], score) for one, other in pairs},
    }


def bridges(args: argparse.Namespace) -> dict[str, Any]:
    """Stage 3 on short questions with each set of bridges: cues, floors and validation loss."""
    split = args.corpus / "validation"
    manifest = first_clips(split, args.clips, args.work / f"validation-{args.clips}.jsonl")
    truth, clips = read_truth(split / "truth.jsonl"), gather_clips([manifest])
    asked = {kind: [change(clip) for clip in clips] for kind, change in ALONE.items()}
    questions = {kind: Unasked(kind) for kind in ALONE}
    starts = {name: started(args, name) for name in BRIDGES}
    found: dict[str, dict[str, list[Counted]]] = {kind: {name: [] for name in BRIDGES} for kind in ALONE}
    courses: dict[str, list[dict[str, float]]] = {name: [] for name in BRIDGES}
    for seed in range(args.seeds):
        for name in BRIDGES:
            settings = COMMON | {
                "model": starts[name],
                "video_bridge": None,
                "audio_bridge": None,
                "start_projectors": 0,
                "data": [{"manifest": args.corpus / "train/manifest.jsonl"}],
                "eval_data": [{"manifest": manifest}],
                "per_device_train_batch_size": 8,
                "media_learning_rate": 2e-4,
                "lr_scheduler_type": "cosine",
                "max_steps": args.steps,
                "seed": seed,
            }
            out = run("stage3", "stage3_start.yaml", settings, args.set, args.work, f"{name}-{seed}")
            courses[name].append(course(out))
            told = answered(out, asked, questions, args.batch_size)
            for kind in ALONE:
                found[kind][name].append(counted(told[kind], truth, kind))
            _say(f"{name}, seed {seed}", found, name, courses[name][-1])
    pairs = (("VECB", "none"), ("AECB", "none"), ("both", "none"), ("both", "VECB"), ("both", "AECB"))
    losses = {name: [row["loss"] for row in rows] for name, rows in courses.items()}
    return {
        "what": "stage 3 of the small model on short questions about one medium, with and without bridges",
        "budget": _budget(args, courses) | {"clips to solve projectors from": args.start_projectors},
        "projectors explain": {name: json.loads((path / EXPLAINED).read_text()) for name, path in starts.items()},
        "exact F1": _cues(found, pairs),
        "validation loss": {
            "mean": {name: float(np.mean(each)) for name, each in losses.items()},
            "by_seed": losses,
            "gains": {f"{one} - {other}": gain_over_seeds(losses[one], losses[other]) for one, other in pairs},
        },
    }


def gating(args: argparse.Namespace) -> dict[str, Any]:
    """Stage 3 on the questions about one modality of two, gated or not: cues and obedience where the two disagree."""
    split = args.corpus / "test_conflict"
    truth = read_truth(split / "truth.jsonl")
    clips = gather_clips([first_clips(split, args.clips, args.work / f"test_conflict-{args.clips}.jsonl")])
    apart = np.array([truth[str(clip.id)].face != truth[str(clip.id)].voice for clip in clips])
    questions = {kind: Question(kind) for kind in OWN}
    found: dict[str, dict[str, list[Counted]]] = {kind: {name: [] for name in GATING} for kind in OWN}
    courses: dict[str, list[dict[str, float]]] = {name: [] for name in GATING}
    obeyed: dict[str, list[dict[str, Any]]] = {name: [] for name in GATING}
    for seed in range(args.seeds):
        for name, gated in GATING.items():
            settings = COMMON | {
                "model": args.model,
                "adapter": args.adapter,
                "kinds": list(OWN),
                "blind": 0.0,
                "gating": gated,
                "data": [{"manifest": args.corpus / "train/manifest.jsonl"}],
                "eval_data": [],
                "max_steps": args.steps,
                "seed": seed,
            }
            out = run("stage3", "stage3.yaml", settings, args.set, args.work, f"{name}-{seed}")
            courses[name].append(course(out))
            told = answered(out, dict.fromkeys(OWN, clips), questions, args.batch_size)
            for kind in OWN:
                found[kind][name].append(counted(told[kind], truth, kind))
            obeyed[name].append(obedience(told, truth))
            _say(f"{name}, seed {seed}", found, name, courses[name][-1])
    pairs = (("gated", "ungated"),)
    named = {
        kind: {name: [each.obeys[apart, None] for each in rows] for name, rows in found[kind].items()} for kind in OWN
    }
    return {
        "what": "stage 3 of the small model on questions about one modality of two, on clips where the two disagree",
        "budget": _budget(args, courses) | {"clips where they disagree": int(apart.sum())},
        "exact F1": _cues(found, pairs),
        "names the own emotion first": {kind: compared(named[kind], share, pairs) for kind in OWN},
        "obedience": obeyed,
    }


def _cues(found: Mapping[str, Mapping[str, Sequence[Counted]]], pairs: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Exact F1 by modality with its floor, and of both modalities' cues together."""
    counts = {
        kind: {name: [each.cues for each in rows] for name, rows in table.items()} for kind, table in found.items()
    }
    counts["all"] = {
        name: [np.sum(each, axis=0) for each in zip(*(counts[kind][name] for kind in found), strict=True)]
        for name in next(iter(found.values()))
    }
    scores = {kind: compared(table, f1, pairs) for kind, table in counts.items()}
    for kind, table in found.items():
        scores[kind]["floor"] = {name: float(np.mean([each.floor for each in rows])) for name, rows in table.items()}
    return scores


def _say(
    run: str, found: Mapping[str, Mapping[str, Sequence[Counted]]], name: str, about: Mapping[str, float]
) -> None:
    scores = " ".join(f"{kind} {f1(table[name][-1].cues.mean(0)):.3f}" for kind, table in found.items())
    print(f"{run}: exact F1 {scores}", *(f"{key} {value:.4g}" for key, value in about.items()), flush=True)


def _budget(args: argparse.Namespace, courses: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """What each run was given, the same for all; settings are the recipe's but for what the command says."""
    every = [row for rows in courses.values() for row in rows]
    (questions,) = {row["questions"] for row in every}
    seconds = [row["train_seconds"] for row in every]
    told = {"steps": args.steps, "questions": questions, "seeds": args.seeds, "clips asked about": args.clips}
    return told | {"train_seconds": [round(min(seconds)), round(max(seconds))]}


def shown(found: Mapping[str, Any]) -> str:
    """A part of the result as rows of a Markdown table: means of the seeds, and gains with their 95 % intervals."""
    measures = {f"{kind} F1": row for kind, row in found["exact F1"].items()}
    measures |= {
        f"{kind}: names the own emotion": row for kind, row in found.get("names the own emotion first", {}).items()
    }
    if "validation loss" in found:
        measures["validation loss"] = found["validation loss"]
    first = next(iter(measures.values()))
    head = ["", *first["mean"], *first["gains"]]
    lines = [head, ["---"] * len(head)]
    for name, row in measures.items():
        means = [f"{value:.2f}" for value in row["mean"].values()]
        gains = [
            f"{each['gain']:+.2f} ({each['interval'][0]:+.2f} to {each['interval'][1]:+.2f})"
            for each in row["gains"].values()
        ]
        lines.append([name, *means, *gains])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, ask, compare, write."""
    from xemogpt.eval.score import provenance, shown_command

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parts = parser.add_subparsers(dest="part", required=True)
    for name, about, steps, clips in (("bridges", bridges.__doc__, 70, 60), ("gating", gating.__doc__, 60, 60)):
        part = parts.add_parser(name, help=about)
        part.add_argument("--model", required=True, type=Path, metavar="DIR", help="whose bridges are untrained")
        part.add_argument("--corpus", required=True, type=Path, metavar="DIR", help="folder that `xemogpt synth` made")
        part.add_argument("--work", required=True, type=Path, metavar="DIR", help="where the runs are kept")
        part.add_argument("--steps", type=int, default=steps, metavar="N", help="of each run (default: %(default)s)")
        part.add_argument("--seeds", type=int, default=3, metavar="N", help="2 at least (default: %(default)s)")
        part.add_argument("--clips", type=int, default=clips, metavar="N", help="asked about (default: %(default)s)")
        part.add_argument("--batch-size", type=int, default=32, metavar="N", help="of the answers")
        part.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe, as for `train`"
        )
        part.add_argument("--out", required=True, type=Path, metavar="FILE.json", help="the other part in it is kept")
    table = parts.choices["bridges"]
    table.add_argument("--video-bridge", required=True, type=Path, metavar="DIR", help="of stage 1")
    table.add_argument("--audio-bridge", required=True, type=Path, metavar="DIR", help="of stage 2")
    table.add_argument("--start-projectors", type=int, default=1000, metavar="N", help="clips (default: %(default)s)")
    parts.choices["gating"].add_argument("--adapter", required=True, type=Path, metavar="DIR", help="the common start")
    args = parser.parse_args(argv)
    if args.seeds < 2:
        parser.error("--seeds: an interval takes 2 at least")
    kept = json.loads(args.out.read_text(encoding="utf-8")) if args.out.is_file() else {}
    command = shlex.join(["python", "scripts/study_ablation.py"]) + " " + shown_command(argv or sys.argv[1:])
    found = {"bridges": bridges, "gating": gating}[args.part](args)
    result = kept | {args.part: {"command": command} | found | provenance()}
    scratch = args.out.with_name(f".{args.out.name}.part")
    scratch.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    scratch.replace(args.out)
    print(shown(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
