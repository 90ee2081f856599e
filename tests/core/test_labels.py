from __future__ import annotations

import inspect

import numpy as np
import pytest

from roadseg.cli.run import run
from roadseg.core.errors import UsageError
from roadseg.core.labels import (
    CAMVID,
    CLASS_NAMES,
    DEFAULT_PALETTE,
    NUM_CLASSES,
    PALETTES,
    SUNRGBD,
    VOID_ID,
    ClassSet,
    class_id,
    known_class_set,
    palette_bgr,
)
from roadseg.render import Renderer
from roadseg.run.video import RunOptions


def test_classes_are_those_of_the_paper_in_its_order() -> None:
    assert ",".join(CLASS_NAMES) == (
        "sky,building,pole,road,pavement,tree,sign,fence,car,pedestrian,bicyclist"
    )
    assert (NUM_CLASSES, VOID_ID) == (11, 11)


def test_class_id_is_the_inverse_of_the_names() -> None:
    assert [class_id(name) for name in CLASS_NAMES] == list(range(11))


def test_unknown_class() -> None:
    with pytest.raises(UsageError) as error:
        class_id("lorry")
    assert str(error.value) == (
        "unknown class 'lorry': use one of sky, building, pole, road, pavement, tree, sign, "
        "fence, car, pedestrian, bicyclist"
    )


def test_camvid_colours_are_the_authors_in_bgr() -> None:
    palette = palette_bgr("camvid")
    assert palette[class_id("building")].tolist() == [0, 0, 128]
    assert palette[class_id("road")].tolist() == [128, 64, 128]
    assert palette[class_id("pavement")].tolist() == [222, 40, 60]
    assert palette[class_id("bicyclist")].tolist() == [192, 128, 0]


@pytest.mark.parametrize("name", sorted(PALETTES))
def test_every_palette_is_read_only_with_distinct_colours_and_black_void(name: str) -> None:
    palette = palette_bgr(name)
    assert palette.shape == (12, 3)
    assert palette.dtype == np.uint8
    assert not palette.flags.writeable
    assert len({tuple(colour) for colour in palette.tolist()}) == 12
    assert palette[VOID_ID].tolist() == [0, 0, 0]


def test_unknown_palette() -> None:
    with pytest.raises(UsageError) as error:
        palette_bgr("neon")
    assert (
        str(error.value) == 'unknown palette \'neon\': use palette="street"|"colorblind"|"camvid"'
    )


def test_camvid_is_one_class_set_among_others() -> None:
    assert (CAMVID.names, CAMVID.num_classes, CAMVID.void_id) == (CLASS_NAMES, 11, 11)
    np.testing.assert_array_equal(CAMVID.palette_bgr, PALETTES["camvid"])
    assert str(CAMVID) == "the 11 classes of CamVid (sky, building, pole, ...)"


def test_sun_rgbd_has_its_37_classes_in_the_official_order() -> None:
    assert SUNRGBD.num_classes == SUNRGBD.void_id == 37
    assert SUNRGBD.names[:10] == (
        *("wall", "floor", "cabinet", "bed", "chair"),
        *("sofa", "table", "door", "window", "bookshelf"),
    )
    assert SUNRGBD.names[19] == "floor_mat"
    assert SUNRGBD.names[24:28] == ("tv", "paper", "towel", "shower_curtain")
    assert SUNRGBD.names[31] == "night_stand"
    assert SUNRGBD.names[36] == "bag"


def test_a_set_is_known_by_its_names() -> None:
    assert known_class_set(CLASS_NAMES) is CAMVID
    assert known_class_set(SUNRGBD.names) is SUNRGBD
    own = known_class_set(("cat", "dog"), ((1, 2, 3), (4, 5, 6), (0, 0, 0)))
    assert own.colours_rgb == ((1, 2, 3), (4, 5, 6))
    assert str(own) == "the 2 classes of its own data set (cat, dog)"
    assert own.same_classes(known_class_set(("cat", "dog")))
    assert not own.same_classes(known_class_set(("dog", "cat")))
    assert own.palette_bgr.tolist() == [[3, 2, 1], [6, 5, 4], [0, 0, 0]]
    assert not own.palette_bgr.flags.writeable


@pytest.mark.parametrize(
    ("names", "colours", "message"),
    [
        ((), (), "expected 1..254 classes, got 0"),
        (("a", "a"), ((1, 1, 1), (2, 2, 2)), "expected unique names, got a, a"),
        (("a", "b"), ((1, 1, 1),), "expected 2 colours, got 1: one per class"),
    ],
)
def test_impossible_class_sets(
    names: tuple[str, ...], colours: tuple[tuple[int, int, int], ...], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        ClassSet("odd", names, colours)
    assert str(error.value) == message


def test_palettes_of_other_classes_are_their_own() -> None:
    np.testing.assert_array_equal(palette_bgr(DEFAULT_PALETTE, SUNRGBD), SUNRGBD.palette_bgr)
    np.testing.assert_array_equal(palette_bgr(classes=SUNRGBD), SUNRGBD.palette_bgr)
    for name in ("colorblind", "camvid"):
        with pytest.raises(UsageError) as error:
            palette_bgr(name, SUNRGBD)
        assert str(error.value) == (
            f"palette {name!r} has colours for CamVid's classes only, and the model knows the 37 "
            "classes of SUN RGB-D (wall, floor, cabinet, ...): leave palette out"
        )


def test_the_default_palette_has_one_name() -> None:
    for function, argument in ((run, "palette"), (Renderer, "palette"), (palette_bgr, "name")):
        assert inspect.signature(function).parameters[argument].default == DEFAULT_PALETTE
    assert RunOptions("clip.mp4").palette == DEFAULT_PALETTE == next(iter(PALETTES))
