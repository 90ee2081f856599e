"""The lines on the picture are where the label map ends the road, on every way to a picture."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.labels import CAMVID
from roadseg.core.planes import Planes
from roadseg.core.types import Frame, Labels
from roadseg.render import Renderer
from roadseg.road import Corridor, FlatRoad
from roadseg.run.video import RunOptions, open_loop
from roadseg.video.reading import Read, Reader, ReadingOptions
from tests.support import ROOT
from tests.support.clips import write_clip

GREY = 90
IN_A_CORNER = "0,0 0.01,0 0.01,0.01"
"""A corridor that keeps out of the way."""
ASKED = ReadingOptions(readouts=True)
Brightness = npt.NDArray[np.uint8]


def read_of(labels: Labels, picture_hw: tuple[int, int], options: ReadingOptions = ASKED) -> Read:
    frame = Frame(np.full((*picture_hw, 3), GREY, np.uint8), 0, 0.0, captured_s=0.0)
    geometry = Geometry(picture_hw, (labels.shape[0], labels.shape[1]))
    (read,) = Reader(options, CAMVID, picture_hw).push(frame, LabelMap(labels, geometry))
    return read


def brightness(read: Read) -> tuple[Brightness, Brightness]:
    """(H, W) of the lines alone, drawn in BGR and in planes, both from 0 to 255."""
    render, image_bgr = Renderer(alpha=0.0, legend=False), read.frame.image_bgr
    in_bgr = render(image_bgr, read.label_map, guides=read.guides)
    in_planes = render(Planes.of_bgr(image_bgr), read.label_map, guides=read.guides)
    return in_bgr[..., 0], in_planes.bgr[..., 1]


def test_a_car_at_a_known_distance_has_the_line_below_its_wheels() -> None:
    picture_hw, (height, width) = (540, 960), (320, 576)
    camera = FlatRoad.of_picture(picture_hw, camera_height_m=1.4, horizon_row=250, fov_deg=70)
    options = ReadingOptions(camera_height_m=1.4, horizon=250, fov_deg=70)
    for ahead_m in (6.0, 9.0, 14.0):
        left, y = camera.point(-1.0, ahead_m)
        right, _ = camera.point(1.0, ahead_m)
        labels = np.full((height, width), 3, np.uint8)
        labels[: round(0.47 * height)] = 0
        labels[: round(y * height), round(left * width) : round(right * width)] = 8
        read = read_of(labels, picture_hw, options)
        assert read.reading is not None
        assert read.reading.free_m == pytest.approx(ahead_m, rel=0.06)
        read = read_of(labels, picture_hw, replace(options, corridor=IN_A_CORNER))
        for picture in brightness(read):
            below = picture[:, round((left + 0.02) * 960) : round((right - 0.02) * 960)]
            # A row of the label map is 1.7 of the picture.
            assert np.abs(below.argmax(axis=0) - y * 540).max() <= 2


def test_on_the_rendered_drive_the_line_follows_the_road() -> None:
    with np.load(ROOT / "samples" / "drive_labels.npz") as file:
        drive = np.asarray(file["labels"][::50])
    options = ReadingOptions(corridor=IN_A_CORNER)
    for labels in drive:
        blocked = labels[::-1] != 3
        ends = labels.shape[0] - blocked.argmax(axis=0)
        level = np.array(
            [np.ptp(ends[max(x - 4, 0) : x + 5]) <= 1 and ends[x] < 358 for x in range(480)]
        )
        assert level.sum() > 50
        for picture in brightness(read_of(labels, (360, 480), options)):
            off = np.abs(picture.argmax(axis=0) + 0.5 - ends)[level]
            assert off.max() <= 2
            assert np.median(off) <= 0.5


def test_the_corridors_outline_is_the_corridor(street: Labels) -> None:
    read = read_of(street, (200, 400))
    assert read.guides is not None
    expected = Corridor.ahead(FlatRoad.of_picture((200, 400)))
    assert list(read.guides.corridor) == list(expected.points)


def test_lines_are_steadied_as_the_metres_are(street: Labels) -> None:
    reader = Reader(ASKED, CAMVID, (100, 200))
    image_bgr, geometry = np.zeros((100, 200, 3), np.uint8), Geometry((100, 200), (100, 200))
    empty = street.copy()
    empty[50:] = 3
    heights = []
    for index, labels in enumerate((empty, street, street)):
        frame = Frame(image_bgr, index, index / 10, captured_s=0.0)
        (read,) = reader.push(frame, LabelMap(labels, geometry))
        assert read.guides is not None
        assert read.reading is not None
        heights.append(read.guides.free[read.guides.free.size // 2])
        assert heights[-1] == pytest.approx(1 - read.reading.free_px / 100)
    assert heights[0] == 0.5
    assert 0.5 < heights[1] < heights[2] < 0.7, "the car ends at row 70"


def test_without_read_outs_there_are_no_lines(street: Labels) -> None:
    assert read_of(street, (100, 200), ReadingOptions(rules=("car: car > 5%",))).guides is None


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 7), (9, 1), (97, 131)])
def test_label_maps_of_any_size(size_hw: tuple[int, int]) -> None:
    read = read_of(np.full(size_hw, 3, np.uint8), (48, 64))
    assert read.reading is not None
    assert len(read.reading.free_parts_px) == len(read.reading.free_parts_m) == 16
    for picture in brightness(read):
        assert picture.shape == (48, 64)


def test_the_values_of_a_timeline_are_those_of_sixteen_parts(street: Labels) -> None:
    reading = read_of(street, (100, 200), ReadingOptions(camera_height_m=1.5, fov_deg=90)).reading
    assert reading is not None
    # The car covers 80 to 119 of 200 columns: parts 6.4 to 9.6.
    assert reading.free_parts_px == (*[50.0] * 6, *[30.0] * 4, *[50.0] * 6)
    camera = FlatRoad.of_picture((100, 200), 1.5, None, 90)
    assert reading.free_parts_m[7] == float(camera.distance_m(np.array(70.0), 100))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    images = [np.full((240, 320, 3), GREY, np.uint8)] * 6
    return write_clip(tmp_path / "clip.mp4", images=images, rate=Fraction(25))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reuse": 2},
        {"view": "side-by-side"},
        {"reading": ReadingOptions(readouts=True, smooth=True)},
        {"reading": ReadingOptions(readouts=True, ignore_mask="0,1 0,0.9 1,0.9 1,1")},
    ],
    ids=str,
)
@pytest.mark.parametrize("output", ["out.mp4", "out"])
def test_a_run_draws_them_into_videos_and_pictures(
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    output: str,
) -> None:
    def infer(_: FakeBackend, batch_bgr: Brightness) -> Brightness:
        ids = np.full(batch_bgr.shape[:3], 3, np.uint8)
        ids[:, : ids.shape[1] * 3 // 4] = 0
        return ids

    monkeypatch.setattr(FakeBackend, "infer", infer)
    chosen: dict[str, Any] = {"reading": ASKED, **options}
    run = RunOptions(
        str(clip), tmp_path / output, backend="fake", size_hw=(96, 128), legend=False, **chosen
    )
    with open_loop(run) as loop:
        loop.run()
    if output == "out":
        pictures = [cv2.imread(str(path), 0) for path in sorted((tmp_path / output).glob("*.png"))]
    else:
        with av.open(str(tmp_path / output)) as container:
            pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert len(pictures) == 6
    for picture in pictures:
        assert picture is not None
        column = picture[150:215, -20].astype(int)
        assert abs(int(column.argmax()) + 150 - 179.5) <= 1
        assert column.max() - np.median(column) > 60
        if "view" in options:
            assert np.ptp(picture[150:215, 20].astype(int)) <= 6
