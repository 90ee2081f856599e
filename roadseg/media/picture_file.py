"""What the bytes of a picture file tell before they are decoded."""

from __future__ import annotations

import re
from typing import BinaryIO

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

# Within the coded picture: what is no stuffed byte, no restart mark and no padding.
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SCAN, _END, _AGAIN = 0xDA, 0xD9, 0xD8
_ANIMATED_WEBP = 0x02
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


def is_animated(file: BinaryIO) -> bool:
    """Whether a GIF, PNG, WebP or AVIF file holds several pictures in time.

    Args:
        file: open at its start; only headers are read.
    """
    head = file.read(32).ljust(32, b"\0")
    if head.startswith(PNG_SIGNATURE):
        return _png_is_animated(file)
    if head[:4] == b"GIF8":
        return _gif_is_animated(file, head)
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X":
        return bool(head[20] & _ANIMATED_WEBP)
    if head[4:8] == b"ftyp":
        file.seek(8)
        brands = file.read(max(int.from_bytes(head[:4], "big") - 8, 0))
        return b"avis" in (brands[i : i + 4] for i in range(0, len(brands), 4))
    return False


def _png_is_animated(file: BinaryIO) -> bool:
    file.seek(len(PNG_SIGNATURE))
    while len(head := file.read(8)) == 8:
        if head[4:] == b"acTL":
            return int.from_bytes(file.read(4), "big") > 1
        if head[4:] == b"IDAT":
            return False
        file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return False


def _gif_is_animated(file: BinaryIO, head: bytes) -> bool:
    """Whether a second picture begins before the file ends."""
    file.seek(13 + _palette_bytes(head[10]))
    pictures = 0
    while kind := file.read(1):
        if kind == b",":
            pictures += 1
            if pictures > 1:
                return True
            descriptor = file.read(9)
            if len(descriptor) < 9:
                return False
            file.seek(_palette_bytes(descriptor[8]) + 1, 1)
        elif kind == b"!":
            file.seek(1, 1)
        else:
            return False
        while (size := file.read(1)) not in (b"", b"\x00"):
            file.seek(size[0], 1)
    return False


def _palette_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


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
