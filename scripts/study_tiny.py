# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What the small model tells of held-out rendered clips, whose cues are known; with and without picture and sound.

    python scripts/study_tiny.py --corpus corpus --answers runs/study --out results/tiny_study.json

Every answer is kept in the folder of the answers, so that a stopped study goes on; greedy decoding. The result holds
numbers only: exact cues, EmoCue-360, the emotion, obedience where face and voice conflict, and claims of the blind.
"""

import argparse
import json
import shlex
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from xemogpt.data.jsonl import read_rows
from xemogpt.data.synth.cue_types import AUDIO, VISUAL
from xemogpt.data.synth.exact import Truth, exact_cues, names_emotion, read_truth, says_conflict
from xemogpt.data.synth.phrasing import parse_emotions, read_cues
from xemogpt.data.synth.render import empty_room
from xemogpt.data.synth.voice import RATE
from xemogpt.eval.emocue_360.resampling import bootstrap_means, interval
from xemogpt.inference.clips import Clip, gather_clips
from xemogpt.inference.explanation import Decoding, Question

SPLITS = ("test_identity", "test_voice", "test_phrasing", "test_combination", "test_conflict")
BLIND = "test_identity"
TYPES = {"visual": set(VISUAL), "audio": set(AUDIO)}
OTHER = {"visual": "audio", "audio": "visual"}
RESAMPLES = 2000
SEED = 0


def shuffled(clip: Clip) -> Clip:
    """The clip with its frames in another order, and its own sound."""
    from xemogpt.media_xemogpt import load_video

    frames = load_video(str(Path(clip.folder or ".", str(clip.video))), 16).frames
    order = np.random.default_rng(SEED).permutation(len(frames))
    return replace(clip, video=frames[order], audio=clip.video)


def nobody(clip: Clip) -> Clip:
    """The clip's sound with pictures of an empty room."""
    room = empty_room(zlib.crc32(clip.name.encode()), 128)
    return replace(clip, video=np.stack([room] * 16), audio=clip.video)


def silence(clip: Clip) -> Clip:
    """The clip's pictures with three seconds of faint noise."""
    return replace(clip, audio=0.001 * np.random.default_rng(SEED).standard_normal(3 * RATE).astype(np.float32))


CONTROLS: dict[str, Callable[[Clip], Clip]] = {
    "no sound": lambda clip: replace(clip, audio=False),
    "no picture": lambda clip: replace(clip, video=None, audio=clip.video),
    "subtitle alone": lambda clip: replace(clip, video=None, audio=False),
    "frames shuffled": shuffled,
    "no subtitle": lambda clip: replace(clip, subtitle=None),
    "nobody": nobody,
    "silence": silence,
}


def answers(
    clips: Sequence[Clip],
    task: str | Question,
    folder: Path,
    name: str,
    model: str | None,
    batch_size: int,
    max_new_tokens: int = 320,
) -> dict[str, str]:
    """The model's texts by id, out of a file where they are there already."""
    from xemogpt.inference.batch import explain_files

    out = folder / f"{name}.jsonl"
    decoding = Decoding(max_new_tokens=max_new_tokens)
    question = task if isinstance(task, Question) else Question(task)
    summary = explain_files(clips, out, model=model, question=question, decoding=decoding, batch_size=batch_size)
    if summary.rejected:
        raise ValueError(f"{name}: {summary.rejected} clips were rejected, see {folder / 'rejects.jsonl'}")
    found = {row["id"]: row["text"] for row in read_rows(out)}
    return {str(clip.id): found[str(clip.id)] for clip in clips}


def exact(said: Mapping[str, str | Mapping[str, int]], truth: Mapping[str, Truth], default: str | None = None) -> dict:
    """Exact scores by modality, F1 with its 95 % interval over clips, and how often each cue is hit."""
    scores = exact_cues(list(said.values()), [truth[name].cues for name in said], default)
    del scores["samples"]
    by_modality = {kind: counts(said, truth, kind, default) for kind in TYPES}
    for kind, rows in (by_modality | {"all": by_modality["visual"] + by_modality["audio"]}).items():
        scores[kind]["f1_interval"] = list(interval(resampled_f1(rows)) or ())
    return scores


