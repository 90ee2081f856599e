from __future__ import annotations

import doctest
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.types import Frame, Labels
from roadseg.road import FlatRoad
from roadseg.video.reading import Reader, ReadingOptions, Readouts, left_out, readouts
from roadseg.video.reading.readouts import Reading, hud_lines
from roadseg.video.reading.scene import Scene

pytestmark = pytest.mark.usefixtures("as_typed")

HW = (100, 200)
CAMERA = ReadingOptions(camera_height_m=1.5, horizon=50, fov_deg=90)
FARM = ClassSet("the farm", ("track", "field", "sky"), ((90, 60, 30), (60, 140, 40), (1, 2, 3)))


def frame(index: int, size_hw: tuple[int, int] = HW) -> Frame:
    return Frame(np.zeros((*size_hw, 3), np.uint8), index, index / 10, captured_s=0.0)


def label_map(labels: Labels, source_hw: tuple[int, int] = HW) -> LabelMap:
    return LabelMap(labels, Geometry(source_hw, (labels.shape[0], labels.shape[1])))


def test_examples_in_docstrings() -> None:
    names = {"np": np, "CAMVID": CAMVID, "Scene": Scene, "ReadingOptions": ReadingOptions}
    result = doctest.testmod(readouts, extraglobs=names)
    assert result.attempted > 0
    assert result.failed == 0


def test_a_frame_is_read_in_shares_rows_and_metres(street: Labels) -> None:
    scene = Scene.of(CAMERA, CAMVID, HW)
    reading = Readouts(scene).read(0.0, street)
    assert reading.road_share == pytest.approx(0.48)
    shares = dict(zip(scene.names, reading.shares, strict=True))
    assert (shares["car"], shares["sky"]) == (pytest.approx(0.02), 0.5)
    assert reading.free_px == 30  # rows 70 to 99 are road below the car
    expected_m = float(FlatRoad.of_picture(HW, 1.5, 50, 90).distance_m(np.array(70.0), 100))
    assert reading.free_m == reading.nearest_m == pytest.approx(expected_m)
    assert (reading.nearest_class, reading.nearest_px) == ("car", 30)
    assert 0 < reading.occupied < 1


def test_a_horizon_in_rows_of_the_picture_fits_label_maps_of_another_size(street: Labels) -> None:
    large = Scene.of(ReadingOptions(horizon=500), CAMVID, (1000, 2000))
    small = Scene.of(ReadingOptions(horizon=50), CAMVID, HW)
    assert large.camera == small.camera
    assert Readouts(large).read(0.0, street) == Readouts(small).read(0.0, street)


def test_a_corridor_of_ones_own_in_pixels_or_fractions(street: Labels) -> None:
    for corners in ("0,100 0,0 20,0 20,100", "0,1 0,0 0.1,0 0.1,1"):
        scene = Scene.of(ReadingOptions(corridor=corners), CAMVID, HW)
        reading = Readouts(scene).read(0.0, street)
        assert reading.nearest_class is None, "the car is not in the left tenth"
        assert reading.free_px == 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ReadingOptions(corridor="0,1 left 1,1"), r"the corridor's corner 2 is 'left': write X,Y"),
        (ReadingOptions(corridor="0,1 1,1"), "corridor has 2 corners"),
        (ReadingOptions(corridor="2,3 3,3 3,4"), None),
        (ReadingOptions(camera_height_m=0), "--camera-height 1.3"),
        (ReadingOptions(horizon=120), "the horizon lies outside the picture"),
        (ReadingOptions(fov_deg=180), "--fov 60"),
        (ReadingOptions(groups=("road",)), "cannot read the group 'road'"),
        (ReadingOptions(groups=("mine=rode",)), "unknown class or group 'rode': use road"),
    ],
)
def test_mistakes_are_named_before_the_run(options: ReadingOptions, message: str | None) -> None:
    if message is None:  # pixels, of a picture whose size is known
        Scene.of(options, CAMVID, HW)
        return
    with pytest.raises(UsageError, match=message):
        Reader(options, CAMVID, HW)


def test_what_needs_no_size_is_named_before_the_first_frame() -> None:
    with pytest.raises(UsageError, match="unknown class or group 'rode'"):
        Reader(ReadingOptions(groups=("mine=rode",)), CAMVID, None)
    late = Reader(ReadingOptions(horizon=500), CAMVID, None)
    with pytest.raises(UsageError, match="the horizon lies outside the picture"):
        late.push(frame(0), label_map(np.full(HW, 3, np.uint8)))


