from __future__ import annotations

import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.core.labels import CAMVID, ClassSet, distinct_colours
from roadseg.core.wording import naming_options
from roadseg.road import GROUPS, Vocabulary

FARM = ClassSet("the farm", ("track", "field", "sky"), distinct_colours(3))
CITY_NAMES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"),
    *("motorcycle", "bicycle"),
)
CITY = ClassSet("Cityscapes", CITY_NAMES, distinct_colours(len(CITY_NAMES)))


def test_groups_of_camvid(words: Vocabulary) -> None:
    def names(group: str) -> set[str]:
        return {CAMVID.names[i] for i in words.ids(group)}

    assert names("people") == {"pedestrian", "bicyclist"}
    assert names("vehicles") == {"car"}
    assert names("traffic") == {"pedestrian", "bicyclist", "car"}
    assert names("ground") == {"road", "pavement"}
    assert names("obstacle") == set(CAMVID.names) - {"road", "pavement", "sky"}
    assert set(GROUPS) <= set(words.names)


def test_groups_of_cityscapes() -> None:
    city = Vocabulary(CITY)
    assert {CITY_NAMES[i] for i in city.ids("people")} == {"person", "rider"}
    assert {CITY_NAMES[i] for i in city.ids("ground")} == {"road", "sidewalk"}
    left = set(CITY_NAMES) - {CITY_NAMES[i] for i in city.ids("obstacle")}
    assert left == {"road", "sidewalk", "terrain", "sky"}


def test_a_group_of_ones_own_goes_before_those_that_are_there() -> None:
    words = Vocabulary(groups=["people = pedestrian", "mine=people,car"])
    assert words.ids("people") == (9,)
    assert words.ids("mine") == (8, 9)


LANE = ClassSet("lane", ("road", "car", "human", "hedge"), distinct_colours(4))


@pytest.mark.parametrize("groups", ["people=human", "pedestrian=human"])
def test_groups_that_hold_a_group_of_ones_own_have_its_classes(groups: str) -> None:
    words = Vocabulary(LANE, groups)
    assert words.ids("people") == (2,)
    assert words.ids("traffic") == words.ids("obstacle") == (1, 2)
    assert "standing" not in words.names
    more = Vocabulary(LANE, [groups, "tree = hedge"])
    assert more.ids("obstacle") == (1, 2, 3)
    assert Vocabulary(LANE).ids("obstacle") == (1,)


def test_what_a_group_of_ones_own_leaves_out_is_in_the_way_still() -> None:
    words = Vocabulary(groups="people=pedestrian")
    assert words.ids("traffic") == Vocabulary().ids("traffic")
    assert words.ids("obstacle") == Vocabulary().ids("obstacle")


def test_groups_of_ones_own_hold_what_is_known_by_then() -> None:
    words = Vocabulary(LANE, ["people=human", "moving=traffic"])
    assert words.ids("moving") == (1, 2)


def test_a_class_of_a_groups_name_stays_a_class() -> None:
    assert Vocabulary(ClassSet("x", ("ground", "road"), distinct_colours(2))).ids("ground") == (0,)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pedestrain", "unknown class or group 'pedestrain': use pedestrian"),
        ("zzz", "unknown class or group 'zzz': use one of sky, building, pole"),
    ],
)
def test_unknown_name(words: Vocabulary, name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        words.ids(name)
    assert str(caught.value).startswith(message)


def test_classes_without_a_road_say_how_to_map_one() -> None:
    with pytest.raises(UsageError) as caught:
        Vocabulary(FARM).ids("road")
    assert str(caught.value) == (
        "the 3 classes of the farm (track, field, sky) have none called 'road': "
        'say which of them it is with groups="road=CLASS,..."'
    )
    with naming_options(), pytest.raises(UsageError, match="--group road=CLASS,...$"):
        Vocabulary(FARM).ids("road")
    assert Vocabulary(FARM, "road=track").ids("road") == (0,)


@pytest.mark.parametrize("text", ["road", "road=", "=track", "road=track,,field", "road=truck"])
def test_group_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError, match="NAME=CLASS|use track"):
        Vocabulary(FARM, text)


def test_mask_is_where_the_name_is(words: Vocabulary) -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    mask = words.mask(labels, "people")
    assert mask.dtype == np.uint8
    assert mask.shape == labels.shape
    assert (mask.ravel() > 0).nonzero()[0].tolist() == [9, 10]


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.zeros((2, 2, 3), np.uint8)])
def test_what_is_no_label_map_is_refused(words: Vocabulary, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected .h, w. uint8 labels"):
        words.mask(bad, "road")
