from __future__ import annotations

import itertools

import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.core.labels import ClassSet, distinct_colours
from roadseg.road import Corridor, EventWatch, FlatRoad, IgnoreMask, Vocabulary, parse_rule
from roadseg.road.events.conditions import Joined, Measure, Not
from roadseg.road.events.possible import can_hold

SHARE = Measure("share", "pedestrian", "corridor")
CARS = Measure("count", "car", "frame")
AHEAD = Measure("m", "car", "corridor")


def test_the_parts_of_a_rule(words: Vocabulary) -> None:
    rule = parse_rule("walker: pedestrian in corridor > 0.5% for 300ms hold-off 2s", words)
    assert (rule.name, rule.for_s, rule.hold_off_s) == ("walker", 0.3, 2.0)
    assert rule.measures == (SHARE,)
    assert not rule.when.holds({SHARE: 0.005})
    assert rule.when.holds({SHARE: 0.0051})


@pytest.mark.parametrize(
    ("text", "kind", "what", "region", "limit"),
    [
        ("a: car > 5%", "share", "car", "frame", 0.05),
        ("a: people in frame >= .5 %", "share", "people", "frame", 0.005),
        ("a: count of car in corridor >= 2", "count", "car", "corridor", 2),
        ("a: distance to obstacle in corridor < 10 m", "m", "obstacle", "corridor", 10),
        ("a: distance to car <= 40px", "px", "car", "frame", 40),
        ("'two words': car in 'left lane' < 1%", "share", "car", "left lane", 0.01),
    ],
)
def test_measures(
    words: Vocabulary, text: str, kind: str, what: str, region: str, limit: float
) -> None:
    rule = parse_rule(text, words, ["corridor", "left lane"])
    (condition,) = rule.when.conditions()
    assert condition.measure == Measure(kind, what, region)
    assert condition.limit == pytest.approx(limit)
    assert (rule.for_s, rule.hold_off_s) == (0, 0)


def test_and_binds_closer_than_or_and_not_closest(words: Vocabulary) -> None:
    text = "a: pedestrian > 1% or not car > 2% and sky > 3%"
    when = parse_rule(text, words).when
    grouped = parse_rule("a: (pedestrian > 1% or not car > 2%) and sky > 3%", words).when
    measures = [Measure("share", name, "frame") for name in ("pedestrian", "car", "sky")]
    for values in itertools.product([0.0, 1.0], repeat=3):
        pedestrian, car, sky = (bool(value) for value in values)
        readings = dict(zip(measures, values, strict=True))
        assert when.holds(readings) == (pedestrian or (not car and sky))
        assert grouped.holds(readings) == ((pedestrian or not car) and sky)


