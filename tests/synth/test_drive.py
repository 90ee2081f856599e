"""A drive: the same seed and frame give the same pixels, and every class turns up."""

from __future__ import annotations

import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.core.labels import CLASS_NAMES, NUM_CLASSES, VOID_ID, class_id
from roadseg.synth import Drive, random_scene

_SMALL = (72, 96)


def test_frames_do_not_depend_on_the_order_of_calls() -> None:
    forward, backward = Drive(3, _SMALL), Drive(3, _SMALL)
    wanted = [0, 40, 7]
    first = {i: forward.render(i) for i in wanted}
    again = {i: backward.render(i) for i in reversed(wanted)}
    for i in wanted:
        assert np.array_equal(first[i][0], again[i][0])
        assert np.array_equal(first[i][1], again[i][1])


def test_frames_move_and_seeds_differ() -> None:
    drive = Drive(3, _SMALL)
    (image, labels), (later, later_labels) = drive.render(0), drive.render(1)
    assert (image != later).mean() > 0.3
    changed = (labels != later_labels).mean()
    assert 0 < changed < 0.35  # a drive, not a cut
    assert not np.array_equal(labels, Drive(4, _SMALL).render(0)[1])


def test_frames_between_are_reached_by_a_higher_rate() -> None:
    slow, fast = Drive(5, _SMALL, fps=10.0), Drive(5, _SMALL, fps=30.0)
    assert np.array_equal(slow.render(4)[1], fast.render(12)[1])


@pytest.mark.parametrize("size_hw", [(32, 32), (97, 131), (64, 200)])
def test_any_size(size_hw: tuple[int, int]) -> None:
    image, labels = Drive(1, size_hw).render(2)
    assert image.shape == (*size_hw, 3)
    assert image.dtype == np.uint8
    assert labels.shape == size_hw
    assert labels.dtype == np.uint8
    assert labels.max() <= VOID_ID


def test_the_drive_has_no_end() -> None:
    image, labels = Drive(2, _SMALL).render(15 * 3600 * 24)
    assert image.std() > 20
    assert len(np.unique(labels)) >= 4


def test_length() -> None:
    assert len(Drive(0, _SMALL, frames=42)) == 42


def test_streets_have_every_class_in_plausible_proportions() -> None:
    counts = np.zeros(VOID_ID + 1)
    for seed in (47, 75):
        drive = Drive(seed, (120, 160))
        for index in (0, 60, 120):
            image, labels = drive.render(index)
            counts += np.bincount(labels.ravel(), minlength=VOID_ID + 1)
            # A sky is brighter than the road below it in every weather.
            sky, road = (image[labels == class_id(name)].mean() for name in ("sky", "road"))
            assert sky > road + 25
    share = dict(zip(CLASS_NAMES, counts[:NUM_CLASSES] / counts.sum(), strict=True))
    assert all(share[name] > 1e-3 for name in CLASS_NAMES), share
    assert 0.2 < share["road"] < 0.45
    assert 0.1 < share["building"] < 0.4
    assert 0.08 < share["sky"] < 0.35
    # Grass, which is none of the eleven classes, is void.
    assert 0 < counts[VOID_ID] / counts.sum() < 0.05


def test_random_scene_is_deterministic() -> None:
    image, labels = random_scene(9, _SMALL)
    again, again_labels = random_scene(9, _SMALL)
    assert np.array_equal(image, again)
    assert np.array_equal(labels, again_labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed=-1 is negative: use 0 or more"),
        ({"size_hw": (16, 64)}, "cannot render 16x64: use sides of 32 to 4096 pixels"),
        ({"size_hw": (64, 5000)}, "cannot render 64x5000: use sides of 32 to 4096 pixels"),
        ({"fps": 0.0}, "fps=0.0 is out of range: use more than 0, at most 240"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as error:
        Drive(**arguments)  # type: ignore[arg-type]
    assert str(error.value) == message


@pytest.mark.parametrize(("seconds", "frames"), [(2.0, 20), (0.01, 1)])
def test_a_drive_lasts_as_long_as_is_asked_for(seconds: float, frames: int) -> None:
    assert Drive.lasting(seconds, 0, _SMALL, 10.0).frames == frames


@pytest.mark.parametrize("seconds", [0.0, -1.0, 86401.0, float("nan")])
def test_no_drive_lasts_no_time_or_for_ever(seconds: float) -> None:
    with pytest.raises(UsageError, match="is out of range: use more than 0, at most 86400"):
        Drive.lasting(seconds, 0, _SMALL, 10.0)
