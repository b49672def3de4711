# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A person as a mesh: shape, colours, hair, brows, clothes and eyes, moved by 52 face actions, gaze and head pose.

The head is `head.npz` (CC0, made by `scripts/make_head_asset.py` from MakeHuman's data): decimetres, y up, the face
toward +z, the origin between the eyes. Whatever the mesh lacks is bound to it: a brow or a hair moves with the skin
vertices it hangs on, so one product of weights and displacements poses everything.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ORIGINS = ("african", "asian", "caucasian")
SKIN, EYE_LEFT, EYE_RIGHT, LASH, TEETH, TONGUE, HAIR, BROW, TEAR = range(9)
_TONES = {  # lightest and darkest skin, in sRGB
    "african": ((164, 116, 88), (104, 70, 52)),
    "asian": ((232, 190, 158), (186, 138, 104)),
    "caucasian": ((240, 205, 186), (204, 156, 128)),
}
_HAIR = ((24, 20, 18), (44, 30, 22), (78, 52, 34), (120, 78, 44), (176, 132, 78), (150, 72, 38), (150, 148, 146))
_IRIS = ((58, 36, 22), (82, 54, 30), (104, 92, 52), (74, 108, 76), (72, 112, 142), (96, 116, 128))
HAIRSTYLES = ("bald", "cropped", "short", "full", "bob", "long")


@dataclass(frozen=True)
class Person:
    """Who is seen. sex, age, weight: 0 to 1 (female to male, young to old, lean to heavy); origin: shares of ORIGINS;
    shapes: local shapes by name; colours: sRGB."""

    sex: float
    age: float
    weight: float
    origin: tuple[float, float, float]
    shapes: dict[str, float]
    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    brow: tuple[float, float, float]  # thickness, arch, height: around 1, 0, 0
    hairstyle: str
    beard: float
    clothes: tuple[float, float, float]
    neckline: float

    @property
    def is_male(self) -> bool:
        return self.sex > 0.5


def draw_person(rng: np.random.Generator) -> Person:
    """A person at random; the sexes are equally likely, and so are the origins."""
    male = rng.random() < 0.5
    age = float(rng.beta(1.2, 2.0) * 0.9)
    main = int(rng.integers(3))
    shares = rng.dirichlet([0.35, 0.35, 0.35])
    shares = 0.75 * np.eye(3)[main] + 0.25 * shares
    light, dark = (np.array(tone, float) for tone in _TONES[ORIGINS[main]])
    tone = light + (dark - light) * rng.random() + rng.normal(0, 3, 3)
    grey = rng.random() < 1.6 * (age - 0.35)
    dark_hair = ORIGINS[main] != "caucasian"
    hair = np.array(_HAIR[6] if grey else _HAIR[int(rng.integers(2 if dark_hair else 6))], float)
    hair = hair * rng.uniform(0.8, 1.2) + rng.normal(0, 1.5, 3)
    iris = np.array(_IRIS[int(rng.integers(2 if dark_hair else 6))], float) + rng.normal(0, 6, 3)
    styles = (
        ("bald", "cropped", "cropped", "short", "short", "full") if male else ("short", "full", "bob", "long", "long")
    )
    names = [name for name in _asset()["shape_names"].tolist() if name not in _MACRO]
    chosen = rng.choice(names, size=14, replace=False)
    return Person(
        sex=float(np.clip(rng.normal(0.93 if male else 0.06, 0.05), 0, 1)),
        age=age,
        weight=float(np.clip(rng.normal(0.45, 0.2), 0, 1)),
        origin=(float(shares[0]), float(shares[1]), float(shares[2])),
        shapes={str(name): float(0.6 * rng.random()) for name in chosen},
        skin=_rgb(tone),
        hair=_rgb(hair),
        iris=_rgb(iris),
        brow=(float(rng.uniform(0.75, 1.35)), float(rng.normal(0, 0.03)), float(rng.normal(0, 0.02))),
        hairstyle=str(rng.choice(styles)),
        beard=float(rng.choice([0, 0, rng.uniform(0.15, 0.5)])) if male else 0.0,
        clothes=_rgb(rng.uniform(30, 215, 3)),
        neckline=float(rng.uniform(-2.0, -1.55)),
    )


class Figure:
    """A person's mesh, ready to pose.

    vertices (V, 3) at rest; triangles (F, 3); colours (V, 3) sRGB in 0..1; part (V,); eyes: centre and radius.
    """

    def __init__(self, person: Person):
        asset = _asset()
        self.person = person
        skin = asset["neutral"] + _identity(person)
        faces = asset["faces"].astype(np.int64)
        part = asset["part"]
        self.eyes = [_ball(skin, faces[part == side]) for side in (EYE_LEFT, EYE_RIGHT)]
        self.neck = asset["neck"] * (skin[:, 1].min() / asset["neutral"][:, 1].min())
        kept = (part != EYE_LEFT) & (part != EYE_RIGHT)
        triangles = _triangles(faces[kept])
        kinds = np.zeros(len(skin), np.uint8)
        kinds[faces[kept].ravel()] = np.repeat(part[kept], 4)
        normals = vertex_normals(skin, _triangles(faces[part == SKIN]))
        bound = _Bound(skin, kinds, normals, triangles)
        bound.add_brows(person, _triangles(faces[part == SKIN]))
        bound.add_hair(person, faces[part == SKIN])
        bound.add_tears(self.eyes)
        self.vertices, self.triangles, self.part = bound.build()
        count = len(asset["actions"])
        carried = bound.carry(asset["actions"].transpose(1, 0, 2).reshape(len(skin), -1)).reshape(-1, count, 3)
        self._actions = np.ascontiguousarray(carried.transpose(1, 0, 2)).reshape(count, -1)  # (52, 3 V)
        self.names: list[str] = asset["action_names"].tolist()
        self.source = bound.source
        self.colours, self.flush = _paint(person, self, bound)
        x, y, z = skin.T
        front = ((z > 0) & (kinds[: len(x)] == SKIN))[:, None]
        lines = [np.exp(-(((y - line - 0.3 * np.abs(x)) / 0.026) ** 2)) for line in (-0.03, -0.12, -0.21)]
        across = sum(lines) * np.exp(-((x / 0.12) ** 4))
        upright = np.exp(-(((np.abs(x) - 0.055) / 0.022) ** 2) - ((y - 0.17) / 0.11) ** 4)
        folds = np.clip(np.stack([across, upright], 1), 0, 1) * front
        self.folds = bound.carry(folds)  # (V, 2): across a wrinkled nose, and between lowered brows
        height = self.vertices[:, 1]
        bend = np.clip((height - self.neck[1] - 0.1) / 1.0, 0, 1)
        self._bend = (bend * bend * (3 - 2 * bend))[:, None]

    def pose(self, actions: dict[str, float], head: Any = (0.0, 0.0, 0.0)) -> np.ndarray:
        """Vertices (V, 3) under face actions by name (0 to 1) and head yaw, pitch, roll in radians.

        Positive yaw turns to the person's left, positive pitch bows the head, positive roll tilts it to the left.
        """
        weights = np.zeros(len(self.names), np.float32)
        for name, value in actions.items():
            weights[self.names.index(name)] = value
        moved = self.vertices + (weights @ self._actions).reshape(-1, 3)
        return self.turn(moved, self._bend, head)

    def turn(self, points: np.ndarray, bend: Any, head: Any) -> np.ndarray:
        """Points (V, 3) turned about the neck, by the share `bend`."""
        turned = (points - self.neck) @ rotation(*head).T + self.neck
        return (points + bend * (turned - points)).astype(np.float32)


class _Bound:
    """Vertices that hang on three skin vertices each: `source` (V, 3), `weight` (V, 3), `offset` (V, 3)."""

    def __init__(self, skin: np.ndarray, kinds: np.ndarray, normals: np.ndarray, triangles: np.ndarray):
        count = len(skin)
        self.skin, self.normals = skin, normals
        self.source = np.repeat(np.arange(count)[:, None], 3, 1)
        self.weight = np.tile(np.array([1, 0, 0], np.float32), (count, 1))
        self.offset = np.zeros((count, 3), np.float32)
        self.kinds, self.triangles = kinds, [triangles]

    def add(self, source: np.ndarray, weight: np.ndarray, offset: np.ndarray, kind: int, faces: np.ndarray) -> None:
        self.triangles.append(faces + len(self.source))
        self.source = np.concatenate([self.source, source])
        self.weight = np.concatenate([self.weight, weight.astype(np.float32)])
        self.offset = np.concatenate([self.offset, offset.astype(np.float32)])
        self.kinds = np.concatenate([self.kinds, np.full(len(source), kind, np.uint8)])

    def carry(self, values: np.ndarray) -> np.ndarray:
        """Values of the skin vertices (S, C) -> of all (V, C)."""
        return np.einsum("vk,vkc->vc", self.weight, values[self.source]).astype(np.float32)

    def build(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.carry(self.skin) + self.offset, np.concatenate(self.triangles), self.kinds

    def drape(self, points: np.ndarray, lift: float, kind: int, faces: np.ndarray, skin_faces: np.ndarray) -> None:
        """Lay points (N, 2), x and y, on the front of the skin, `lift` above it."""
        corners = self.skin[skin_faces]
        front = (corners[:, :, 2].mean(1) > -0.6) & (self.normals[skin_faces].mean(1)[:, 2] > 0.1)
        low, high = points.min(0), points.max(0)
        front &= (corners[:, :, :2].max(1) >= low).all(1) & (corners[:, :, :2].min(1) <= high).all(1)
        skin_faces, corners = skin_faces[front], corners[front]
        a, b, c = (corners[None, :, k, :2] - points[:, None] for k in range(3))  # (N, F, 2)
        bary = np.stack([_cross(b, c), _cross(c, a), _cross(a, b)], -1)
        bary /= bary.sum(-1, keepdims=True)
        best = (bary.min(-1) + 0.05 * np.sign(corners[:, :, 2].mean(1))).argmax(1)
        weights = np.clip(bary[np.arange(len(points)), best], 0, 1)
        weights /= weights.sum(1, keepdims=True)
        sources = skin_faces[best]
        normal = np.einsum("vk,vkc->vc", weights, self.normals[sources])
        self.add(sources, weights, lift * normal, kind, faces)

    def add_brows(self, person: Person, skin_faces: np.ndarray) -> None:
        """A ribbon above each eye."""
        thickness, arch, height = person.brow
        steps = np.linspace(0, 1, 15)
        centre = 0.225 + height + (0.05 + arch) * np.sin(np.pi * np.clip(steps * 0.85 + 0.05, 0, 1)) - 0.03 * steps
        half = (
            0.033
            * thickness
            * (0.8 if not person.is_male else 1.15)
            * np.interp(steps, [0, 0.2, 0.7, 1], [0.75, 1, 0.8, 0.2])
        )
        for side in (1, -1):
            x = side * (0.13 + 0.40 * steps)
            rows = [np.stack([x, centre + k * half], 1) for k in (1, 0, -1)]
            lift = [0.0, 0.022, 0.0]
            count = len(steps)
            grid = np.arange(3 * count).reshape(3, count)
            quads = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], -1).reshape(-1, 4)
            faces = _triangles(quads if side > 0 else quads[:, ::-1])
            self.drape(np.concatenate(rows), 0.012, BROW, faces, skin_faces)
            self.offset[-2 * count : -count, 2] += lift[1]

    def add_hair(self, person: Person, quads: np.ndarray) -> None:
        """A cap over the scalp, and for long hair a curtain down from it."""
        if person.hairstyle == "bald":
            return
        x, y, z = self.skin.T
        ears = _asset()["ears"] > 100
        style = HAIRSTYLES.index(person.hairstyle)
        line = np.interp(np.abs(x), [0, 0.45, 0.62, 0.75], [0.72, 0.68, 0.3, -0.1 if style < 4 else -0.5])
        back = (
            np.interp(z, [-1.9, -0.9, -0.3], [-0.75, -0.45, 0.0])
            if style < 4
            else np.interp(z, [-1.9, -0.5, -0.3], [-1.1, -1.0, 0.0])
        )
        limit = np.where(z > -0.45, np.maximum(line, -0.2), np.minimum(line, back))
        scalp = (y > limit) & (z < 0.25) & ~ears & (self.kinds[: len(x)] == SKIN) & (_asset()["inside_mouth"] < 100)
        chosen = quads[scalp[quads].all(1)]
        used, faces = np.unique(chosen, return_inverse=True)
        edge = np.bincount(faces.ravel()) < 4  # the rim of the cap lies on the skin
        thick = (0.05, 0.05, 0.12, 0.25, 0.2, 0.2)[style]
        depth = np.clip((y[used] - limit[used]) / 0.35, 0.15, 1) * thick
        depth = np.where(edge, 0.02, depth)
        wave = 1 + 0.18 * np.sin(9 * x[used] + 5 * y[used]) * np.cos(7 * z[used])
        offset = self.normals[used] * (depth * wave)[:, None]
        if style >= 4:  # the lower rim hangs down
            low = np.clip((-0.1 - y[used]) / 0.5, 0, 1)
            drop = 0.5 if style == 4 else 1.6
            offset += np.stack([0.18 * np.sign(x[used]) * low, -drop * low, 0.1 * low], 1)
        source = np.repeat(used[:, None], 3, 1)
        weight = np.tile([1.0, 0, 0], (len(used), 1))
        self.add(source, weight, offset, HAIR, _triangles(faces.reshape(-1, 4)))

    def add_tears(self, eyes: list[tuple[np.ndarray, float]]) -> None:
        """A track of moisture below each eye; transparent skin colour until it is wept."""
        asset = _asset()
        skin_faces = _triangles(asset["faces"][asset["part"] == SKIN].astype(np.int64))
        for centre, radius in eyes:
            steps = np.linspace(0, 1, 9)
            x = centre[0] + np.sign(centre[0]) * (0.02 + 0.05 * np.sin(2.2 * steps))
            y = centre[1] - 1.0 * radius - 0.62 * steps
            half = 0.012 + 0.014 * steps**2
            rows = np.concatenate([np.stack([x - half, y], 1), np.stack([x + half, y], 1)])
            grid = np.arange(18).reshape(2, 9)
            quads = np.stack([grid[0, :-1], grid[0, 1:], grid[1, 1:], grid[1, :-1]], -1)
            self.drape(rows, 0.02, TEAR, _triangles(quads), skin_faces)


