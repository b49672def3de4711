# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Pictures of a figure, by VTK without a screen."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from xemogpt.data.synth.cue_types import VisualCue
from xemogpt.data.synth.figure import TEAR, Figure, rotation, vertex_normals

_SPIN, _RINGS = 28, np.array([0.0, 0.16, 0.21, 0.40, 0.46, 0.52, 0.75, 1.05, 1.4, 2.0])  # radians from the pupil


@dataclass(frozen=True)
class Scene:
    """How it is seen: camera angles in degrees, zoom, light (azimuth, elevation, warmth, ambient share),
    background."""

    azimuth: float = 0.0
    elevation: float = 0.0
    zoom: float = 1.0
    light: tuple[float, float, float, float] = (30.0, 25.0, 0.0, 0.35)
    background: int = 0


@dataclass(frozen=True)
class Pose:
    """One instant. actions by name; head yaw, pitch, roll and gaze yaw, pitch in radians; lean toward the camera in
    decimetres; flush -1 (pale) to 1 (red); tear 0 to 1."""

    actions: dict[str, float]
    head: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gaze: tuple[float, float] = (0.0, 0.0)
    lean: float = 0.0
    flush: float = 0.0
    tear: float = 0.0


def pose_of(cue: VisualCue, intensity: float) -> Pose:
    """The apex of a cue by itself."""
    values = {name: intensity * value for name, value in cue.still.items()}
    for name, value in cue.wave.items():
        values[name] = values.get(name, 0.0) + intensity * value
    return as_pose(values)


def as_pose(values: dict[str, float]) -> Pose:
    """Channels by name (see `cue_types`) as a pose."""
    rest = dict(values)

    def take(*names: str) -> list[float]:
        return [rest.pop(name, 0.0) for name in names]

    yaw, pitch, roll = take("yaw", "pitch", "roll")
    side, down = take("gaze_yaw", "gaze_pitch")
    lean, flush, tear = take("lean", "flush", "tear")
    return Pose(rest, (yaw, pitch, roll), (side, down), lean, flush, tear)