def test_a_model_without_road_says_how_to_map_one() -> None:
    options = ReadingOptions(readouts=True)
    with pytest.raises(UsageError, match=r"none called 'road': .* --group road=CLASS"):
        Reader(options, FARM, HW)
    mapped = ReadingOptions(readouts=True, groups=("road=track", "obstacle=field"))
    reader = Reader(mapped, FARM, HW)
    assert reader.names == ("track", "field", "sky", "road", "obstacle")
    (read,) = reader.push(frame(0), label_map(np.zeros(HW, np.uint8)))
    assert read.reading is not None
    assert read.reading.shares == (1, 0, 0, 1, 0)


def test_means_are_those_of_frames_that_have_a_number(street: Labels) -> None:
    reader = Reader(ReadingOptions(readouts=True), CAMVID, HW)
    empty = np.full(HW, 3, np.uint8)
    for index, labels in enumerate([street, street, empty, empty]):
        reader.push(frame(index * 20), label_map(labels))
    means = reader.to_json()
    assert means is not None
    assert means["frames"] == 4
    assert means["road_share"] == pytest.approx((0.48 + 1) / 2)
    assert means["corridor_blocked"] == 0.5
    inside = Readouts(Scene.of(ReadingOptions(), CAMVID, HW)).read(0.0, street)
    assert means["corridor_nearest_m"] == means["free_m"] == pytest.approx(inside.free_m, abs=0.01)
    assert means["shares"]["car"] == pytest.approx(0.01)  # type: ignore[index]


def test_frames_without_a_pixel_that_counts_have_no_mean() -> None:
    reader = Reader(ReadingOptions(readouts=True), CAMVID, HW)
    (read,) = reader.push(frame(0), label_map(np.full(HW, 11, np.uint8)))
    assert read.reading is not None
    assert math.isnan(read.reading.road_share)
    means = reader.to_json()
    assert means is not None
    assert means["road_share"] is None
    assert hud_lines(read.reading, ["car"])[0].left == "road --"


@pytest.mark.parametrize(
    ("metres", "shown"), [(4.4, "4 m"), (99.4, "99 m"), (99.6, ">99 m"), (math.inf, ">99 m")]
)
def test_the_display_knows_where_metres_end(metres: float, shown: str) -> None:
    first, second = hud_lines(Reading((), 1.0, 9.0, metres, 0.0, None, None, None), ["car"])
    assert first.right == f"free {shown}"
    assert second.right == "clear"


@pytest.fixture
def lower_half(tmp_path: Path) -> Path:
    """A mask of half the picture's size that leaves out all below row 65, car included."""
    mask = np.zeros((50, 100), np.uint8)
    mask[30:] = 255
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), mask)
    return path


def test_what_is_ignored_counts_nowhere(
    street: Labels, lower_half: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    reader = Reader(ReadingOptions(readouts=True, ignore_mask=lower_half), CAMVID, HW)
    for index in range(2):
        (read,) = reader.push(frame(index), label_map(street))
    assert read.reading is not None
    assert read.reading.road_share == pytest.approx(10 / 60)
    assert read.reading.nearest_class is None
    assert read.reading.free_px == 50
    assert read.left_out is not None
    voided = read.left_out.applied(street)
    assert (voided[60:] == 11).all()
    assert (voided[:60] == street[:60]).all()
    notes = [r.message for r in caplog.records if "ignore mask" in r.message]
    assert notes == ["the ignore mask is 100x50 and the picture 200x100: it is scaled"]


def test_a_mask_alone_reads_nothing(street: Labels, lower_half: Path) -> None:
    reader = Reader(ReadingOptions(ignore_mask=lower_half), CAMVID, HW)
    (read,) = reader.push(frame(0), label_map(street))
    assert read.reading is None
    assert read.left_out is not None
    assert reader.to_json() is None


def test_nothing_asked_for_is_nothing_done() -> None:
    options = ReadingOptions(groups=("mine=car",))
    assert not options.wants_reader
    assert not options.wants_files


def test_void_where_it_is_left_out() -> None:
    assert doctest.testmod(left_out, extraglobs={"np": np}).failed == 0