_MACRO = {
    *(
        f"{sex}-{age}-{weight}"
        for sex in ("female", "male")
        for age in ("young", "old")
        for weight in ("min", "average", "max")
    ),
    *(f"{origin}-{sex}-{age}" for origin in ORIGINS for sex in ("female", "male") for age in ("young", "old")),
}


def _identity(person: Person) -> np.ndarray:
    """The displacement of the neutral mesh (S, 3): macro shapes multilinear, local ones added."""
    asset = _asset()
    names: list[str] = asset["shape_names"].tolist()
    share = np.zeros(len(names))
    low, high = np.clip(1 - 2 * person.weight, 0, 1), np.clip(2 * person.weight - 1, 0, 1)
    weights = {"min": low, "average": 1 - low - high, "max": high}
    for sex, sex_share in (("female", 1 - person.sex), ("male", person.sex)):
        for age, age_share in (("young", 1 - person.age), ("old", person.age)):
            for weight, weight_share in weights.items():
                share[names.index(f"{sex}-{age}-{weight}")] = sex_share * age_share * weight_share
            for origin, origin_share in zip(ORIGINS, person.origin, strict=True):
                share[names.index(f"{origin}-{sex}-{age}")] = sex_share * age_share * origin_share
    for name, value in person.shapes.items():
        share[names.index(name)] = value
    scaled = (share * asset["shape_steps"]).astype(np.float32)
    return np.tensordot(scaled, asset["shapes"].astype(np.float32), 1)