def test_nothing_holds_of_what_cannot_be_read(words: Vocabulary) -> None:
    for sign in (">", ">=", "<", "<="):
        rule = parse_rule(f"a: pedestrian in corridor {sign} 50%", words)
        assert not rule.when.holds({SHARE: float("nan")})


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "found the end: write the event's name"),
        ("walker", 7, "found the end: write ':' behind the event's name"),
        ("and: car > 1%", 1, "found 'and': write the event's name"),
        ("a: ", 3, "found the end: write a class or group, count of, distance to, not or '('"),
        ("a: pedestrain > 1%", 4, "class or group 'pedestrain': use pedestrian"),
        ("a: car in coridor > 1%", 11, "unknown region 'coridor': use corridor"),
        ("a: car in xyz > 1%", 11, "unknown region 'xyz': use one of frame, corridor"),
        ("a: car = 1%", 8, "found '=': write in, >, >=, < or <="),
        ("a: car > x", 10, "found 'x': write a number, such as 0.5%"),
        ("a: car > 5", 10, "a share cannot be compared with 5: write a number such as 0.5%"),
        ("a: car > 5m", 10, "cannot be compared with 5m"),
        (
            "a: count of car > 5%",
            19,
            "cannot be compared with 5%: write a number such as 2",
        ),
        ("a: count of car > 1.5", 19, "1.5 is no count: use a whole number"),
        ("a: distance to car < 5", 22, "with 5: write a number such as 10m or 40px"),
        ("a: car > 1% for", 16, "found the end: write a time, such as 0.3s or 500ms"),
        ("a: car > 1% for 3", 18, "found the end: write s or ms"),
        ("a: car > 1% for -3s", 17, "a time of -3 s cannot be: use 0 or more"),
        ("a: car > 1% hold-off 1s for 1s", 25, "found 'for': write and, or, for, hold-off or the"),
        ("a: (car > 1%", 13, "found the end: write and, or or ')'"),
        ("a: car > 1% %", 13, "found '%'"),
        ("a: car > 1% and", 16, "found the end"),
        ("a: car > 1% # b", 13, "found '#'"),
        ("a: " + "(" * 60, 54, "more than 50 levels"),
        ("a: car > 101%", 10, "a share like this can never be: compare it with 100% at most"),
        ("a: distance to car < -1m", 22, "like this can never be: compare it with 0 at least"),
        ("a: car > " + "9" * 400 + "%", 10, "is too large"),
    ],
)
def test_a_mistake_is_named_with_its_column(
    words: Vocabulary, text: str, column: int, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        parse_rule(text, words)
    assert f"column {column}: " in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_that_the_model_lacks_says_how_to_map_it() -> None:
    farm = Vocabulary(ClassSet("the farm", ("track", "field"), distinct_colours(2)))
    with pytest.raises(UsageError, match="column 4: .* have none called 'car': say which of them"):
        parse_rule("a: car > 1%", farm)
    assert parse_rule("a: track > 1%", farm).measures[0].what == "track"


@pytest.mark.parametrize(
    "text",
    [
        "car > 100%",
        "car < 0%",
        "count of car < 0",
        "car > 5% and car < 3%",
        "car > 5% and (car <= 5% or car < 4%)",
        "not (car > 1% or car <= 1%)",
        "count of car > 1 and count of car < 2",
        "distance to car < 5m and not distance to car <= 7m",
        "car > 2% and not (car > 1% and sky >= 0%)",
        "car > 50% and road > 50%",
        "car > 33.3% and road > 33.3% and sky > 33.4%",
        "pedestrian > 20% and people < 10%",
        "people > 50% and pedestrian < 10% and bicyclist < 10%",
        "people > 60% and vehicles > 60%",
        "count of car > 0 and car <= 0%",
        "distance to car < 10m and vehicles <= 0%",
    ],
)
def test_what_can_never_be_true_is_refused_and_its_opposite_too(
    words: Vocabulary, text: str
) -> None:
    with pytest.raises(UsageError, match="column 4: this can never be true"):
        parse_rule(f"a: {text}", words)
    with pytest.raises(UsageError, match="column 4: this is always true"):
        parse_rule(f"a: not ({text})", words)


@pytest.mark.parametrize(
    "text",
    [
        "car >= 100%",
        "car <= 0%",
        "car > 5% and car in corridor < 3%",
        "car > 5% and people < 3%",
        "count of car > 1 and count of car < 3",
        "distance to car < 5m and distance to car > 7px",
        "car > 2% and not (car > 1% and sky > 10%)",
        "car >= 50% and road >= 50%",
        "car > 33.3% and road > 33.3% and sky > 33.3%",
        "pedestrian < 10% and people > 20%",
        "car in corridor > 60% and road > 60%",
        "count of car <= 0 and car > 0%",
        "distance to car > 10m and car <= 0%",
    ],
)
def test_what_can_be_true_is_taken(words: Vocabulary, text: str) -> None:
    parse_rule(f"a: {text}", words)


def test_possible_is_what_some_frame_meets(words: Vocabulary) -> None:
    """Random expressions of two measures, against all that two measures can be."""
    from roadseg.road.events.conditions import Condition

    rng = np.random.default_rng(0)

    def expression(depth: int) -> Condition | Not | Joined:
        if not depth or rng.random() < 0.3:
            sign = str(rng.choice([">", ">=", "<", "<="]))
            if rng.random() < 0.5:
                return Condition(CARS, sign, float(rng.integers(0, 4)))
            return Condition(SHARE, sign, float(rng.choice([0.0, 0.25, 0.5, 1.0])))
        if rng.random() < 0.3:
            return Not(expression(depth - 1))
        parts = tuple(expression(depth - 1) for _ in range(rng.integers(2, 4)))
        return Joined(str(rng.choice(["and", "or"])), parts)

    frames = [
        {CARS: float(count), SHARE: share}
        for count in range(6)
        for share in (0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 1.0)
    ]
    answers = set()
    for _ in range(400):
        when = expression(3)
        possible = any(when.holds(frame) for frame in frames)
        assert can_hold(when, words) == possible, when
        answers.add(possible)
    assert answers == {False, True}


def test_shares_that_a_frame_has_are_possible_together(words: Vocabulary) -> None:
    """Rules about classes and groups that overlap, written so that a random frame meets them."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        each = rng.dirichlet(np.full(words.classes.num_classes, 0.3))
        conditions = []
        for name in rng.choice(words.names, 4, replace=False):
            share = each[list(words.ids(name))].sum() * 100
            low, high = f"{name} >= {share - 0.01:.4f}%", f"{name} <= {share + 0.01:.4f}%"
            conditions.append(high if share < 0.02 else low if rng.random() < 0.5 else high)
        parse_rule("a: " + " and ".join(conditions), words)


@pytest.mark.parametrize(
    ("rule", "column"),
    [("distance to car < 2.9m", 22), ("car > 5% or distance to car in corridor <= 2m", 47)],
)
def test_nothing_is_nearer_than_the_camera_sees(words: Vocabulary, rule: str, column: int) -> None:
    camera = FlatRoad()  # sees the road from 3.0 m on
    message = rf"column {column}: in \w+ nothing is nearer than 3.0 m"
    with pytest.raises(UsageError, match=message):
        EventWatch([f"a: {rule}"], words, camera=camera)
    EventWatch([f"a: {rule}"], words, camera=FlatRoad(camera_height_m=0.8))
    EventWatch([f"a: {rule}"], words, camera=camera, check_metres=False)


def test_what_begins_further_up_is_further_away(words: Vocabulary) -> None:
    bonnet = IgnoreMask.from_polygons([[(0, 0.8), (1, 0.8), (1, 1), (0, 1)]])
    rule = "a: distance to car < 4m"
    with pytest.raises(UsageError, match="nothing is nearer than 4.8 m"):
        EventWatch([rule], words, ignore=bonnet)
    upper = Corridor([(0.4, 0.8), (0.6, 0.8), (0.5, 0.5)])
    with pytest.raises(UsageError, match="in corridor nothing is nearer than 4.8 m"):
        EventWatch(["a: distance to car in corridor < 4m"], words, [upper])
    with pytest.raises(UsageError, match="always true"):
        EventWatch(["a: distance to car > 2m"], words)


def test_a_rule_too_large_to_look_through_is_taken(words: Vocabulary) -> None:
    parts = [f"(car > {i}% or sky > {i}% or tree > {i}%)" for i in range(1, 20)]
    parse_rule("a: " + " and ".join(parts), words)
