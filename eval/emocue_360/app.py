# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The Space of the metric: two descriptions in, their cues and scores out."""

import html
from functools import cache
from pathlib import Path
from typing import Any

import evaluate

FOLDER = Path(__file__).resolve().parent
EXAMPLES = [
    [
        "In the video, she smiles broadly. In the audio, her voice is high and quick. Therefore, she is happy.",
        "In the video, she has a wide smile and raised eyebrows. In the audio, her pitch is high. She is delighted.",
        "robust",
    ],
    ["In the video, he is not smiling. He is calm.", "In the video, he is smiling. He is calm.", "robust"],
]
COLOURS = {"matched": "#1a7f37", "hallucinated": "#cf222e", "omitted": "#6e7781"}


@cache
def _metric() -> Any:
    return evaluate.load(str(FOLDER))


@cache
def _encoder() -> Any:
    import importlib

    return importlib.import_module(type(_metric()).__module__).SentenceEncoder()  # of the copy that is loaded


def compare(prediction: str, reference: str, preset: str) -> tuple[str, dict[str, Any]]:
    """Who was matched with whom, as HTML, and the scores."""
    metric, common = _metric(), {"predictions": [prediction], "references": [reference], "encoder": _encoder()}
    (pairs,) = metric.compute(**common, preset="robust", derangements=0, bootstrap=0)["pairs"]
    rows = []
    for dimension in ("visual", "audio", "global"):
        parts = pairs[dimension] or {"matched": [], "hallucinated": [], "omitted": []}
        for kind, colour in COLOURS.items():
            for cue in parts[kind]:
                ours, theirs, value = cue if kind == "matched" else (cue, "", "")
                ours, theirs = ("", ours) if kind == "omitted" else (ours, theirs)
                cells = [dimension, ours, f"{value:.2f}" if kind == "matched" else kind, theirs]
                shown = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
                rows.append(f'<tr style="color:{colour}">{shown}</tr>')
    head = "<tr><th></th><th>description</th><th></th><th>reference</th></tr>"
    result = metric.compute(**common, preset=preset, derangements=0, bootstrap=0)
    return f"<table>{head}{''.join(rows)}</table>", {key: result[key] for key in result if key != "pairs"}


def make_demo() -> Any:
    """The page; `launch` serves it."""
    try:
        import gradio
    except ImportError:
        raise ImportError("the page needs gradio: pip install gradio") from None

    return gradio.Interface(
        fn=compare,
        inputs=[
            gradio.Textbox(lines=5, label="Description"),
            gradio.Textbox(lines=5, label="Reference"),
            gradio.Radio(["official", "equation", "robust"], value="robust", label="Preset"),
        ],
        outputs=[gradio.HTML(label="Cues"), gradio.JSON(label="Scores")],
        examples=EXAMPLES,
        title="EmoCue-360",
        description="Green: matched cues with their similarity. Red: in the description alone. Grey: missed.",
    )


if __name__ == "__main__":
    make_demo().launch()
