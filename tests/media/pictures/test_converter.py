"""Pictures are let go when they have been converted."""

from __future__ import annotations

import gc

import av
import numpy as np

from roadseg.media.pictures.converter import BgrConverter


def test_converted_pictures_do_not_wait_for_the_garbage_collector() -> None:
    convert = BgrConverter()
    pixels = np.zeros((48, 64, 3), np.uint8)
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            convert(av.VideoFrame.from_ndarray(pixels, format="bgr24"))
        # By type: `isinstance` asks objects of other libraries, which warn of that.
        kept = sum(type(each) is av.VideoFrame for each in gc.get_objects())
    finally:
        gc.enable()
    assert kept < 10
