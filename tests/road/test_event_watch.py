from __future__ import annotations

import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.core.types import Labels
from roadseg.road import Area, EventWatch, FlatRoad, IgnoreMask, Vocabulary
from roadseg.road.events.conditions import Measure
from roadseg.road.events.readings import read_measures


def percent(share: int) -> Labels:
    """A hundred pixels, of which so many are car."""
    labels = np.full(100, 3, np.uint8)
    labels[:share] = 8
    return labels.reshape(10, 10)


def watch(text: str, shares: list[int], step_s: float = 0.1) -> list[tuple[float, float | None]]:
    """Begin and end of the events of a rule, from shares of car in percent."""
    watching = EventWatch([text], Vocabulary())
    events = []
    for i, share in enumerate(shares):
        events += watching.update(round(i * step_s, 6), percent(share))
    events += watching.finish()
    assert all(event.end_s is not None for event in events)
    return [(event.start_s, event.end_s) for event in dict.fromkeys(events)]


@pytest.mark.parametrize(
    ("rule", "shares", "expected"),
    [
        ("a: car > 5%", [0, 6, 9, 6, 0, 7, 0], [(0.1, 0.3), (0.5, 0.5)]),
        ("a: car > 5% for 0.2s", [0, 6, 6, 0, 6, 6, 6, 0], [(0.4, 0.6)]),
        ("a: car > 5% hold-off 0.2s", [6, 0, 6, 0, 0, 0, 6], [(0.0, 0.2), (0.6, 0.6)]),
        # Until it has begun, a break begins anew, whatever the hold-off.
        ("a: car > 5% for 0.2s hold-off 1s", [6, 0, 6, 6, 6, 0, 0], [(0.2, 0.4)]),
        ("a: car > 5% for 0.2s hold-off 0.2s", [6, 6, 6, 0, 6, 0, 0, 6], [(0.0, 0.4)]),
        ("a: car < 5%", [9, 0, 0], [(0.1, 0.2)]),
        ("a: car > 5%", [0, 0], []),
    ],
)
def test_begins_and_ends(rule: str, shares: list[int], expected: list[tuple[float, float]]) -> None:
    assert watch(rule, shares) == expected


def test_an_event_says_when_it_was_seen_and_where_it_peaked() -> None:
    watching = EventWatch(["a: car > 5% for 0.2s"], Vocabulary())
    seen = [watching.update(i / 10, percent(share)) for i, share in enumerate([6, 30, 8, 7, 0])]
    assert [len(changes) for changes in seen] == [0, 0, 1, 0, 1]
    (event,) = seen[2]
    assert event is seen[4][0]
    assert (event.start_s, event.seen_s, event.end_s) == (0.0, 0.2, 0.3)
    assert (event.peak_s, event.peak, event.unit) == (0.1, 30.0, "%")


def test_the_peak_of_below_is_the_least_and_that_of_not_is_none() -> None:
    rules = ["low: car < 50%", "sparse: not car > 50%", "both: not car > 90% and car > 1%"]
    watching = EventWatch(rules, Vocabulary())
    for i, share in enumerate([40, 10, 20]):
        watching.update(float(i), percent(share))
    low, sparse, both = watching.finish()
    assert (low.peak_s, low.peak) == (1.0, 10.0)
    assert (sparse.peak, sparse.unit) == (None, "")
    assert (both.peak_s, both.peak) == (0.0, 40.0)


def test_time_that_goes_back_ends_what_goes_on() -> None:
    watching = EventWatch(["a: car > 5%"], Vocabulary())
    watching.update(9.0, percent(10))
    changes = watching.update(0.0, percent(10))
    assert [(event.start_s, event.end_s) for event in changes] == [(9.0, 9.0), (0.0, None)]


