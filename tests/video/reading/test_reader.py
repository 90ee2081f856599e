"""Frames on their way through a `Reader`: steadied, hidden, watched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.labels import CAMVID
from roadseg.core.types import Frame, Labels
from roadseg.road import Steady, Vocabulary
from roadseg.video.reading import Reader, ReadingOptions

pytestmark = pytest.mark.usefixtures("as_typed")

HW = (100, 200)


def frame(index: int, size_hw: tuple[int, int] = HW) -> Frame:
    rng = np.random.default_rng(index)
    image_bgr = rng.integers(0, 255, (*size_hw, 3), np.uint8)
    return Frame(image_bgr, index, index / 10, captured_s=0.0)


def label_map(labels: Labels, source_hw: tuple[int, int] = HW) -> LabelMap:
    return LabelMap(labels, Geometry(source_hw, (labels.shape[0], labels.shape[1])))


def flickering(labels: Labels, count: int) -> list[Labels]:
    """The same labels with a speck of another class in every other one."""
    maps = [labels.copy() for _ in range(count)]
    for each in maps[1::2]:
        each[90, 150] = 9
    return maps


def test_steadied_frames_come_one_late_with_their_own_labels(street: Labels) -> None:
    maps = flickering(street, 5)
    reader, steady = Reader(ReadingOptions(smooth=True), CAMVID, HW), Steady(Vocabulary())
    came, expected = [], []
    for index, labels in enumerate(maps):
        ready = reader.push(frame(index), label_map(labels))
        assert [read.frame.index for read in ready] == ([] if index == 0 else [index - 1])
        came += ready
        expected.append(steady.push(frame(index).image_bgr, labels))
    came += reader.flush()
    expected.append(steady.flush())
    assert [read.frame.index for read in came] == list(range(5))
    for read, labels in zip(came, expected[1:], strict=True):
        assert labels is not None
        assert (read.label_map.network_ids == labels).all()
        assert (read.frame.image_bgr == frame(read.frame.index).image_bgr).all()
    assert (came[1].ids == street).all(), "the speck is gone"
    assert reader.flush() == []


def test_frames_larger_than_the_labels_and_of_changing_size(street: Labels) -> None:
    reader = Reader(ReadingOptions(smooth=True, readouts=True), CAMVID, None)
    sizes = [(200, 400), (200, 400), (150, 300)]
    came = []
    for index, size_hw in enumerate(sizes):
        labels = street if size_hw[0] == 200 else street[:50, :100]
        came += reader.push(frame(index, size_hw), label_map(labels, size_hw))
    came += reader.flush()
    assert [read.ids.shape for read in came] == sizes
    means = reader.to_json()
    assert means is not None
    assert means["frames"] == 3


def test_one_picture_alone(street: Labels) -> None:
    reader = Reader(ReadingOptions(smooth=True), CAMVID, HW)
    assert reader.push(frame(0), label_map(street)) == []
    (read,) = reader.flush()
    assert (read.label_map.network_ids == street).all()


@pytest.mark.parametrize("style", ["blur", "pixelate", "fill"])
@pytest.mark.parametrize("smooth", [False, True])
def test_what_is_hidden_is_hidden_in_a_copy_and_held(
    street: Labels, style: str, smooth: bool
) -> None:
    people = street.copy()
    people[72:96, 16:64] = 9
    options = ReadingOptions(blur=("people",), blur_style=style, smooth=smooth)
    reader = Reader(options, CAMVID, HW)
    frames = [frame(index) for index in range(9)]
    came = []
    for each, labels in zip(frames, [people] + [street] * 8, strict=True):
        each.image_bgr.flags.writeable = False  # it is the source's
        came += reader.push(each, label_map(labels))
    came += reader.flush()
    hidden = [
        (read.frame.image_bgr != each.image_bgr).any(axis=2)[72:96, 16:64].mean() > 0.99
        for read, each in zip(came, frames, strict=True)
    ]
    # Seen in the first frame, and held for half a second of ten frames each.
    assert hidden == [True] * 6 + [False] * 3
    assert came[7].frame is frames[7]
    assert (came[0].frame.image_bgr[:50] == frames[0].image_bgr[:50]).all()


def test_what_is_hidden_is_in_the_statistics() -> None:
    assert Reader(ReadingOptions(blur=("people", "car")), CAMVID, HW).to_json() == {
        "hidden": ["people", "car"]
    }


def test_a_class_that_is_not_there_cannot_be_hidden() -> None:
    with pytest.raises(UsageError, match="unknown class or group 'pedestrain': use pedestrian"):
        Reader(ReadingOptions(blur=("pedestrain",)), CAMVID, HW)
    with pytest.raises(UsageError, match="cannot hide by 'smear': use --blur-style blur|"):
        ReadingOptions(blur=("car",), blur_style="smear").check()


PEOPLE = "walker: people in corridor > 1% for 0.1s hold-off 0.2s"


def walking(street: Labels) -> list[Labels]:
    """Ten frames; somebody stands ahead in frames 2 to 4."""
    people = street.copy()
    people[75:95, 90:110] = 9
    return [people if 2 <= index <= 4 else street for index in range(10)]


def test_events_are_lines_and_counts(
    street: Labels, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = tmp_path / "events.jsonl"
    rules = (PEOPLE, "cars: car > 1%", "never: bicyclist > 50%")
    reader = Reader(ReadingOptions(rules=rules, events=path), CAMVID, HW)
    going_on = []
    for index, labels in enumerate(walking(street)):
        (read,) = reader.push(frame(index), label_map(labels))
        assert read.reading is None
        going_on.append(read.events)
        shown = reader.hud_lines(read)[-1].right
        assert shown == ("cars" if len(read.events) == 1 else "walker +1")
    # Held off for two frames of a tenth of a second.
    assert going_on == [("cars",)] * 3 + [("walker", "cars")] * 3 + [("cars",)] * 4
    (walker,) = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert reader.close() == [path]
    assert reader.close() == [path]
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["name"] for line in lines] == ["walker", "cars"]
    assert (walker["start_s"], walker["seen_s"], walker["end_s"]) == (0.2, 0.3, 0.4)
    assert (walker["rule"], walker["unit"]) == (PEOPLE, "%")
    assert walker["peak"] > 1
    assert (lines[1]["start_s"], lines[1]["end_s"]) == (0.0, 0.9)
    assert reader.to_json() == {"events": {"walker": 1, "cars": 1, "never": 0}}
    said = [record.message for record in caplog.records if record.message.startswith("event ")]
    assert said[0].startswith("event walker: 0.20 s to 0.40 s, peak ")
    assert said[0].endswith("%")
    assert len(said) == 2


def test_a_distance_that_is_infinite_is_null(street: Labels, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    empty = np.where(street == 8, 3, street).astype(np.uint8)
    options = ReadingOptions(rules=("free: distance to car > 20m",), events=path)
    reader = Reader(options, CAMVID, HW)
    reader.push(frame(0), label_map(empty))
    reader.close()
    assert json.loads(path.read_text(encoding="utf-8"))["peak"] is None


def test_no_event_leaves_an_empty_file_and_no_frame_none(street: Labels, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    options = ReadingOptions(rules=("never: bicyclist > 50%",), events=path)
    reader = Reader(options, CAMVID, HW)
    assert reader.close() == []
    assert not path.exists()
    reader = Reader(options, CAMVID, HW)
    reader.push(frame(0), label_map(street))
    assert reader.close() == [path]
    assert path.read_text(encoding="utf-8") == ""


def test_rules_know_ones_own_corridor_and_groups(street: Labels) -> None:
    options = ReadingOptions(
        rules=("mine: mine in corridor > 1%",),
        groups=("mine=car",),
        corridor="0,1 0,0 0.1,0 0.1,1",
    )
    (read,) = Reader(options, CAMVID, HW).push(frame(0), label_map(street))
    assert read.events == (), "the car is not in the left tenth"


@pytest.mark.parametrize("picture_hw", [HW, None])
def test_wrong_rules_are_named_with_their_column_before_any_frame(
    picture_hw: tuple[int, int] | None,
) -> None:
    options = ReadingOptions(rules=("walker: pedestrain in corridor > 0.5%",))
    with pytest.raises(UsageError, match="column 9: unknown class or group 'pedestrain'"):
        Reader(options, CAMVID, picture_hw)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ReadingOptions(events=Path("a.jsonl")), "--event NAME: car in corridor > 5%"),
        (ReadingOptions(events=Path("a.csv"), rules=(PEOPLE,)), "use --events a.jsonl"),
    ],
)
def test_files_of_events_that_cannot_be(options: ReadingOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options.check()