def counts(
    said: Mapping[str, str | Mapping[str, int]], truth: Mapping[str, Truth], kind: str, default: str | None = None
) -> np.ndarray:
    """Of each answer (N, 3): cues of a modality that are hit, told, shown."""
    told = [claimed(text, kind, default) for text in said.values()]
    shown = [{cue for cue, sign in truth[name].cues.items() if sign > 0} & TYPES[kind] for name in said]
    return np.array([[len(a & b), len(a), len(b)] for a, b in zip(told, shown, strict=True)], float)


def f1(rows: np.ndarray) -> np.ndarray:
    """F1 of summed or averaged counts (..., 3)."""
    hits, told, shown = np.moveaxis(rows, -1, 0)
    return 2 * hits / np.maximum(told + shown, 1e-9)


def resampled_f1(rows: np.ndarray) -> np.ndarray:
    """F1 of counts (N, 3), in bootstrap samples of clips that are the same for any answers to the same clips."""
    return f1(bootstrap_means(rows, RESAMPLES, SEED))


def lost(said: Mapping[str, str], less: Mapping[str, str], truth: Mapping[str, Truth], kind: str) -> dict[str, Any]:
    """How much F1 of a modality answers lose to those that were given less, with its paired 95 % interval."""
    whole, rest = (counts(each, truth, kind) for each in (said, less))
    apart = interval(resampled_f1(whole) - resampled_f1(rest))
    return {"lost": float(f1(whole.sum(0)) - f1(rest.sum(0))), "interval": list(apart or ())}


def share(hits: Sequence[bool]) -> dict[str, Any] | None:
    """A share with its 95 % bootstrap interval; None of nothing."""
    if not hits:
        return None
    values = np.array(hits, float)
    found = interval(bootstrap_means(values[:, None], RESAMPLES, SEED)[:, 0])
    return {"share": float(values.mean()), "interval": list(found or ()), "n": len(hits)}


def emocue(said: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, Any]:
    """EmoCue-360 of the same answers: official with its floor, robust with its adjusted scores."""
    from xemogpt.eval.cue_scores import Remembering
    from xemogpt.eval.emocue_360.scoring import score

    pair, encoder = (list(said.values()), [texts[name] for name in said]), Remembering()
    found = {}
    for preset in ("official", "equation", "robust"):
        result = score(*pair, ids=list(said), preset=preset, encoder=encoder, derangements=20, bootstrap=RESAMPLES)
        kept = ("visual", "audio", "global", "mean", "mean_f1", "floor", "adjusted", "interval", "signature")
        found[preset] = {key: result[key] for key in kept if key in result}
    return found


def emotion(said: Mapping[str, str], truth: Mapping[str, Truth]) -> dict[str, Any] | None:
    """How often the emotion named last is the clip's."""
    return share([concluded_emotion(text) == truth[name].label for name, text in said.items()])


def concluded_emotion(text: str) -> str | None:
    """The emotion of the last sentence that names one."""
    for sentence in reversed(text.split(". ")):
        if named := parse_emotions(sentence):
            return named[-1]
    return None


def obedience(told: Mapping[str, Mapping[str, str]], truth: Mapping[str, Truth]) -> dict[str, Any]:
    """Where face and voice conflict: does each question get its own modality's emotion, is the conflict told?

    Args:
        told: answers to `visual` and `audio`, by id, and to `reason` where it was asked.
    """
    apart = [name for name, each in truth.items() if each.face != each.voice and name in told["visual"]]
    alike = [name for name, each in truth.items() if each.face == each.voice and name in told["visual"]]
    found: dict[str, Any] = {}
    for kind, own, other in (("visual", "face", "voice"), ("audio", "voice", "face")):
        texts = told[kind]
        named = [name for name in apart if parse_emotions(texts[name])]
        found[kind] = {
            "names an emotion": share([bool(parse_emotions(texts[name])) for name in apart]),
            f"names the {own}'s, of these": share(
                [names_emotion(texts[name], getattr(truth[name], own)) for name in named]
            ),
            f"names the {other}'s, of these": share(
                [names_emotion(texts[name], getattr(truth[name], other)) for name in named]
            ),
            "claims of the other modality": share([bool(claimed(texts[name], OTHER[kind], kind)) for name in apart]),
        }
    if "reason" in told:
        found["both"] = {
            "tells the conflict": share([says_conflict(told["reason"][name]) for name in apart]),
            "tells one where there is none": share([says_conflict(told["reason"][name]) for name in alike]),
        }
    return found


