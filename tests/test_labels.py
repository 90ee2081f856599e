from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from roadseg.errors import UsageError
from roadseg.labels import (
    CAMVID,
    CLASS_NAMES,
    MAX_CLASSES,
    NUM_CLASSES,
    PALETTES,
    SUNRGBD,
    VOID_ID,
    ClassSet,
    class_id,
    distinct_colours,
    known_class_set,
    palette_bgr,
)

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def cielab_as_seen(bgr: npt.NDArray[np.uint8], deficiency: str) -> npt.NDArray[np.float64]:
    """(N, 3) uint8 BGR to (N, 3) L*a*b* (D65) as someone with the deficiency sees them."""
    srgb = bgr[:, ::-1] / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ DEFICIENCIES[deficiency].T, 0, 1)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = seen @ to_xyz.T / (0.95047, 1.0, 1.08883)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


def smallest_distance(palette: npt.NDArray[np.uint8], deficiency: str) -> float:
    """Delta E (CIE 1976) of the two classes that are hardest to tell apart."""
    lab = cielab_as_seen(palette[:NUM_CLASSES], deficiency)
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    return float(distances[np.triu_indices(NUM_CLASSES, 1)].min())


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
        "unknown class 'lorry': the classes are sky, building, pole, road, pavement, tree, sign, "
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
    assert str(error.value) == "unknown palette 'neon': use --palette camvid|colorblind"


@pytest.mark.parametrize(
    ("deficiency", "minimum"),
    [("none", 40), ("protanopia", 25), ("deuteranopia", 25), ("tritanopia", 25)],
)
def test_colorblind_palette_keeps_classes_apart(deficiency: str, minimum: float) -> None:
    assert smallest_distance(palette_bgr("colorblind"), deficiency) >= minimum


def test_the_distance_measure_sees_that_camvid_colours_are_confused() -> None:
    # building and pedestrian under deuteranopia: the measure would be worthless if it passed.
    assert smallest_distance(palette_bgr("camvid"), "deuteranopia") < 8


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


@pytest.mark.parametrize(("count", "minimum"), [(3, 100), (19, 40), (37, 30), (MAX_CLASSES, 8)])
def test_generated_colours_are_apart_from_each_other_and_from_void(
    count: int, minimum: float
) -> None:
    colours = distinct_colours(count)
    bgr = np.array([*colours, (0, 0, 0)], np.uint8)[:, ::-1]
    lab = cielab_as_seen(bgr, "none")
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    assert distances[np.triu_indices(count + 1, 1)].min() >= minimum
    assert distinct_colours(count) == colours


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
    np.testing.assert_array_equal(palette_bgr("camvid", SUNRGBD), SUNRGBD.palette_bgr)
    with pytest.raises(UsageError) as error:
        palette_bgr("colorblind", SUNRGBD)
    assert str(error.value) == (
        "palette 'colorblind' has colours for CamVid's classes only, and the model knows the 37 "
        "classes of SUN RGB-D (wall, floor, cabinet, ...): leave --palette out"
    )
