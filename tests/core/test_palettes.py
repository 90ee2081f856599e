"""How far colours are apart for the eye, and for eyes that tell fewer of them apart.

Distances are CIEDE2000 (2 is just seen side by side, 10 at a glance); colour blindness is simulated
after Machado, Oliveira and Fernandes 2009 with severity 1.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from roadseg.core.labels import (
    DEFAULT_PALETTE,
    MAX_CLASSES,
    NUM_CLASSES,
    class_id,
    distinct_colours,
    palette_bgr,
)

Colours = npt.NDArray[np.float64]

SIGHT = {
    "normal": np.eye(3),
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

# What matters most, and what it is seen against.
IMPORTANT = {
    "pedestrian": "tree building road pavement fence sky car bicyclist",
    "bicyclist": "tree building road pavement fence car",
    "car": "road tree building pavement fence sky",
    "sign": "tree building sky pole road",
}
IMPORTANT_PAIRS = [(a, b) for a, others in IMPORTANT.items() for b in others.split()]

# What else touches often.
CALM_PAIRS = [
    *(("pavement", "road"), ("pavement", "building"), ("tree", "building"), ("tree", "sky")),
    *(("sky", "building"), ("road", "building"), ("fence", "tree"), ("fence", "pavement")),
    *(("pole", "tree"), ("pole", "building"), ("pole", "sky"), ("fence", "road")),
]

# Mean colours (RGB) of real frames under the classes: a grey town and a sunny motorway.
GROUNDS = {
    "town": {
        **{"sky": (217, 253, 253), "building": (58, 62, 63), "pole": (101, 99, 96)},
        **{"road": (43, 49, 57), "pavement": (46, 47, 52), "tree": (113, 112, 110)},
        **{"sign": (52, 57, 55), "fence": (65, 63, 55), "car": (88, 92, 98)},
        **{"pedestrian": (39, 35, 37), "bicyclist": (31, 33, 36)},
    },
    "motorway": {
        **{"sky": (141, 178, 209), "building": (108, 122, 137), "pole": (121, 128, 130)},
        **{"road": (97, 97, 106), "pavement": (183, 161, 133), "tree": (83, 87, 77)},
        **{"sign": (60, 66, 60), "fence": (128, 118, 102), "car": (81, 75, 83)},
        **{"pedestrian": (90, 90, 82), "bicyclist": (90, 87, 70)},
    },
    **{f"grey {v}": dict.fromkeys(IMPORTANT, (v, v, v)) for v in (30, 80, 130, 180)},
}


def cielab(rgb: Colours, sight: str) -> Colours:
    """(N, 3) sRGB 0..255 to (N, 3) L*a*b* (D65), as someone with that sight sees them."""
    srgb = rgb / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ SIGHT[sight].T, 0, 1)
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


def ciede2000(one: Colours, other: Colours) -> Colours:
    """(N, 3) and (N, 3) L*a*b* to (N,) distances, after Sharma, Wu and Dalal 2005."""
    (l1, a1, b1), (l2, a2, b2) = one.T, other.T
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean**7 / (mean**7 + 25.0**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)), np.degrees(np.arctan2(b2, a2))
    turn = np.where(c1 * c2 > 0, (h2 - h1 + 180) % 360 - 180, 0)
    light, chroma, hue = (l1 + l2) / 2, (c1 + c2) / 2, np.radians(h1 + turn / 2)
    shift = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    t = 1 - 0.17 * np.cos(hue - np.radians(30)) + 0.24 * np.cos(2 * hue)
    t += 0.32 * np.cos(3 * hue + np.radians(6)) - 0.2 * np.cos(4 * hue - np.radians(63))
    in_l = (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2))
    in_c = (c2 - c1) / (1 + 0.045 * chroma)
    in_h = shift / (1 + 0.015 * chroma * t)
    blue = np.exp(-((((np.degrees(hue) % 360) - 275) / 25) ** 2))
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * np.sin(np.radians(60 * blue))
    distance: Colours = np.sqrt(in_l**2 + in_c**2 + in_h**2 + rotation * in_c * in_h)
    return distance


def closest(
    name: str, pairs: list[tuple[str, str]], sight: str, ground: str | None = None
) -> tuple[float, str]:
    """Distance of the two colours that are hardest to tell apart, pure or half over a ground."""
    rgb = palette_bgr(name)[:NUM_CLASSES, ::-1].astype(np.float64)
    sides = []
    for side in (0, 1):
        colours = rgb[[class_id(pair[side]) for pair in pairs]]
        if ground is not None:
            # On a grey, both stand on the same; else each on what it is.
            beneath = [GROUNDS[ground].get(pair[side], GROUNDS[ground]["car"]) for pair in pairs]
            colours = (colours + np.array(beneath)) / 2
        sides.append(cielab(colours, sight))
    distances = ciede2000(*sides)
    at = int(distances.argmin())
    return float(distances[at]), "/".join(pairs[at])


def test_the_measure_is_the_published_one() -> None:
    # Pairs 1, 7, 14, 17, 20 and 25 of the authors' table.
    one = [(50, 2.6772, -79.7751), (50, 0, 0), (50, 2.5, 0), (50, 2.5, 0), (50, 2.5, 0)]
    other = [(50, 0, -82.7485), (50, -1, 2), (50, 0, -2.5), (73, 25, -18), (56, -27, -3)]
    one.append((60.2574, -34.0099, 36.2677))
    other.append((60.4626, -34.1751, 39.4387))
    expected = [2.0425, 2.3669, 4.3065, 27.1492, 31.9030, 1.2644]
    np.testing.assert_allclose(ciede2000(np.array(one), np.array(other)), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("sight", "pure", "blended"),
    [
        ("normal", 26, 15),
        ("protanopia", 18, 12),
        ("deuteranopia", 18, 11),
        ("tritanopia", 18, 10),
    ],
)
def test_what_matters_stands_out_by_default(sight: str, pure: float, blended: float) -> None:
    found, pair = closest(DEFAULT_PALETTE, IMPORTANT_PAIRS, sight)
    assert found >= pure, pair
    for ground in GROUNDS:
        found, pair = closest(DEFAULT_PALETTE, IMPORTANT_PAIRS, sight, ground)
        assert found >= blended, f"{pair} over {ground}"


@pytest.mark.parametrize("sight", SIGHT)
def test_what_else_touches_is_told_apart_by_default(sight: str) -> None:
    found, pair = closest(DEFAULT_PALETTE, CALM_PAIRS, sight)
    assert found >= 14, pair
    for ground in ("town", "motorway"):
        found, pair = closest(DEFAULT_PALETTE, CALM_PAIRS, sight, ground)
        assert found >= (12 if sight == "normal" else 7), f"{pair} over {ground}"


def test_the_measure_sees_that_camvids_colours_sink() -> None:
    # It would be worthless if they passed.
    assert closest("camvid", IMPORTANT_PAIRS, "normal")[0] < 15
    assert closest("camvid", IMPORTANT_PAIRS, "normal", "town")[0] < 8
    assert closest("camvid", IMPORTANT_PAIRS, "deuteranopia")[0] < 4
    assert closest("camvid", CALM_PAIRS, "protanopia", "town")[0] < 2


@pytest.mark.parametrize(("sight", "least"), [("normal", 40), *((s, 25) for s in SIGHT)])
def test_the_colorblind_palette_keeps_all_classes_apart(sight: str, least: float) -> None:
    lab = cielab(palette_bgr("colorblind")[:NUM_CLASSES, ::-1].astype(np.float64), sight)
    # Plain distance in CIELAB, which the palette was searched for with.
    assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) >= least


def test_sky_and_buildings_are_calm_by_default() -> None:
    lab = cielab(palette_bgr()[:NUM_CLASSES, ::-1].astype(np.float64), "normal")
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    loudest_calm = max(chroma[class_id(name)] for name in ("sky", "building", "pavement", "fence"))
    assert loudest_calm < 45
    assert min(chroma[class_id(name)] for name in IMPORTANT) > 60


@pytest.mark.parametrize(
    ("count", "least"), [(2, 60), (5, 50), (11, 35), (20, 26), (37, 26), (MAX_CLASSES, 13)]
)
def test_generated_colours_are_apart_from_each_other_and_from_void(
    count: int, least: float
) -> None:
    colours = distinct_colours(count)
    assert distinct_colours(MAX_CLASSES)[:count] == colours, "one more class changes no other"
    lab = cielab(np.array([*colours, (0, 0, 0)], np.float64), "normal")
    assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) >= least


def test_twenty_generated_colours_are_calm() -> None:
    lab = cielab(np.array(distinct_colours(20), np.float64), "normal")
    assert np.hypot(lab[:, 1], lab[:, 2]).max() <= 50
    assert 40 <= lab[:, 0].min() <= lab[:, 0].max() <= 85
    pairs = np.array(list(combinations(lab, 2)))
    assert ciede2000(pairs[:, 0], pairs[:, 1]).min() >= 10, "told apart at a glance"
