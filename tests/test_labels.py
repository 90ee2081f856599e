from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from roadseg.errors import UsageError
from roadseg.labels import CLASS_NAMES, NUM_CLASSES, PALETTES, VOID_ID, class_id, palette_bgr

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
