"""Whether a camera sees: every fault is noticed within two seconds, and no drive is a fault."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.types import Frame, Image
from roadseg.live.events import HealthEvent, HealthKind
from roadseg.live.health import HealthLimits, HealthMonitor
from roadseg.live.looks import flat_share, focus, likeness, percentiles, small_grey

SAMPLE = Path(__file__).resolve().parent.parent.parent / "samples" / "drive.mp4"
FPS = 15
STANDING_FPS = 8
RNG = np.random.default_rng(0)


def frames_of(path: Path) -> Iterator[Image]:
    capture = cv2.VideoCapture(str(path))
    while True:
        good, image = capture.read()
        if not good:
            return
        yield image


@cache
def drive() -> tuple[Image, ...]:
    """Ten seconds of the sample at 15 frames a second."""
    return tuple(frames_of(SAMPLE))


class Watch:
    """A monitor and what it has said: `(kind, seen at)` for beginnings and ends."""

    def __init__(self, limits: HealthLimits | None = None) -> None:
        self.events: list[HealthEvent] = []
        self.begun: dict[HealthKind, float] = {}
        self.over: dict[HealthKind, float] = {}
        self.now_s = 0.0
        limits = limits or HealthLimits()
        self.monitor = HealthMonitor("front", limits, self._note, lambda s: s + 1e9)

    def _note(self, event: HealthEvent) -> None:
        self.events.append(event)
        seen = self.begun if event.ended_s is None else self.over
        seen.setdefault(event.kind, self.now_s)

    def play(self, images: Iterator[Image] | list[Image] | tuple[Image, ...], fps: float) -> None:
        for image in images:
            self.monitor.look(Frame(image, 0, self.now_s, self.now_s))
            self.now_s += 1 / fps

    @property
    def kinds(self) -> set[HealthKind]:
        return {event.kind for event in self.events}


def test_the_sample_is_healthy() -> None:
    watch = Watch()
    watch.play(drive(), FPS)
    assert watch.events == []


@pytest.mark.parametrize(
    ("name", "fps"), [("highway_960x540_25fps.mp4", 25), ("town_480x360_15fps.mp4", 15)]
)
def test_real_clips_are_healthy(video_dir: Path, name: str, fps: int) -> None:
    watch = Watch()
    watch.play(frames_of(video_dir / name), fps)
    assert watch.events == []


@pytest.mark.parametrize("split", ["train", "val"])
def test_camvid_is_healthy(camvid_dir: Path, split: str) -> None:
    watch = Watch()
    paths = sorted((camvid_dir / split).glob("*.png"))[:120]
    watch.play((cv2.imread(str(path)) for path in paths), 1)
    assert watch.events == []


def noise(image: Image, sigma: float) -> Image:
    values = np.empty(image.shape, np.int16)
    cv2.randn(values, (0, 0, 0), (sigma, sigma, sigma))
    return np.clip(values + image, 0, 255).astype(np.uint8)


def black(image: Image) -> Image:
    return noise(np.full_like(image, 6), 3)


def covered(image: Image) -> Image:
    """A hand: dark, warm, smooth."""
    height, width = image.shape[:2]
    slope = np.linspace(0, 40, width)[None, :, None] + np.linspace(0, 25, height)[:, None, None]
    warm = slope + np.array([20, 30, 60])
    return noise(np.clip(warm, 0, 255).astype(np.uint8), 2)


def too_bright(image: Image) -> Image:
    return np.clip(image * 3.0 + 140, 0, 255).astype(np.uint8)


def out_of_focus(image: Image) -> Image:
    return noise(cv2.GaussianBlur(image, (0, 0), 4 * image.shape[1] / 480), 2)


LIGHT: list[tuple[HealthKind, Callable[[Image], Image]]] = [
    (HealthKind.BLACK, black),
    (HealthKind.COVERED, covered),
    (HealthKind.TOO_BRIGHT, too_bright),
    (HealthKind.OUT_OF_FOCUS, out_of_focus),
]


@pytest.mark.parametrize(("kind", "fault"), LIGHT)
def test_a_fault_is_noticed_and_its_end_as_well(
    kind: HealthKind, fault: Callable[[Image], Image]
) -> None:
    images = drive()
    watch = Watch()
    watch.play(images[:45], FPS)
    watch.play([fault(image) for image in images[45:90]], FPS)
    watch.play(images[90:], FPS)
    assert watch.kinds == {kind}
    begun, ended = watch.events
    assert (begun.ended_s, ended.started_s) == (None, begun.started_s)
    assert begun.wall_s == begun.started_s + 1e9
    assert 3 <= begun.started_s <= 3.6
    assert watch.begun[kind] <= 3 + 2
    assert ended.ended_s is not None
    assert 6 <= ended.ended_s <= 6.6
    assert watch.over[kind] <= 6 + 2


@pytest.mark.parametrize(("kind", "fault"), LIGHT)
@pytest.mark.parametrize("name", ["highway_960x540_25fps.mp4", "town_480x360_15fps.mp4"])
def test_faults_of_real_clips_are_noticed(
    video_dir: Path, name: str, kind: HealthKind, fault: Callable[[Image], Image]
) -> None:
    images = list(itertools.islice(frames_of(video_dir / name), 0, 60, 4))
    watch = Watch()
    watch.play(images, 4)
    begins_s = watch.now_s
    watch.play([fault(image) for image in images], 4)
    assert watch.kinds == {kind}
    assert watch.begun[kind] <= begins_s + 2


def test_a_lens_cap_is_black_and_not_frozen_too() -> None:
    images = drive()
    watch = Watch()
    watch.play(images[:45], FPS)
    watch.play([np.zeros_like(images[0])] * 45, FPS)
    assert watch.kinds == {HealthKind.BLACK}


def test_a_moment_is_no_event() -> None:
    images = drive()
    watch = Watch()
    watch.play(images[:30], FPS)
    watch.play([black(image) for image in images[30:40]], FPS)
    watch.play(images[40:90], FPS)
    assert watch.events == []


def test_a_frozen_picture_is_noticed() -> None:
    images = drive()
    watch = Watch()
    watch.play(images[:45], FPS)
    watch.play([images[45]] * 45, FPS)
    watch.play(images[90:], FPS)
    assert watch.kinds == {HealthKind.FROZEN}
    assert watch.begun[HealthKind.FROZEN] <= 3 + 2
    assert watch.over[HealthKind.FROZEN] <= 6 + 2


def test_a_frozen_picture_with_a_key_picture_now_and_then_stays_frozen() -> None:
    images = drive()
    other = images[45].copy()
    other[::2] += 1
    frozen = ([images[45]] * 14 + [other]) * 6
    watch = Watch()
    watch.play(images[:45], FPS)
    watch.play(frozen, FPS)
    assert [event.kind for event in watch.events] == [HealthKind.FROZEN]


def standing(image: Image, seconds: float, shift_px: int = 0) -> Iterator[Image]:
    """A camera that stands still, with noise, and something that passes by."""
    height, width = image.shape[:2]
    view = np.roll(image, shift_px, axis=1)
    for i in range(round(seconds * STANDING_FPS)):
        moved = view.copy()
        x = (i * width // 24) % (width - width // 6)
        moved[height // 2 : height * 3 // 4, x : x + width // 6] = (i * 13) % 255
        yield noise(moved, 2)


@pytest.mark.parametrize("share", [0.03, 0.1, 0.4])
def test_a_standing_camera_that_is_moved_is_noticed(share: float) -> None:
    image = drive()[0]
    watch = Watch()
    watch.play(standing(image, 8), STANDING_FPS)
    watch.play(standing(image, 4, round(image.shape[1] * share)), STANDING_FPS)
    watch.play(standing(image, 3), STANDING_FPS)
    assert watch.kinds == {HealthKind.SHIFTED}
    assert watch.begun[HealthKind.SHIFTED] <= 8 + 2
    assert watch.over[HealthKind.SHIFTED] <= 12 + 2


def test_a_camera_that_was_moved_for_good_is_taken_as_it_is_in_the_end() -> None:
    image = drive()[0]
    watch = Watch(HealthLimits(accept_s=5))
    watch.play(standing(image, 8), STANDING_FPS)
    watch.play(standing(image, 9, 60), STANDING_FPS)
    assert [event.ended_s is None for event in watch.events] == [True, False]
    assert watch.over[HealthKind.SHIFTED] == pytest.approx(14, abs=1.5)


def test_a_car_that_stands_and_drives_off_was_not_moved() -> None:
    images = drive()
    watch = Watch()
    watch.play(standing(images[0], 8), STANDING_FPS)
    watch.play(images, FPS)
    watch.play(standing(images[-1], 8), STANDING_FPS)
    assert watch.events == []


def test_lamps_and_clouds_are_no_move() -> None:
    image = drive()[0]
    watch = Watch()
    watch.play(standing(image, 8), STANDING_FPS)
    watch.play(((each * 0.5).astype(np.uint8) for each in standing(image, 4)), STANDING_FPS)
    assert watch.events == []


def test_offline_ends_what_was_wrong_with_the_picture() -> None:
    watch = Watch()
    watch.play([black(image) for image in drive()[:30]], FPS)
    watch.monitor.offline(5.0)
    watch.monitor.offline(6.0)
    watch.monitor.online(7.0)
    watch.monitor.online(8.0)
    said = [(event.kind.value, event.ended_s) for event in watch.events]
    assert said == [("black", None), ("black", 5.0), ("offline", None), ("offline", 7.0)]
    assert watch.monitor.active == {}


def test_a_change_of_size_is_no_fault() -> None:
    images = drive()
    watch = Watch()
    watch.play(images[:45], FPS)
    watch.play([cv2.resize(image, (1280, 720)) for image in images[45:90]], FPS)
    watch.play([image[:16, :16] for image in images[90:]], FPS)
    assert watch.events == []


def test_most_frames_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def count(image_bgr: Image) -> object:
        looks.append(1)
        return small_grey(image_bgr)

    monkeypatch.setattr("roadseg.live.health.small_grey", count)
    Watch().play(drive(), FPS)
    assert len(looks) <= 4 * 10


def test_a_look_takes_few_pixels_of_any_picture() -> None:
    """What costs time is touched sparsely, whatever the camera's resolution."""
    for size_hw in ((360, 480), (1080, 1920), (2160, 3840)):
        small = small_grey(np.zeros((*size_hw, 3), np.uint8))
        assert small.shape[0] % 8 == small.shape[1] % 8 == 0
        assert 112 <= small.shape[1] <= 248
        assert small.size <= 248 * 184


def test_measures_on_pictures_of_known_structure() -> None:
    flat = np.full((72, 128), 90, np.uint8)
    assert flat_share(flat) == 1
    assert likeness(flat, flat) is None
    assert focus(np.full((360, 480, 3), 90, np.uint8)) is None
    textured = RNG.integers(0, 255, (72, 128), dtype=np.uint8)
    assert flat_share(textured) == 0
    assert likeness(textured, textured) == pytest.approx(1, abs=1e-3)
    assert likeness(textured, RNG.permutation(textured)) == pytest.approx(0, abs=0.2)
    assert likeness(textured, textured[:64]) == 0
    values = np.arange(256, dtype=np.uint8)
    assert percentiles(values, 1, 50, 99) == [2, 127, 253]
