# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Whether the cues of EmoCue-Synth are there: heard, seen, said and read again; and how fast clips are made.

python scripts/measure_synth.py audio     # results/synth_audio.json: pitch, level, rate, pauses of each cue
python scripts/measure_synth.py visual    # results/synth_visual.json: each cue on against off, at 112 pixels
python scripts/measure_synth.py text      # results/synth_text.json: the reader of cues, and how varied the texts
python scripts/measure_synth.py emotions  # results/synth_emotions.json: how often its cues say which emotion is acted
python scripts/measure_synth.py speed     # results/synth_speed.json: clips a second
python scripts/measure_synth.py sheet     # cues.png, clips.png and clips.jpg, for the eye
"""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from xemogpt.data.synth.clip import Clip, make_clip
from xemogpt.data.synth.corpus import mp4_of, sampled_of
from xemogpt.data.synth.cue_types import AUDIO, EMOTIONS, VISUAL
from xemogpt.data.synth.figure import Figure, draw_person
from xemogpt.data.synth.phrasing import phrase, phrases, read_cues
from xemogpt.data.synth.plan import TURNS, draw_cues, draw_emotions, draw_plan
from xemogpt.data.synth.render import Pose, Scene, Stage, pose_of
from xemogpt.data.synth.voice import RATE, Speech, Voice, espeak_version, frames_of, speak, track_pitch
from xemogpt.eval.emocue_360.resampling import bootstrap_means, interval
from xemogpt.eval.speed import commit, machine

RESULTS = Path(__file__).resolve().parent.parent / "results"
SEED = 0
VOICES = (Voice("en-us+m3", 50, 170, 0.0), Voice("en-gb-x-rp+m7", 50, 165, 0.0), Voice("en-us+f2", 50, 170, 0.0),
          Voice("en-gb-scotland+steph", 50, 175, 0.0))  # fmt: skip
SENTENCES = (
    "I put the folder beside the window this morning.", "We can talk about the report after lunch today.",
    "The library opens early on Sundays, as far as I know.",
)  # fmt: skip
# The measure that a cue has to move, and which way.
EXPECTED = {
    "high_pitch": ("pitch_semitones", 1), "low_pitch": ("pitch_semitones", -1), "monotone": ("pitch_sd_semitones", -1),
    "lively_intonation": ("pitch_sd_semitones", 1), "fast_speech": ("words_per_s", 1), "slow_speech": ("words_per_s",
    -1), "loud_voice": ("level_db", 1), "quiet_voice": ("level_db", -1), "pauses": ("pause_s", 1), "tremor":
    ("tremor_db", 1), "whisper": ("voiced_share", -1), "breathy": ("periodicity", -1), "hoarse": ("periodicity", -1),
    "rising_end": ("end_pitch_semitones", 1), "falling_end": ("end_level_db", -1), "growing_louder": ("end_level_db",
    1), "voice_breaks": ("pitch_jumps_semitones", 1), "sigh": ("before_db", 1), "gasp": ("before_db", 1), "sobs":
    ("before_db", 1), "laughter": ("before_db", 1), "stressed_word": ("stress_db", 1),
}  # fmt: skip


def heard(speech: Speech, words: int) -> dict[str, float]:
    """Measures of one utterance."""
    begin, end = (int(moment * RATE) for moment in speech.spans["speech"])
    said, before = speech.sound[begin:end], speech.sound[:begin]
    level = 20 * np.log10(np.sqrt((frames_of(said) ** 2).mean(1)) + 1e-6)
    pitch, strength = track_pitch(said)
    voiced = strength > 0.6
    loud = level > np.percentile(level, 95) - 25
    both = voiced & loud
    middle = float(np.median(pitch[both])) if both.sum() > 4 else float("nan")
    tone = 12 * np.log2(pitch / middle)
    edge, count = np.arange(len(level)), len(level)
    first, last = edge < 0.4 * count, edge > 0.75 * count
    line = np.interp(edge, edge[both], tone[both]) if both.any() else np.zeros(count)
    spectrum = np.abs(np.fft.rfft((line - line.mean()) * np.hanning(count))) ** 2
    hertz = np.fft.rfftfreq(count, 0.005)
    a, b = ((np.array(speech.spans["stress"]) * RATE - begin) / 80).astype(int)
    still = level < np.percentile(level, 95) - 32
    runs = np.diff(np.flatnonzero(np.concatenate([[True], ~still, [True]])))

    def at(where: np.ndarray, values: np.ndarray) -> float:
        return float(np.median(values[where])) if where.any() else float("nan")

    return {
        "pitch_semitones": float(12 * np.log2(middle / 100)),
        "pitch_sd_semitones": float(np.subtract(*np.percentile(tone[both], [85, 15]))) / 2 if both.sum() > 4 else 0.0,
        "words_per_s": words / (len(said) / RATE),
        "level_db": float(np.percentile(level, 80)),
        "pause_s": float(runs[runs > 40].sum() * 0.005),
        "tremor_db": float(10 * np.log10(spectrum[(hertz > 5.2) & (hertz < 7.2)].sum() / spectrum[hertz < 5.2].sum())),
        "voiced_share": float(both.mean()),
        "periodicity": float(strength[loud].mean()),
        "end_pitch_semitones": at(both & last, tone) - at(both & first, tone),
        "end_level_db": float(np.percentile(level[last], 80) - np.percentile(level[first], 80)),
        "pitch_jumps_semitones": float(np.percentile(np.abs(np.diff(tone[both])), 98)) if both.sum() > 4 else 0.0,
        "before_db": float(20 * np.log10(np.sqrt((before**2).mean()) + 1e-6)),
        "stress_db": float(np.percentile(level[a:b], 80) - np.percentile(level, 80)),
    }


def audio() -> dict[str, Any]:
    """Each cue at full and at least strength against the same words without it."""
    rows: dict[str, Any] = {}
    plain = {
        (voice, text): heard(speak(text, voice, {}, SEED, 3), len(text.split())) for voice in VOICES for text in
        SENTENCES
    }  # fmt: skip
    for cue, kind in AUDIO.items():
        name, sign = EXPECTED[cue]
        row: dict[str, Any] = {"measure": name, "expected": sign}
        for label, strength in (("full", 1.0), ("least", 0.6)):
            settings = {key: value * strength for key, value in kind.settings.items()}
            found = {pair: heard(speak(pair[1], pair[0], settings, SEED, 3), len(pair[1].split())) for pair in plain}
            change: list[float] = [found[pair][name] - plain[pair][name] for pair in plain]
            row[label] = {
                "without": round(median(each[name] for each in plain.values()), 3),
                "with": round(float(np.nanmedian([each[name] for each in found.values()])), 3),
                "median_change": round(float(np.nanmedian(change)), 3),
                "share_as_expected": round(mean(bool(sign * each > 0) for each in change), 3),
            }
        rows[cue] = row
        print(f"{cue:18} {name:22} {row['full']} least {row['least']['share_as_expected']}")
    return {"voices": [voice.name for voice in VOICES], "sentences": list(SENTENCES), "cues": rows}


# Where a cue must be seen, in shares of the picture (left, right, top, bottom) of a head that looks ahead.
BOXES = {
    "mouth": (0.28, 0.72, 0.56, 0.86), "cheek": (0.22, 0.78, 0.46, 0.8), "jaw": (0.25, 0.75, 0.56, 0.95),
    "nose": (0.34, 0.66, 0.38, 0.68), "brow": (0.22, 0.78, 0.22, 0.44), "lids": (0.22, 0.78, 0.34, 0.52),
    "gaze": (0.22, 0.78, 0.34, 0.52), "skin": (0.22, 0.78, 0.25, 0.85), "tear": (0.22, 0.78, 0.44, 0.8),
    "head": (0.1, 0.9, 0.05, 0.95), "lean": (0.05, 0.95, 0.05, 0.95),
}  # fmt: skip


def visual(size: int = 112, people: int = 8) -> dict[str, Any]:
    """By how many of 255 levels a cue changes the pixels that it changes most, in its region of the picture.

    The cue is at the least intensity the corpus has; idle movement of the head is what a face does without any cue.
    """
    found: dict[str, list[float]] = {name: [] for name in ("idle", *VISUAL)}
    for number in range(people):
        stage = Stage(Figure(draw_person(np.random.default_rng([SEED, number]))), Scene(background=number), size)
        still = stage.picture(Pose({})).astype(float)

        def change(pose: Pose, region: str, stage: Stage = stage, still: np.ndarray = still) -> float:
            left, right, top, bottom = (round(size * share) for share in BOXES[region])
            moved = np.abs(stage.picture(pose) - still)[top:bottom, left:right]
            return float(np.percentile(moved.mean(-1), 98))

        found["idle"].append(change(Pose({}, (0.014, 0.01, 0.01), (0.014, 0.01)), "head"))
        for cue, kind in VISUAL.items():
            found[cue].append(change(pose_of(kind, 0.7 if kind.wave else 0.5), kind.regions.split()[0]))
        stage.close()
    rows = {cue: {"median": round(median(each), 1), "least": round(min(each), 1)} for cue, each in found.items()}
    for cue, row in sorted(rows.items(), key=lambda item: item[1]["least"]):
        print(f"{cue:20} {row}")
    return {"size": size, "people": people, "intensity": [0.5, 0.7], "levels_of_255": rows}


def text(clips: int = 2000) -> dict[str, Any]:
    """Exact reading of clauses and paragraphs, and how many different ones there are."""
    rng, scores = np.random.default_rng(SEED), {}
    for name, held_out in (("training_phrasings", False), ("held_out_phrasings", True)):
        hits = extra = missed = 0
        for cue in phrases():
            lead = "In the video" if cue in VISUAL else "In the audio"
            for _ in range(100):
                clause = phrase(cue, rng, "she", "her", float(rng.uniform(0.5, 1)), held_out)
                found = set(read_cues(f"{lead}, {clause}."))
                hits, extra, missed = hits + (cue in found), extra + len(found - {cue}), missed + (cue not in found)
        scores[name] = {"clauses": hits + missed, "f1": round(2 * hits / (2 * hits + extra + missed), 4)}
    lines = (RESULTS.parent / "tests" / "synth_paraphrases.txt").read_text(encoding="utf-8").splitlines()[1:]
    for group, name in (("a", "other_words_used_to_mend_the_reader"), ("b", "other_words_never_used")):
        hits = extra = missed = 0
        for cue, kind, sentence in (line.split(" ", 2) for line in lines):
            if kind == group:
                lead = "In the video" if cue in VISUAL else "In the audio"
                found = {each for each, sign in read_cues(f"{lead}, {sentence}").items() if sign > 0}
                hits, extra, missed = hits + (cue in found), extra + len(found - {cue}), missed + (cue not in found)
        scores[name] = {"clauses": hits + missed, "f1": round(2 * hits / (2 * hits + extra + missed), 4)}
    exact, texts, clauses = 0, set(), set()
    for index in range(clips):
        clip = Clip(draw_plan(SEED, index))
        spans = dict.fromkeys(("speech", "end", "stress", "opening"), (1.0, 3.0))
        clip.__dict__["speech"] = Speech(np.zeros(4 * RATE), spans)  # the words do not depend on the sound
        paragraph, cues = clip.explanation
        exact += read_cues(paragraph) == {cue.type: cue.polarity for cue in clip.story.cues}
        texts.add(paragraph)
        clauses |= {cue.text for cue in cues if cue.kind == "observation"}
    scores["paragraphs"] = {"clips": clips, "read_exactly": exact / clips, "different": len(texts)}
    scores["paragraphs"] |= {"different_clauses": len(clauses)}
    scores["paragraphs"] |= {"mean_words": round(mean(len(each.split()) for each in texts), 1)}
    print(json.dumps(scores, indent=1))
    return scores


def emotions(learnt: int = 20_000, asked: int = 4_000) -> dict[str, Any]:
    """How often who sees or hears all cues, and nothing else, is right about the emotion that face or voice acts.

    A naive Bayes reading of which cues a clip has, learnt from as many plans of training as `learnt`, asked about
    the conflicts among as many plans of `test_conflict` as `asked`: by cues alone one cannot do much better.
    """
    rng, names = np.random.default_rng(SEED), list(EMOTIONS)

    def draw(split: str, count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """By medium: which cues (N, types) there are; and the emotions (N, 2) of face and voice."""
        rows: dict[str, list[list[bool]]] = {"visual": [], "audio": []}
        acted = []
        for index in range(count):
            face, voice, _, _ = draw_emotions(split, index * len(TURNS), rng)
            visual, audio = draw_cues(face, voice, split, rng)
            rows["visual"].append([cue in visual for cue in VISUAL])
            rows["audio"].append([cue in audio for cue in AUDIO])
            acted.append((names.index(face), names.index(voice)))
        return {name: np.array(shown) for name, shown in rows.items()}, np.array(acted)

    (known, truth), (shown, asked_of) = draw("train", learnt), draw("test_conflict", asked)
    conflict = asked_of[:, 0] != asked_of[:, 1]
    found: dict[str, Any] = {}
    for place, medium in enumerate(("visual", "audio")):
        mine = np.stack([truth[:, place] == number for number in range(len(names))]).astype(float)
        share = (mine @ known[medium] + 0.5) / (mine.sum(1, keepdims=True) + 1)
        score = shown[medium] @ np.log(share).T + ~shown[medium] @ np.log1p(-share).T + np.log(mine.mean(1))
        right = (score.argmax(1) == asked_of[:, place])[conflict]
        edges = interval(bootstrap_means(right[:, None].astype(float), seed=SEED)[:, 0]) or ()
        found[medium] = {"share": round(float(right.mean()), 3), "interval": [round(edge, 3) for edge in edges]}
        found[medium] |= {"n": len(right), "mean_cues": round(float(shown[medium].sum(1).mean()), 2)}
        print(medium, found[medium])
    return {"learnt_from": learnt, "emotions": found}


def speed(clips: int = 12) -> dict[str, Any]:
    """Clips a second in one process, both ways; and a second of processor time, which other load changes less."""
    found = {}
    make_clip(SEED, 0, 64).sampled()
    ways = (("full_mp4_256", mp4_of, 256), ("sampled_128", sampled_of, 128), ("sampled_112", sampled_of, 112))
    for name, make, size in ways:
        started, used = time.perf_counter(), sum(os.times()[:4])
        sizes = [len(make(make_clip(SEED, index, size))) for index in range(clips)]
        seconds, used = time.perf_counter() - started, sum(os.times()[:4]) - used
        found[name] = {"clips_per_s": round(clips / seconds, 3), "clips_per_cpu_s": round(clips / used, 3)}
        found[name]["mean_bytes"] = round(mean(sizes))
        print(name, found[name])
    return {"clips": clips, "processes": 1, "ways": found}


def sheet(out: Path) -> None:
    """Every cue at full strength beside the neutral face, and a hundred clips where most of their cues show."""
    stage = Stage(Figure(draw_person(np.random.default_rng([SEED, 9]))), Scene(background=3), 224)
    tiles = [_named(stage.picture(Pose({})), "neutral")]
    tiles += [_named(stage.picture(pose_of(kind, 1.0)), cue) for cue, kind in VISUAL.items()]
    _grid(tiles, 8).save(out / "cues.png")
    tiles = []
    for index in range(100):
        clip = make_clip(SEED, index, 112)
        spans, moments = [shown.span for shown in clip.plan.visual], np.linspace(0.05, 0.95, 40)
        best = moments[np.argmax([sum(a + 0.06 < moment < b - 0.06 for a, b in spans) for moment in moments])]
        frame = clip.frames(np.array([int(best * (clip.count - 1))]))[0]
        tiles.append(_named(frame, clip.plan.face_emotion))
    _grid(tiles, 10).save(out / "clips.png")
    _grid(tiles, 10).save(out / "clips.jpg", quality=78, optimize=True)  # docs/img/synth_clips.jpg


def _named(picture: np.ndarray, name: str) -> np.ndarray:
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text((2, 2), name, fill=(255, 255, 0))
    return np.asarray(image)


def _grid(tiles: list[np.ndarray], columns: int) -> Image.Image:
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return Image.fromarray(np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the cues of EmoCue-Synth.")
    parser.add_argument("what", choices=("audio", "visual", "text", "emotions", "speed", "sheet"))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    if arguments.what == "sheet":
        sheet(arguments.out)
        return
    result = {"audio": audio, "visual": visual, "text": text, "emotions": emotions, "speed": speed}[arguments.what]()
    versions = {name: importlib.metadata.version(name) for name in ("av", "numpy", "pillow", "vtk")}
    versions |= {"espeak-ng": espeak_version(), "python": platform.python_version()}
    command = f"python scripts/measure_synth.py {arguments.what}"
    about = {"command": command, **commit(), "machine": machine(), "versions": versions, "seed": SEED}
    path = arguments.out / f"synth_{arguments.what}.json"
    path.write_text(json.dumps(about | result, indent=2) + "\n", encoding="utf-8")
    print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
