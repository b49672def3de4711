# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Three rendered clips for `examples/`, of persons that no training clip shows: joy, suppressed anger, sadness.

python scripts/make_synth_examples.py     # needs xemogpt[synth] and espeak-ng; examples/README.md says what they are

They are clips of the corpus with seed 0, at 320 pixels, under other names. manifest.jsonl has their annotation,
truth.jsonl what else is known of them, as in every split of the corpus.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from xemogpt.data.jsonl import json_line
from xemogpt.data.synth.clip import make_clip
from xemogpt.data.synth.corpus import mp4_of, sample_of, srt_of, truth_of

CLIPS = {"joy": 22244, "suppressed_anger": 241424, "sadness": 26944}  # split test_identity
SIZE, LIMIT = 320, 300_000


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the rendered example clips.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "examples")
    out = parser.parse_args().out
    samples, truths = [], []
    for name, index in CLIPS.items():
        clip = make_clip(0, index, SIZE)
        if clip.plan.split != "test_identity":
            raise ValueError(f"clip {index} is of {clip.plan.split}: its person may be in the training set")
        video = mp4_of(clip)
        if len(video) > LIMIT:
            raise ValueError(f"{name}: {len(video)} bytes, more than {LIMIT}")
        (out / f"{name}.mp4").write_bytes(video)
        (out / f"{name}.srt").write_bytes(srt_of(clip))
        samples.append(replace(sample_of(clip), id=name, video=f"{name}.mp4").to_row())
        truths.append({**truth_of(clip), "id": name})
        print(f"{name}: {len(video)} bytes, {clip.seconds:.2f} s: {samples[-1]['text']['en']}")
    (out / "manifest.jsonl").write_bytes(b"".join(map(json_line, samples)))
    (out / "truth.jsonl").write_bytes(b"".join(map(json_line, truths)))


if __name__ == "__main__":
    main()