def test_connected_parts_are_counted_without_specks(words: Vocabulary) -> None:
    labels = np.full((352, 480), 3, np.uint8)
    labels[100:120, 100:110] = 8
    labels[100:120, 200:210] = 8
    labels[120:140, 210:220] = 8  # touches the one before at a corner: one part
    labels[300:303, 300:303] = 8  # a speck
    count = Measure("count", "car", "frame")
    assert read_measures([count], labels, words, {}) == {count: 2}
    left = Measure("count", "car", "left")
    regions = {"left": Area("left", [(0, 0), (0.3, 0), (0.3, 1), (0, 1)])}
    assert read_measures([left], labels, words, regions) == {left: 1}
    assert read_measures([count], np.full((352, 480), 3, np.uint8), words, {}) == {count: 0}


def test_distances_are_to_the_nearest_and_inf_without_one(words: Vocabulary) -> None:
    labels = np.full((100, 100), 3, np.uint8)
    labels[60:80, 40:60] = 8
    camera = FlatRoad(1.2, 0.5, vertical_fov_deg=90)
    measures = [Measure(kind, "car", "frame") for kind in ("m", "px")]
    read = read_measures(measures, labels, words, {}, None, camera)
    assert list(read.values()) == [pytest.approx(1.2 / 0.6), 20]
    none = read_measures(measures, np.full((100, 100), 3, np.uint8), words, {}, None, camera)
    assert set(none.values()) == {float("inf")}


def test_ignored_pixels_make_no_event() -> None:
    ignore = IgnoreMask(percent(60) == 8)
    rules = ["a: car > 5%", "b: count of car > 0", "c: distance to car < 90m"]
    watching = EventWatch(rules, Vocabulary(), ignore=ignore)
    assert watching.update(0.0, percent(60)) == []
    assert len(watching.update(1.0, percent(100))) == 3


def test_an_ignore_mask_elsewhere_changes_no_distance(words: Vocabulary) -> None:
    """In the frame a narrow thing counts, with a mask as without; in an area a tenth of a row."""
    labels = np.full((352, 480), 3, np.uint8)
    labels[240:280, 220:260] = 8
    bonnet = IgnoreMask.from_polygons([[(0, 0.97), (1, 0.97), (1, 1), (0, 1)]])
    frame, low = Measure("px", "car", "frame"), Measure("px", "car", "low")
    wide = {"low": Area("low", [(0, 0.5), (1, 0.5), (1, 1), (0, 1)])}
    narrow = {"low": Area("low", [(0.4, 0.5), (0.6, 0.5), (0.6, 1), (0.4, 1)])}
    for ignore in (None, bonnet):
        read = read_measures([frame, low], labels, words, wide, ignore)
        assert read == {frame: 72, low: float("inf")}
        assert read_measures([frame, low], labels, words, narrow, ignore) == {frame: 72, low: 72}


def test_a_region_under_the_ignore_mask_is_refused() -> None:
    lower = [(0.0, 0.6), (1.0, 0.6), (1.0, 1.0), (0.0, 1.0)]
    ignore = IgnoreMask.from_polygons([[(0, 0.5), (1, 0.5), (1, 1), (0, 1)]])
    watching = EventWatch(["a: car in low > 5%"], Vocabulary(), [Area("low", lower)], ignore)
    with pytest.raises(UsageError, match="the ignore mask leaves nothing of low"):
        watching.update(0.0, percent(10))


def test_regions_and_names_that_clash_are_refused(words: Vocabulary) -> None:
    with pytest.raises(UsageError, match="two events are called 'a'"):
        EventWatch(["a: car > 1%", "a: sky > 1%"], words)
    with pytest.raises(UsageError, match="a region cannot be called frame"):
        EventWatch([], words, [Area("frame", [(0, 0), (1, 0), (1, 1)])])


def test_a_corridor_of_ones_own_takes_the_place_of_the_default() -> None:
    corner = Area("corridor", [(0, 0), (0.1, 0), (0.1, 0.1), (0, 0.1)])
    assert EventWatch(["a: car in corridor > 50%"], Vocabulary(), [corner]).update(0, percent(1))
    assert not EventWatch(["a: car in corridor > 50%"], Vocabulary()).update(0, percent(1))
