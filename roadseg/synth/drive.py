"""A procedural drive: every frame and its exact labels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from roadseg.core.errors import UsageError
from roadseg.core.types import Image, Labels
from roadseg.core.wording import option
from roadseg.synth.camera import NEAR_M, Camera, Points
from roadseg.synth.canvas import Canvas, Veil
from roadseg.synth.car_shapes import car_model
from roadseg.synth.cars import car_feet, paint_car
from roadseg.synth.fences import FenceTextures
from roadseg.synth.figures import paint_cyclist, paint_person
from roadseg.synth.furniture import paint_furniture
from roadseg.synth.ground import Ground
from roadseg.synth.lens import develop
from roadseg.synth.light import make_light
from roadseg.synth.noise import stream
from roadseg.synth.scenery import Scenery
from roadseg.synth.signs import SignTextures
from roadseg.synth.sky import Sky
from roadseg.synth.street import Street
from roadseg.synth.town import CHUNK_M, Item
from roadseg.synth.traffic import Mover, Traffic

_SIGHT_M = 170.0
_SMALLEST, _LARGEST = 32, 4096
_MOST_FPS = 240
_DAY_S = 86400


class Drive:
    """A drive along one street in one weather.

    Args:
        seed: non-negative; everything follows from it.
        size_hw: picture size in pixels, 32 to 4096 each.
        fps: frames a second, at most 240.
        frames: how long the drive is meant to be; any frame may be asked for all the same.

    Raises:
        UsageError: a negative seed, a size out of range, a frame rate that is out of range.
    """

    def __init__(
        self,
        seed: int = 0,
        size_hw: tuple[int, int] = (360, 480),
        fps: float = 15.0,
        frames: int = 150,
    ) -> None:
        if seed < 0:
            raise UsageError(f"{option('--seed', seed)} is negative", fix="use 0 or more")
        if not all(_SMALLEST <= side <= _LARGEST for side in size_hw):
            raise UsageError(
                f"cannot render {size_hw[0]}x{size_hw[1]}",
                fix=f"use sides of {_SMALLEST} to {_LARGEST} pixels",
            )
        if not 0 < fps <= _MOST_FPS:
            raise UsageError(
                f"{option('--fps', fps)} is out of range",
                fix=f"use more than 0, at most {_MOST_FPS}",
            )
        self.seed = seed
        self.size_hw = size_hw
        self.fps = fps
        self.frames = frames
        rng = stream(seed, 0)
        self.light = make_light(rng)
        self.street = Street(seed)
        self.traffic = Traffic(seed, self.street)
        self._height = float(rng.uniform(1.2, 1.5))
        self._focal = float(rng.uniform(0.95, 1.15))
        self._horizon = float(rng.uniform(0.44, 0.55))
        self._yaw = float(rng.normal(0, 0.03))
        self._mirrored = bool(rng.random() < 0.3)
        self._sky = Sky(seed, self.light)
        self._ground = Ground(seed, self.street, self.light, self._mirrored)
        self._scenery = Scenery(seed, self.street, self.light)
        self._signs = SignTextures(stream(seed, 16), self._mirrored)
        self._fences = FenceTextures(stream(seed, 17))

    @classmethod
    def lasting(cls, seconds: float, seed: int, size_hw: tuple[int, int], fps: float) -> Drive:
        """A drive of so many seconds, at most a day.

        Raises:
            UsageError: see `Drive`; or it lasts no time, or too long.
        """
        if not 0 < seconds <= _DAY_S:
            raise UsageError(
                f"{option('--seconds', seconds)} is out of range",
                fix=f"use more than 0, at most {_DAY_S}",
            )
        drive = cls(seed, size_hw, fps)
        drive.frames = max(1, round(seconds * fps))
        return drive

    def __len__(self) -> int:
        return self.frames

    def render(self, index: int) -> tuple[Image, Labels]:
        """Frame `index` >= 0: (H, W, 3) uint8 BGR and (H, W) uint8 class ids.

        The same seed, size and index give the same pixels, whatever was rendered before.
        """
        time_s = index / self.fps
        camera = self.camera(time_s)
        canvas = Canvas(camera, Veil(self.light.haze, self.light.haze_per_m))
        self._sky.paint(canvas)
        jobs, feet = self._jobs(canvas, time_s)
        self._ground.paint(canvas, feet)
        for _, paint in sorted(jobs, key=lambda job: -job[0]):
            paint()
        image = develop(canvas.image, self.light, stream(self.seed, 18, index))
        labels = canvas.labels
        if self._mirrored:  # some countries drive on the right
            return np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(labels[:, ::-1])
        return image, labels

    def camera(self, time_s: float) -> Camera:
        """Where the camera is at a time."""
        s = self.traffic.ego_s(time_s)
        bounce = 0.004 * np.sin(time_s * 9.1) + 0.003 * np.sin(time_s * 14.3 + 1)
        drift = 0.12 * np.sin(time_s * 0.6 + self.seed % 7)
        height, width = self.size_hw
        return Camera(
            position=self.street.place(
                s, self.street.layout.ego_t + drift, self._height + 2 * float(bounce)
            ),
            yaw=self.street.heading(s + 6.0) + self._yaw + 0.006 * float(np.sin(time_s * 0.8)),
            pitch=float(0.5 * bounce + 0.003 * np.sin(time_s * 1.7)),
            roll=float(0.004 * np.sin(time_s * 1.3)),
            focal_px=self._focal * width,
            size_hw=self.size_hw,
            centre_y=self._horizon * height,
        )

    def _jobs(
        self, canvas: Canvas, time_s: float
    ) -> tuple[list[tuple[float, Callable[[], None]]], list[Points]]:
        """What to paint, each with the depth that decides the order."""
        jobs: list[tuple[float, Callable[[], None]]] = []
        feet: list[Points] = []
        here = self.traffic.ego_s(time_s)
        for chunk in self.street.chunks(here - CHUNK_M, here + _SIGHT_M):
            for b in chunk.buildings:
                if b.s1 < here + NEAR_M or b.s0 > here + _SIGHT_M:
                    continue
                shaded = self._ground.shadows.at(b.s0 + 0.5 * (b.s1 - b.s0), b.front_t * 0.98)

                paint = partial(self._scenery.paint_building, canvas, b, shaded * 0.8)
                # A front is behind all that stands in the street along it.
                jobs.append((b.s1 - here, paint))
            for item in chunk.items:
                self._item_job(canvas, item, here, jobs, feet)
        for mover in self.traffic.movers(time_s):
            self._mover_job(canvas, mover, here, jobs, feet)
        return jobs, feet

    def _item_job(
        self,
        canvas: Canvas,
        item: Item,
        here: float,
        jobs: list[tuple[float, Callable[[], None]]],
        feet: list[Points],
    ) -> None:
        if item.kind in ("person", "crosser"):
            return
        ahead = item.s - here
        length = item.facing if item.kind in self._fences.panels or item.kind == "hedge" else 0.0
        if ahead + length < 0.8 or ahead > _SIGHT_M:
            return
        shaded = self._ground.shadows.at(item.s, item.t)
        if item.kind == "car":
            place = Mover("car", item.s, item.t, item.facing, item.variant)
            self._mover_job(canvas, place, here, jobs, feet)
            return
        if item.kind in ("tree", "bush", "hedge"):

            def plant() -> None:
                self._scenery.paint_plant(canvas, item, shaded * 0.5)

            jobs.append((ahead + length, plant))
            return

        def furniture() -> None:
            paint_furniture(
                canvas, self.street, item, self.light, shaded, self._signs, self._fences
            )

        jobs.append((ahead + length, furniture))

    def _mover_job(
        self,
        canvas: Canvas,
        mover: Mover,
        here: float,
        jobs: list[tuple[float, Callable[[], None]]],
        feet: list[Points],
    ) -> None:
        ahead = mover.s - here
        if ahead < 0.5 or ahead > _SIGHT_M:
            return
        origin = self.street.place(mover.s, mover.t)
        heading = self.street.heading(mover.s) + mover.heading
        shaded = self._ground.shadows.at(mover.s, mover.t)
        light = self.light
        if mover.kind == "car":
            detail = 2 if ahead < 11 else (1 if ahead < 32 else 0)
            model = car_model(mover.variant, mover.large, detail)
            feet.append(car_feet(model, origin, heading))

            def paint() -> None:
                paint_car(canvas, model, origin, heading, light, shaded, mover.braking)

        elif mover.kind == "cyclist":
            feet.append(_shadow_outline(origin, heading, 0.2, 0.8))

            def paint() -> None:
                paint_cyclist(canvas, origin, heading, mover.phase, mover.variant, light, shaded)

        else:
            feet.append(_shadow_outline(origin, heading, 0.26, 0.26))

            def paint() -> None:
                paint_person(
                    canvas,
                    origin,
                    heading,
                    mover.phase,
                    mover.stride,
                    mover.size,
                    mover.variant,
                    light,
                    shaded,
                )

        jobs.append((ahead, paint))


def _shadow_outline(origin: Points, heading: float, half_x: float, half_z: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    x, z = half_x * np.cos(angle), half_z * np.sin(angle)
    s, c = np.sin(heading), np.cos(heading)
    offset = np.stack([x * c + z * s, np.full_like(x, 0.01), z * c - x * s], axis=1)
    return np.asarray(origin + offset)


def random_scene(seed: int, size_hw: tuple[int, int] = (360, 480)) -> tuple[Image, Labels]:
    """One frame at a random place of a random street, for training.

    Returns:
        (H, W, 3) uint8 BGR and (H, W) uint8 class ids.
    """
    rng = stream(seed, 19)
    drive = Drive(seed, size_hw, fps=15.0)
    return drive.render(int(rng.integers(0, 400)))