class Stage:
    """A window that nobody sees, with one figure before a background.

    Raises:
        ImportError: VTK is not installed.
    """

    def __init__(self, figure: Figure, scene: Scene, size: int):
        try:
            import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  (registers the renderer)
            from vtkmodules import vtkRenderingCore as core
            from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy
            from vtkmodules.vtkCommonCore import vtkLogger, vtkPoints, vtkUnsignedCharArray
            from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
        except ImportError:
            raise ImportError('rendering needs VTK; run: pip install "xemogpt[synth]"') from None
        vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_ERROR)  # that there is no display is no news
        self.figure, self.scene, self.size = figure, scene, size
        self._to_vtk, self._to_numpy, self._bytes = numpy_to_vtk, vtk_to_numpy, vtkUnsignedCharArray
        self._renderer = core.vtkRenderer()
        self._renderer.SetBackground(0, 0, 0)
        self._renderer.SetBackgroundAlpha(0)
        self._renderer.AutomaticLightCreationOff()
        self._window = core.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetAlphaBitPlanes(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(2 * size, 2 * size)  # halved afterwards, against jagged edges
        self._window.AddRenderer(self._renderer)

        def actor(triangles: np.ndarray, count: int, shine: float, power: float) -> Any:
            cells = vtkCellArray()
            rows = np.concatenate([np.full((len(triangles), 1), 3), triangles], 1).astype(np.int64)
            cells.ImportLegacyFormat(numpy_to_vtkIdTypeArray(rows.ravel(), deep=1))
            data, points = vtkPolyData(), vtkPoints()
            points.SetData(numpy_to_vtk(np.zeros((count, 3), np.float32), deep=1))
            data.SetPoints(points)
            data.SetPolys(cells)
            mapper = core.vtkPolyDataMapper()
            mapper.SetInputData(data)
            shown = core.vtkActor()
            shown.SetMapper(mapper)
            ambient = scene.light[3]
            surface = shown.GetProperty()
            surface.SetInterpolationToPhong()
            surface.SetAmbient(ambient)
            surface.SetDiffuse(1 - ambient)
            surface.SetSpecular(shine)
            surface.SetSpecularPower(power)
            self._renderer.AddActor(shown)
            return data

        self._body = actor(figure.triangles, len(figure.vertices), 0.10, 18)
        self._eye_rest, eye_triangles, eye_colours = _eyeball(figure.person.iris)
        self._eyes = [actor(eye_triangles, len(self._eye_rest), 0.9, 60) for _ in figure.eyes]
        for eye in self._eyes:
            eye.GetPointData().SetScalars(numpy_to_vtk(eye_colours, deep=1))
        self._add_lights(core)
        self._camera = self._renderer.GetActiveCamera()
        self._camera.SetViewAngle(24)
        self._backdrop = backdrop(scene.background, size)

    def _add_lights(self, core: Any) -> None:
        azimuth, elevation, warmth, _ = self.scene.light
        warm = np.clip([1 + 0.12 * warmth, 1.0, 1 - 0.15 * warmth], 0, 1.1)
        for turn, lift, strength, tint in (
            (azimuth, elevation, 0.95, warm),
            (azimuth - 100 if azimuth > 0 else azimuth + 100, 5.0, 0.35, np.ones(3)),
            (0.0, 0.0, 0.25, np.ones(3)),
        ):
            light = core.vtkLight()
            light.SetLightTypeToSceneLight()
            a, e = np.radians([turn, lift])
            light.SetPosition(20 * np.cos(e) * np.sin(a), 20 * np.sin(e), 20 * np.cos(e) * np.cos(a))
            light.SetFocalPoint(0, 0, 0)
            light.SetIntensity(strength)
            light.SetColor(*np.clip(tint, 0, 1))
            self._renderer.AddLight(light)

    def picture(self, pose: Pose) -> np.ndarray:
        """uint8 (size, size, 3) RGB."""
        figure = self.figure
        vertices = figure.pose(pose.actions, pose.head)
        if not pose.tear:
            vertices[figure.part == TEAR] = figure.neck  # hidden inside
        self._update(self._body, vertices, vertex_normals(vertices, figure.triangles))
        self._body.GetPointData().SetScalars(self._to_vtk(_coloured(figure, pose), deep=1))
        for side, (centre, radius), eye in zip((1, -1), figure.eyes, self._eyes, strict=True):
            toward = rotation(pose.gaze[0] - 0.03 * side, pose.gaze[1], 0.0)
            ball = self._eye_rest @ toward.T
            place = figure.turn(centre + radius * 0.985 * ball, 1.0, pose.head)
            self._update(eye, place, (ball @ rotation(*pose.head).T).astype(np.float32))
        distance = 6.4 / self.scene.zoom - pose.lean
        a, e = np.radians([self.scene.azimuth, self.scene.elevation])
        focus = np.array([0.0, -0.16, -0.4])
        offset = distance * np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
        self._camera.SetFocalPoint(*focus)
        self._camera.SetPosition(*(focus + offset))
        self._camera.SetViewUp(0, 1, 0)
        self._renderer.ResetCameraClippingRange()
        self._window.Render()
        array = self._bytes()
        edge = 2 * self.size - 1
        read: Any = self._window.GetRGBACharPixelData  # its stub knows another signature
        read(0, 0, edge, edge, 0, array)
        fine = self._to_numpy(array).reshape(2 * self.size, 2 * self.size, 4)[::-1].astype(np.uint16)
        rows = fine[::2] + fine[1::2]
        rgba = (rows[:, ::2] + rows[:, 1::2]).astype(np.float32) / (4 * 255)
        alpha = rgba[..., 3:]
        return np.rint(255 * np.clip(rgba[..., :3] + (1 - alpha) * self._backdrop, 0, 1)).astype(np.uint8)

    def _update(self, data: Any, points: np.ndarray, normals: np.ndarray) -> None:
        data.GetPoints().SetData(self._to_vtk(np.ascontiguousarray(points, np.float32), deep=1))
        data.GetPointData().SetNormals(self._to_vtk(np.ascontiguousarray(normals, np.float32), deep=1))
        data.Modified()

    def close(self) -> None:
        self._window.Finalize()


def _coloured(figure: Figure, pose: Pose) -> np.ndarray:
    """uint8 (V, 3): the figure's colours under folds of the skin, a flush and tears."""
    colours = figure.colours
    for column, action, depth in ((0, "noseSneer", 0.32), (1, "browDown", 0.36)):
        if fold := min(pose.actions.get(f"{action}{side}", 0.0) for side in ("Left", "Right")):
            colours = colours * (1 - min(depth * fold, 0.7) * figure.folds[:, column, None])
    if pose.flush > 0:
        colours = colours + 0.75 * pose.flush * figure.flush[:, None] * (colours * (1.06, 0.52, 0.50) - colours)
    elif pose.flush < 0:
        skin = (figure.part == 0)[:, None]
        grey = colours.mean(1, keepdims=True) * (1.04, 1.05, 1.03) + 0.10
        colours = np.where(skin, colours - 0.75 * pose.flush * (grey - colours), colours)
    wet = figure.part == TEAR
    if pose.tear > 0:
        colours = colours.copy()
        colours[wet] += 0.75 * pose.tear * (np.array([0.93, 0.97, 1.0], np.float32) - colours[wet])
    return np.rint(255 * np.clip(colours, 0, 1)).astype(np.uint8)


def _eyeball(iris: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A unit ball that looks toward +z: vertices (V, 3), triangles (F, 3), colours uint8 (V, 3)."""
    angle = np.arange(_SPIN) * 2 * np.pi / _SPIN
    ring = np.stack(
        [
            np.sin(_RINGS)[:, None] * np.cos(angle),
            np.sin(_RINGS)[:, None] * np.sin(angle),
            np.repeat(np.cos(_RINGS)[:, None], _SPIN, 1),
        ],
        -1,
    )
    grid = np.arange(len(_RINGS) * _SPIN).reshape(len(_RINGS), _SPIN)
    after = np.roll(grid, -1, 1)
    quads = np.stack([grid[:-1], grid[1:], after[1:], after[:-1]], -1).reshape(-1, 4)
    colours = np.zeros((len(_RINGS), _SPIN, 3))
    pupil, white, inner = np.array([0.03, 0.03, 0.03]), np.array([0.90, 0.89, 0.87]), np.array(iris)
    bands = [
        pupil,
        pupil,
        inner * 0.9,
        inner * 1.15,
        inner * 0.4,
        white,
        white,
        white * 0.96,
        white * 0.9,
        white * 0.9,
    ]
    colours[:] = np.array(bands)[:, None]
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return ring.reshape(-1, 3), triangles, np.rint(255 * np.clip(colours, 0, 1)).astype(np.uint8).reshape(-1, 3)


def empty_room(seed: int, size: int) -> np.ndarray:
    """A background with nobody before it, uint8 (size, size, 3)."""
    return np.rint(255 * np.clip(backdrop(seed, size), 0, 1)).astype(np.uint8)


def backdrop(seed: int, size: int) -> np.ndarray:
    """A background out of focus, float (size, size, 3) in 0..1: a wall, patches, or upright stripes."""
    rng = np.random.default_rng([seed, 77])
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    one, two = rng.uniform(0.2, 0.75, (2, 1)) + rng.uniform(-0.16, 0.16, (2, 3))
    tilt = rng.uniform(-1, 1)
    share = np.clip(0.5 + (y - 0.5) * rng.uniform(0.3, 1) + tilt * (x - 0.5), 0, 1)[..., None]
    picture = one + share * (two - one) * rng.uniform(0.2, 1)
    kind = int(rng.integers(3))
    for _ in range((0, 7, 9)[kind]):
        colour = rng.uniform(0.15, 0.85) + rng.uniform(-0.2, 0.2, 3)
        cx, cy, width, height = (
            rng.uniform(-0.1, 1.1),
            rng.uniform(0, 1),
            rng.uniform(0.04, 0.25),
            rng.uniform(0.06, 0.3),
        )
        if kind == 1:
            blob = np.exp(-(((x - cx) / width) ** 2) - ((y - cy) / height) ** 2)
        else:
            blob = 1 / (1 + np.exp((np.abs(x - cx) - width / 2) / 0.015))
        picture = picture + 0.6 * blob[..., None] * (colour - picture)
    return picture.astype(np.float32)
