# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Draws `docs/overview.png`: what the model reads of an example clip, and the way from there to the answer.

    pip install matplotlib
    python scripts/make_overview.py

Frames, waveform, token counts and answer are real: they are what the embedded model makes of `examples/joy.mp4`.
"""

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from xemogpt.inference.clips import Clip
from xemogpt.inference.explain import load_explainer
from xemogpt.inference.explanation import Question
from xemogpt.inputs_xemogpt import read_subtitle
from xemogpt.media_xemogpt import load_audio, load_video

ROOT = Path(__file__).resolve().parent.parent
CLIP = ROOT / "examples" / "joy.mp4"
MEDIA = ("video", "audio")
VISUAL, AUDIO, TEXT, GLOBAL = "#3b6ea8", "#b5622d", "#5f6b73", "#3c7d4f"


def box(axes: Axes, x: float, y: float, width: float, label: str, color: str, solid: bool = True) -> None:
    """A rounded box of height 0.11 centred at (x, y)."""
    patch = FancyBboxPatch(
        (x - width / 2, y - 0.055),
        width,
        0.11,
        boxstyle="round,pad=0.004,rounding_size=0.015",
        facecolor=color if solid else "white",
        edgecolor=color,
        linewidth=1.5,
    )
    axes.add_patch(patch)
    axes.text(x, y, label, ha="center", va="center", fontsize=9, color="white" if solid else color)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1.5})


def main() -> None:
    video = load_video(CLIP, 16)
    audio = load_audio(CLIP)
    words = read_subtitle(CLIP.with_suffix(".srt"))
    explainer = load_explainer()
    clip = Clip(CLIP, subtitle=CLIP.with_suffix(".srt"))
    read = explainer.prepare(clip, Question())["input_ids"]
    tokens = {name: int((read == getattr(explainer.model.config, f"{name}_token_id")).sum()) for name in MEDIA}
    answer = explainer.explain([clip])[0].text
    figure = plt.figure(figsize=(11, 4.3), dpi=140)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.axis("off")

    width = 0.42 / 8
    for index, (frame, second) in enumerate(zip(video.frames, video.timestamps, strict=True)):
        row, column = divmod(index, 8)
        picture = figure.add_axes((0.03 + column * width, 0.79 - row * 0.155, width * 0.96, 0.13))
        picture.imshow(frame)
        picture.axis("off")
        picture.set_title(f"{second:.1f} s", fontsize=5.5, pad=1.5, color=VISUAL)
    wave = figure.add_axes((0.03, 0.27, 0.42, 0.22))
    wave.plot(audio, color=AUDIO, linewidth=0.3)
    wave.set_xlim(0, len(audio))
    wave.axis("off")
    axes.text(0.215, 0.16, f"“{words}”", ha="center", va="center", fontsize=11, style="italic", color=TEXT)

    axes.text(0.03, 0.95, "16 frames", fontsize=9, color=VISUAL, weight="bold")
    axes.text(0.03, 0.51, f"{len(audio) / 16000:.1f} s of voice", fontsize=9, color=AUDIO, weight="bold")
    axes.text(0.03, 0.2, "subtitle", fontsize=9, color=TEXT, weight="bold")
    for y, color, tower, bridge, medium in (
        (0.77, VISUAL, "vision tower\nfrozen", "VECB", "video"),
        (0.38, AUDIO, "audio tower\nfrozen", "AECB", "audio"),
    ):
        box(axes, 0.53, y, 0.1, tower, color, solid=False)
        box(axes, 0.655, y, 0.08, bridge, color)
        arrow(axes, (0.455, y), (0.476, y), color)
        arrow(axes, (0.584, y), (0.612, y), color)
        arrow(axes, (0.698, y), (0.775, 0.5 if y < 0.5 else 0.56), color)
        axes.text(
            0.655,
            y - 0.09,
            f"linear projector\n{tokens[medium]} tokens",
            ha="center",
            va="center",
            fontsize=7,
            color=color,
        )
    axes.plot((0.4, 0.82), (0.16, 0.16), color=TEXT, linewidth=1.5)
    arrow(axes, (0.82, 0.16), (0.82, 0.44), TEXT)
    box(axes, 0.82, 0.5, 0.08, "LLM\n+ LoRA", "#333333")
    arrow(axes, (0.863, 0.5), (0.885, 0.5), "#333333")
    for y, color, label in (
        (0.66, VISUAL, "visual cues"),
        (0.5, AUDIO, "audio cues"),
        (0.34, GLOBAL, "the emotion\nthey imply"),
    ):
        box(axes, 0.94, y, 0.09, label, color, solid=False)
    said = textwrap.fill(answer, 175)
    axes.text(0.03, 0.02, said, ha="left", va="bottom", fontsize=7.5, color="#333333")
    target = ROOT / "docs" / "overview.png"
    figure.savefig(target)
    print(target)


if __name__ == "__main__":
    main()
