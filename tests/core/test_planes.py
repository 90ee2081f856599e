from __future__ import annotations

import numpy as np
import pytest

from roadseg.core.geometry import preprocess
from roadseg.core.planes import BT601, Colours, Planes
from roadseg.core.types import Frame
from tests.support.planes import ALL_COLOURS, natural


# ITU-R BT.601, BT.709 and JPEG (JFIF), as their tables have them.
@pytest.mark.parametrize(
    ("colours", "bgr", "yuv"),
    [
        (Colours("bt601"), (0, 0, 0), (16, 128, 128)),
        (Colours("bt601"), (255, 255, 255), (235, 128, 128)),
        (Colours("bt601"), (0, 0, 255), (81, 90, 240)),
        (Colours("bt601"), (255, 0, 0), (41, 240, 110)),
        (Colours("bt709"), (0, 0, 255), (63, 102, 240)),
        (Colours("bt709"), (0, 255, 0), (173, 42, 26)),
        (Colours("bt601", full_range=True), (255, 255, 255), (255, 128, 128)),
        (Colours("bt601", full_range=True), (0, 0, 255), (76, 85, 255)),
        (Colours("bt709", full_range=True), (0, 0, 0), (0, 128, 128)),
    ],
)
def test_colours_are_those_of_the_standards(
    colours: Colours, bgr: tuple[int, int, int], yuv: tuple[int, int, int]
) -> None:
    np.testing.assert_allclose(colours.of(bgr), yuv, atol=0.6)
    planes = Planes.of_bgr(np.full((4, 6, 3), bgr, np.uint8), colours)
    for plane, value in zip((planes.y, planes.u, planes.v), yuv, strict=True):
        np.testing.assert_allclose(plane.astype(int), value, atol=1)


@pytest.mark.parametrize("colours", ALL_COLOURS, ids=str)
@pytest.mark.parametrize("size_hw", [(2, 2), (34, 50), (90, 160)])
def test_a_picture_comes_back_from_its_planes(colours: Colours, size_hw: tuple[int, int]) -> None:
    image_bgr = natural(size_hw)
    planes = Planes.of_bgr(image_bgr, colours)
    assert planes.size_hw == size_hw
    difference = np.abs(planes.bgr.astype(int) - image_bgr)
    assert difference.mean() < (2.5 if size_hw[0] > 40 else 40)
    assert planes.bgr is planes.bgr, "converted once"


def test_colours_of_a_block_are_averaged() -> None:
    """Red and blue in turns: OpenCV alone would take the colour of the left pixel only."""
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    image[:, 0] = (255, 0, 0)
    image[:, 1] = (0, 0, 255)
    planes = Planes.of_bgr(image, out=np.empty((3, 2), dtype=np.uint8)).packed
    # Blue is Y 41, Cb 240, Cr 110 and red Y 82, Cb 90, Cr 240.
    np.testing.assert_allclose(planes[:2], [[41, 82], [41, 82]], atol=1)
    np.testing.assert_allclose(planes[2], [165, 175], atol=1)


@pytest.mark.parametrize("colours", ALL_COLOURS, ids=str)
@pytest.mark.parametrize("level", [0, 1, 100, 127, 254, 255])
def test_greys_have_no_tint(level: int, colours: Colours) -> None:
    planes = Planes.of_bgr(np.full((4, 4, 3), level, np.uint8), colours).packed
    scaled = level if colours.full_range else 16 + level * 219 / 255
    np.testing.assert_allclose(planes[:4], scaled, atol=0.51)
    assert (planes[4:] == 128).all()


def test_packed_is_what_encoders_take_and_is_not_copied_where_it_need_not_be() -> None:
    image_bgr = natural((6, 8))
    planes = Planes.of_bgr(image_bgr)
    assert planes.packed.shape == (9, 8)
    assert np.shares_memory(planes.packed, planes.u)
    wide = Planes.of_bgr(np.tile(image_bgr, (1, 2, 1)))
    left = wide.columns(0, 8)
    assert not left.y.flags.c_contiguous
    np.testing.assert_array_equal(left.packed, planes.packed)


def test_a_part_is_a_view() -> None:
    planes = Planes.empty((4, 8))
    right = planes.columns(4, 8)
    right.copy_from(Planes.of_bgr(np.full((4, 4, 3), 255, np.uint8)))
    assert (planes.y[:, 4:] == 235).all()
    assert (planes.u[:, 2:] == 128).all()


@pytest.mark.parametrize(
    ("y", "u", "v"),
    [((3, 4), (1, 2), (1, 2)), ((4, 3), (2, 1), (2, 1)), ((4, 4), (2, 2), (4, 4))],
)
def test_planes_that_do_not_fit_each_other_are_refused(
    y: tuple[int, int], u: tuple[int, int], v: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match="expected even sides"):
        Planes(*(np.zeros(shape, np.uint8) for shape in (y, u, v)))


@pytest.mark.parametrize("colours", ALL_COLOURS, ids=str)
@pytest.mark.parametrize(
    ("source_hw", "network_hw"),
    [((90, 160), (64, 96)), ((180, 320), (32, 64)), ((32, 64), (64, 128)), ((64, 96), (64, 96))],
)
def test_networks_see_what_they_see_in_bgr(
    colours: Colours, source_hw: tuple[int, int], network_hw: tuple[int, int]
) -> None:
    image_bgr = natural(source_hw)
    planes = Planes.of_bgr(image_bgr, colours)
    expected, geometry = preprocess(image_bgr, network_hw)
    buffer = np.empty((*network_hw, 3), np.uint8)
    network_bgr, own_geometry = preprocess(planes, network_hw, out=buffer)
    assert network_bgr is buffer
    assert own_geometry == geometry
    difference = np.abs(network_bgr.astype(int) - expected)
    assert difference.mean() < 2.5
    np.testing.assert_array_equal(preprocess(planes, network_hw)[0], network_bgr)


def test_a_frame_in_planes_has_size_and_bgr() -> None:
    image_bgr = natural((40, 60))
    frame = Frame(Planes.of_bgr(image_bgr, BT601), 0, 0.0, 0.0)
    assert frame.size_hw == (40, 60)
    assert np.abs(frame.image_bgr.astype(int) - image_bgr).mean() < 4
