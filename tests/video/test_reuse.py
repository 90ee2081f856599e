"""Labels that are carried to frames that the network does not see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.cli import main
from roadseg.core.errors import BackendError
from roadseg.core.planes import Planes
from roadseg.core.types import Frame, Image, Labels
from roadseg.loading.segmenter import Segmenter
from roadseg.video.channel import Channel
from roadseg.video.inference import Segmented, reuse_labels
from roadseg.video.meters import Meters
from roadseg.video.reuse import Between, Seen, half_grey
from tests.support.clips import write_clip

HW = (96, 128)


def scene(shift: int, seed: int = 0) -> tuple[Image, Labels]:
    """A textured square that moves to the right over another texture, and which is which."""
    rng = np.random.default_rng(seed)
    rough = rng.integers(0, 120, (24, 32), dtype=np.uint8)
    picture = cv2.resize(rough, HW[::-1], interpolation=cv2.INTER_CUBIC)
    thing = cv2.resize(rng.integers(120, 255, (8, 8), dtype=np.uint8), (40, 40))
    ids = np.full(HW, 3, np.uint8)
    left = 20 + shift
    picture[30:70, left : left + 40] = thing
    ids[30:70, left : left + 40] = 8
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8), ids


def seen(shift: int, seed: int = 0) -> Seen:
    image_bgr, ids = scene(shift, seed)
    return Seen(half_grey(image_bgr, HW), ids)


@pytest.mark.parametrize("shift", [0, 2, 4, 6])
def test_labels_move_with_what_they_name(shift: int) -> None:
    image_bgr, expected = scene(shift)
    grey = half_grey(image_bgr, HW)
    carried = Between().labels(grey, seen(0), seen(2 * shift))
    assert (carried == expected).mean() > 0.985
    if shift:
        assert (carried == expected).mean() > (seen(0).ids == expected).mean()


def test_both_sides_are_better_than_one() -> None:
    """What the square uncovers is seen behind, what it covers before."""
    image_bgr, expected = scene(8)
    grey, between = half_grey(image_bgr, HW), Between()
    one = (between.labels(grey, seen(0), None) == expected).mean()
    both = (between.labels(grey, seen(0), seen(16)) == expected).mean()
    assert both > one


@pytest.mark.parametrize("cut_before", [True, False])
def test_at_a_cut_labels_come_from_the_same_scene(cut_before: bool) -> None:
    here, there = seen(0), Seen(seen(9, seed=5).grey, np.full(HW, 1, np.uint8))
    around = (there, here) if cut_before else (here, there)
    carried = Between().labels(here.grey, *around)
    assert (carried == here.ids).mean() > 0.97


@pytest.mark.parametrize("size_hw", [(1, 1), (2, 64), (32, 32), (33, 65), (50, 500)])
def test_any_size(size_hw: tuple[int, int]) -> None:
    ids = np.full(size_hw, 4, np.uint8)
    still = Seen(half_grey(np.zeros((*size_hw, 3), np.uint8), size_hw), ids)
    carried = Between().labels(still.grey, still, still)
    np.testing.assert_array_equal(carried, ids)
    assert not np.shares_memory(carried, ids)


def test_planes_and_bgr_are_equally_bright() -> None:
    image_bgr, _ = scene(0)
    planes = Planes.of_bgr(image_bgr)
    grey = half_grey(image_bgr, HW).astype(float)
    np.testing.assert_allclose(half_grey(planes, HW), 16 + grey * 219 / 255, atol=2)


class Counting(Segmenter):
    """The fake backend; counts what it sees, and fails at one call."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__(backend="fake", size_hw=HW)
        self.calls = 0
        self._fails_at = fails_at

    def infer(self, network_bgr: Image) -> Labels:
        if self.calls == self._fails_at:
            raise BackendError("broken")
        self.calls += 1
        return super().infer(network_bgr)


def frames(count: int, changes_at: int | None = None) -> Iterator[Frame]:
    for i in range(count):
        image_bgr, _ = scene(i)
        if changes_at is not None and i >= changes_at:
            image_bgr = np.ascontiguousarray(image_bgr[:64])
        yield Frame(image_bgr, i, i / 25, 0.0)


def reuse(
    segmenter: Segmenter, source: Iterator[Frame], every: int, errors: list[BaseException]
) -> Iterator[Segmented]:
    channel = Channel[Frame](100)
    for frame in source:
        channel.put(frame)
    channel.close()
    return reuse_labels(segmenter, channel, Meters(), every=every, keep_error=errors.append)


@pytest.mark.parametrize(
    ("count", "every", "calls"),
    [(1, 2, 1), (2, 2, 2), (3, 2, 2), (8, 2, 5), (9, 2, 5), (9, 3, 4), (9, 4, 3), (3, 4, 2)],
)
def test_every_frame_comes_once_in_order_and_the_last_is_seen(
    count: int, every: int, calls: int
) -> None:
    segmenter = Counting()
    pairs = list(reuse(segmenter, frames(count), every, []))
    assert [each.frame.index for each in pairs] == list(range(count))
    assert segmenter.calls == calls
    for each in pairs:
        frame, label_map = each.frame, each.label_map
        assert label_map.geometry.source_hw == frame.size_hw
        exact = Segmenter(backend="fake", size_hw=HW)(frame.image_bgr)
        assert (label_map.ids == exact.ids).mean() > 0.85


def test_a_size_that_changes_begins_anew() -> None:
    pairs = list(reuse(Counting(), frames(9, changes_at=4), 3, []))
    assert [each.frame.index for each in pairs] == list(range(9))
    for each in pairs:
        frame, label_map = each.frame, each.label_map
        assert label_map.ids.shape == frame.size_hw


@pytest.mark.parametrize(("fails_at", "delivered"), [(0, 0), (1, 2), (2, 4), (3, 6)])
def test_frames_before_an_error_are_given_and_the_error_is_kept_first(
    fails_at: int, delivered: int
) -> None:
    errors: list[BaseException] = []
    pairs: list[Segmented] = []
    with pytest.raises(BackendError, match="broken"):
        pairs.extend(iter(reuse(Counting(fails_at), frames(8), 2, errors)))
    assert [str(error) for error in errors] == ["broken"]
    assert [each.frame.index for each in pairs] == list(range(delivered))


def run(source: Path, *options: object) -> int:
    return main(["run", "--source", str(source), "--backend", "fake", *map(str, options)])


def test_a_run_loses_no_frame(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", images=[scene(i)[0] for i in range(8)])
    masks = tmp_path / "masks"
    assert run(clip, "--reuse", 3, "--output", tmp_path / "out.mp4", "--save-masks", masks) == 0
    assert len(list(masks.glob("*.png"))) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--reuse", "0"], "--reuse 0 is not from 1 to 4"),
        (["--reuse", "5"], "--reuse 5 is not from 1 to 4"),
        (["--reuse", "2", "--blur", "car"], "it does not see them all"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    assert run(write_clip(tmp_path / "clip.mp4"), "--output", tmp_path / "out.mp4", *options) == 2
    assert message in capsys.readouterr().err


def test_pictures_are_no_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(2):
        cv2.imwrite(str(folder / f"{i}.png"), scene(i)[0])
    assert run(folder, "--output", tmp_path / "out.mp4", "--reuse", "2") == 2
    assert "--reuse is for video files" in capsys.readouterr().err