def _paint(person: Person, figure: Figure, bound: _Bound) -> tuple[np.ndarray, np.ndarray]:
    """Colours (V, 3) and how far each vertex takes part in a flush (V,)."""
    asset = _asset()
    x, y, z = bound.skin.T

    def near(cx: float, cy: float, width: float, height: float) -> np.ndarray:
        return np.exp(-(((np.abs(x) - cx) / width) ** 2) - ((y - cy) / height) ** 2) * (z > -0.6)

    skin = np.tile(np.array(person.skin, np.float32), (len(x), 1))

    def mix(share: np.ndarray, colour: Any) -> None:
        skin[:] = skin + np.clip(share, 0, 1)[:, None] * (np.asarray(colour, np.float32) - skin)

    base = np.array(person.skin, np.float32)
    mouth = asset["lips"] / 255
    centre = float(bound.skin[asset["lips"] > 128][:, 1].mean())
    mix(0.20 * near(0.42, -0.42, 0.22, 0.22) + 0.15 * near(0, -0.38, 0.14, 0.15), base * (1.05, 0.72, 0.68))
    mix(0.35 * near(0.31, -0.03, 0.24, 0.13), base * (0.72, 0.62, 0.6))
    jaw = np.clip(
        near(0.0, centre - 0.25, 0.55, 0.42) + near(0.5, centre, 0.2, 0.5) + 0.9 * near(0, centre + 0.17, 0.24, 0.06),
        0,
        1,
    )
    mix(person.beard * jaw * (y < centre + 0.27), np.array(person.hair, np.float32) * 0.9)
    mix(0.8 * mouth, base * ((0.86, 0.52, 0.5) if not person.is_male else (0.84, 0.62, 0.58)))
    mix((asset["inside_mouth"] > 100) * (mouth < 0.5) * 1.0, (0.16, 0.05, 0.05))
    mix((y < person.neckline + 0.25 * np.abs(x)) * (np.abs(z) < 9), person.clothes)
    flush = np.clip(
        near(0.4, -0.42, 0.3, 0.3) + near(0, -0.4, 0.2, 0.2) + 0.7 * near(0, 0.55, 0.6, 0.3) + asset["ears"] / 255,
        0,
        1,
    )
    colours, flushed = bound.carry(skin), bound.carry(flush[:, None])[:, 0]
    fixed = {LASH: (0.07, 0.05, 0.05), TEETH: (0.88, 0.86, 0.80), TONGUE: (0.62, 0.27, 0.27)}
    for kind, colour in fixed.items():
        colours[figure.part == kind] = colour
    strands = figure.part == HAIR
    noise = 1 + 0.22 * np.sin(41 * figure.vertices[strands, 0] + 13 * figure.vertices[strands, 2])
    colours[strands] = np.array(person.hair, np.float32) * noise[:, None]
    colours[figure.part == BROW] = 0.72 * np.array(person.hair, np.float32) * 0.8 + 0.08 * base
    flushed[figure.part != SKIN] = 0
    return np.clip(colours, 0, 1).astype(np.float32), flushed


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The matrix (3, 3) of a turn to the left, a bow, and a tilt to the left, in radians."""
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch, -roll))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    bow = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return turn @ bow @ tilt


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3), each the mean of its triangles' by area."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    flat = triangles.ravel()
    normals = np.stack([np.bincount(flat, np.repeat(face[:, k], 3), len(vertices)) for k in range(3)], 1)
    return (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def _ball(skin: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and radius of an eye."""
    points = skin[np.unique(faces)]
    centre = (points.max(0) + points.min(0)) / 2
    return centre, float(np.median(np.linalg.norm(points - centre, axis=1)))


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _triangles(quads: np.ndarray) -> np.ndarray:
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _rgb(colour: Any) -> tuple[float, float, float]:
    red, green, blue = (float(round(value, 4)) for value in np.clip(np.asarray(colour) / 255, 0.02, 0.98))
    return red, green, blue


@cache
def _asset() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name("head.npz")) as archive:
        asset = {name: archive[name] for name in archive.files}
    asset["actions"] = asset["actions"].astype(np.float32) * asset["action_steps"][:, None, None]
    return asset