def claimed(text: str | Mapping[str, int], modality: str, default: str | None = None) -> set[str]:
    """The cues of a modality that a text asserts, or what `read_cues` made of it."""
    told = read_cues(text, default) if isinstance(text, str) else text
    return {cue for cue, sign in told.items() if sign > 0} & TYPES[modality]


def claims(said: Mapping[str, str]) -> dict[str, float]:
    """Cues of each modality that an answer asserts, on average; there should be none of an absent medium."""
    return {key: float(np.mean([len(claimed(text, key)) for text in said.values()])) for key in ("visual", "audio")}


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, score and write the result."""
    from xemogpt.eval.score import provenance, shown_command
    from xemogpt.hub.tiny import recipe

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", metavar="M", help="folder or Hub id; default: the embedded model")
    parser.add_argument("--corpus", required=True, metavar="DIR", help="folder that `xemogpt synth` made")
    parser.add_argument("--answers", required=True, type=Path, metavar="DIR", help="where answers are kept")
    parser.add_argument("--clips", type=int, default=100, metavar="N", help="of each split (default: %(default)s)")
    parser.add_argument("--skip", type=int, default=0, metavar="N", help="leave out the first, if they chose anything")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N")
    parser.add_argument("--out", required=True, metavar="FILE.json")
    args = parser.parse_args(argv)
    args.answers.mkdir(parents=True, exist_ok=True)

    result: dict[str, Any] = {"splits": {}, "controls": {}}

    def asked(clips: Sequence[Clip], task: str, name: str) -> dict[str, str]:
        return answers(clips, task, args.answers, name, args.model, args.batch_size)

    for split in SPLITS:
        folder = Path(args.corpus, split)
        truth = read_truth(folder / "truth.jsonl")
        clips = gather_clips([folder / "manifest.jsonl"])[args.skip :][: args.clips]
        texts = {row["id"]: row["text"]["en"] for row in read_rows(folder / "manifest.jsonl")}
        said = asked(clips, "reason", f"{split}-reason")
        scores = exact(said, truth)
        result["splits"][split] = {
            "exact": scores,
            "emotion": emotion(said, truth),
            "emocue_360": emocue(said, texts),
        }
        print(f"{split:18} exact F1 {scores['all']['f1']:.3f}, floor {scores['all']['floor']:.3f}", flush=True)
        if split == "test_conflict":
            told = {kind: asked(clips, kind, f"{split}-{kind}") for kind in ("visual", "audio")} | {"reason": said}
            result["obedience"] = obedience(told, truth)
            for kind in ("visual", "audio"):
                result["obedience"][kind]["exact"] = exact(told[kind], truth, kind)[kind]
        if split == BLIND:
            for name, change in CONTROLS.items():
                blind = asked([change(clip) for clip in clips], "reason", f"{split}-{name.replace(' ', '-')}")
                scores = exact(blind, truth)
                result["controls"][name] = {
                    "exact": {key: scores[key] for key in ("visual", "audio", "all")},
                    "claims": claims(blind),
                    "lost": {kind: lost(said, blind, truth, kind) for kind in TYPES},
                    "emotion": emotion(blind, truth),
                }
            result["controls"]["everything"] = {"claims": claims(said)}
    about = {
        "what": "what the small model tells of held-out rendered clips",
        "command": shlex.join(["python", "scripts/study_tiny.py"]) + " " + shown_command(argv or sys.argv[1:]),
        "clips": args.clips,
        "skipped": args.skip,
        "weights": None if args.model else recipe()["trained"],  # SHA-256 of the checkpoint that the package holds
    }
    Path(args.out).write_text(json.dumps(about | result | provenance() | {"seed": SEED}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
