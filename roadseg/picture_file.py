"""What the bytes of a picture file tell before they are decoded."""

from __future__ import annotations

import re

__all__ = ["JPEG_SIGNATURE", "PNG_SIGNATURE", "is_cut_off", "jpeg_end"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

# Within the coded picture: what is no stuffed byte, no restart mark and no padding.
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SCAN, _END, _AGAIN = 0xDA, 0xD9, 0xD8
_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xD8)])


def is_cut_off(data: bytes) -> bool:
    """Whether a JPEG, PNG or WebP file lacks its end; False for every other kind.

    OpenCV decodes a cut JPEG, and some versions a cut PNG, to a picture whose lower part is
    blank, and says nothing.
    """
    if data.startswith(PNG_SIGNATURE):
        return b"IEND" not in data
    if data.startswith(JPEG_SIGNATURE):
        return jpeg_end(data) is None
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data) + 1
    return False


def jpeg_end(data: bytes | bytearray) -> int | None:
    """Where the JPEG that `data` starts with ends: one behind its last byte.

    Thumbnails in its header are passed over. None if `data` ends before it does; minus the place
    from which to search on if it breaks off and something else follows.
    """
    at = 2
    while True:
        if at + 2 > len(data):
            return None
        marker = data[at + 1]
        if data[at] != 0xFF or marker == _AGAIN:
            return -at
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == _END:
            return at + 2
        at += 2
        if marker in _WITHOUT_LENGTH:
            continue
        if at + 2 > len(data):
            return None
        at += int.from_bytes(data[at : at + 2], "big")
        if marker == _SCAN:
            found = _MARKER_IN_SCAN.search(data, at)
            if found is None:
                return None
            at = found.start()
