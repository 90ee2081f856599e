"""What the bytes of a picture file tell."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from roadseg.media.picture_file import is_cut_off, jpeg_end


def encoded(suffix: str, size_hw: tuple[int, int] = (60, 80), *options: int) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (*size_hw, 3), dtype=np.uint8)
    good, data = cv2.imencode(suffix, noise, list(options))
    assert good
    return data.tobytes()


def with_thumbnail(data: bytes) -> bytes:
    """A JPEG whose header holds another one, as cameras write them."""
    small = encoded(".jpg", (40, 40))
    return data[:2] + b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small + data[2:]


WHOLE = {
    "jpeg": encoded(".jpg"),
    "progressive": encoded(".jpg", (60, 80), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": encoded(".jpg", (60, 80), cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "thumbnail": with_thumbnail(encoded(".jpg")),
    "png": encoded(".png"),
    "webp": encoded(".webp"),
    "lossless webp": encoded(".webp", (60, 80), cv2.IMWRITE_WEBP_QUALITY, 101),
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_every_cut_is_seen_and_what_is_whole_passes(data: bytes) -> None:
    assert not is_cut_off(data)
    assert not is_cut_off(data + b"\0" * 3)
    assert not is_cut_off(data + data)
    # Behind the name of a PNG's last part stands only a checksum.
    last = len(data) - (9 if data[1:4] == b"PNG" else 2)
    for keep in (*range(16, last, 97), last):
        assert is_cut_off(data[:keep]), keep


def test_padding_before_the_end_of_a_jpeg() -> None:
    data = WHOLE["jpeg"]
    padded = data[:-2] + b"\xff\xff\xff\xd9"
    assert jpeg_end(padded) == len(padded)


@pytest.mark.parametrize("data", [b"", b"\xff", b"RIFF", b"BM" + b"\0" * 50, b"text"])
def test_other_files_are_not_judged(data: bytes) -> None:
    assert not is_cut_off(data)
