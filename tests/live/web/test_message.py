"""The binary message: everything in it comes out again, in the layout that the page reads."""

from __future__ import annotations

import struct

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs the extra web")

from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.types import Frame
from roadseg.live.events import CameraState
from roadseg.live.outputs import Result
from roadseg.live.web.message import RUNGS, encode, unpack


def result(size_hw: tuple[int, int] = (90, 160), number: int = 7) -> Result:
    rows = np.linspace(0, 255, size_hw[0], dtype=np.uint8)
    image_bgr = np.repeat(rows, size_hw[1] * 3).reshape(*size_hw, 3)
    ids = np.random.default_rng(1).integers(0, 11, (32, 64), np.uint8)
    frame = Frame(image_bgr, 0, 1.5, 1000.25)
    return Result(frame, LabelMap(ids, Geometry(size_hw, (32, 64))), number, 1000.5)


def test_what_goes_in_comes_out() -> None:
    one = result()
    got = unpack(encode(one, 0).message(3, CameraState.STALLED, 1000.75))
    assert (got.camera, got.state, got.rung, got.number) == (3, CameraState.STALLED, 0, 7)
    assert (got.time_s, got.captured_s, got.shown_s, got.sent_s) == (1.5, 1000.25, 1000.5, 1000.75)
    assert got.source_wh == (160, 90)
    assert got.image_bgr.shape == (90, 160, 3)
    assert np.abs(got.image_bgr.astype(int) - one.frame.image_bgr).max() < 12
    assert np.array_equal(got.network_ids, one.label_map.network_ids)


def test_the_lower_rung_halves_the_picture_and_leaves_the_labels() -> None:
    one = result()
    full, half = encode(one, 0), encode(one, 1)
    got = unpack(half.message(0, CameraState.LIVE, 0.0))
    assert got.image_bgr.shape == (45, 80, 3)
    assert got.source_wh == (160, 90)
    assert half.labels == full.labels
    assert len(half.jpeg) < len(full.jpeg)
    assert len(RUNGS) == 2


def test_a_very_large_picture_is_made_smaller_for_everybody() -> None:
    got = unpack(encode(result((2160, 3840)), 0).message(0, CameraState.LIVE, 0.0))
    assert got.image_bgr.shape == (1080, 1920, 3)
    assert got.source_wh == (3840, 2160)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 300), (7, 3)])
def test_every_size_can_be_sent(size_hw: tuple[int, int]) -> None:
    for rung in range(len(RUNGS)):
        got = unpack(encode(result(size_hw), rung).message(0, CameraState.LIVE, 0.0))
        assert got.source_wh == size_hw[::-1]


def test_the_layout_is_what_the_page_reads() -> None:
    encoded = encode(result(number=0x01020304), 0)
    message = encoded.message(258, CameraState.LOST, 4.0)
    assert message[:8] == b"RS\x01\x03\x02\x01\x00\x00"
    assert struct.unpack_from("<I4d", message, 8) == (0x01020304, 1.5, 1000.25, 1000.5, 4.0)
    assert struct.unpack_from("<HHHH", message, 44) == (160, 90, 64, 32)
    assert struct.unpack_from("<II", message, 52) == (len(encoded.jpeg), len(encoded.labels))
    assert struct.unpack_from("<HH", message, 60) == (160, 90)
    assert message[64:66] == b"\xff\xd8"


def test_a_number_too_large_for_the_header_starts_again() -> None:
    message = encode(result(number=2**32 + 5), 0).message(0, CameraState.LIVE, 0.0)
    assert unpack(message).number == 5


@pytest.mark.parametrize("broken", [b"", b"RS\x02" + bytes(80), b"xx" + bytes(80)])
def test_something_else_is_refused(broken: bytes) -> None:
    with pytest.raises(ValueError, match="expected a frame of version 1"):
        unpack(broken)


def test_a_message_that_is_cut_short_is_refused() -> None:
    message = encode(result(), 0).message(0, CameraState.LIVE, 0.0)
    with pytest.raises(ValueError, match="two parts"):
        unpack(message[:-1])
