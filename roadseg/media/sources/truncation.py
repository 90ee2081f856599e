"""Was a file cut off? FFmpeg ends most files that were in silence, as if they were complete."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_BOXES = frozenset([b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof"])
_EBML_HEADER = bytes.fromhex("1A45DFA3")
_EBML_SEGMENT = bytes.fromhex("18538067")


def is_cut_off(path: Path) -> bool:
    """Whether an mp4/mov, AVI or Matroska/WebM file promises more bytes than it has.

    False for every other format. Only the headers of the parts are read.

    Raises:
        OSError: the file cannot be read.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF":
            return _walk_riff(file, length)
        if head[4:8] in _BOXES:
            return _walk_boxes(file, length)
        if head[:4] == _EBML_HEADER:
            return _segment_end(file, length) > length
    return False


def _segment_end(file: BinaryIO, length: int) -> int:
    """Where the one segment of a Matroska file ends; 0 if it does not say."""
    file.seek(4)
    header_size = _read_size(file)
    if header_size is None or file.tell() + header_size + 4 > length:
        return 0
    file.seek(header_size, 1)
    if file.read(4) != _EBML_SEGMENT:
        return 0
    size = _read_size(file)
    return 0 if size is None else file.tell() + size


def _read_size(file: BinaryIO) -> int | None:
    """A variable-length integer: as many leading zero bits as there are further bytes; all
    ones means unknown (a recording that was never finished)."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    width = 9 - first[0].bit_length()
    raw = first + file.read(width - 1)
    value = int.from_bytes(raw, "big") & ((1 << 7 * width) - 1)
    return None if value == (1 << 7 * width) - 1 else value


def _walk_riff(file: BinaryIO, length: int) -> bool:
    at = 0
    while at + 8 <= length:
        file.seek(at)
        name, size = struct.unpack("<4sI", file.read(8))
        if name != b"RIFF":
            return False  # padding after the last part
        at += 8 + size + size % 2
    # Some writers leave out the padding byte, and cameras pad files with a few spare ones.
    return at > length + 1


def _walk_boxes(file: BinaryIO, length: int) -> bool:
    at = 0
    while at + 8 <= length:
        file.seek(at)
        size, name = struct.unpack(">I4s", file.read(8))
        if size == 1:
            wide = file.read(8)
            if len(wide) < 8:
                return True
            (size,) = struct.unpack(">Q", wide)
        if size < 8:
            return False  # 0: up to the end of the file, whatever that is; else no box at all
        if not name.isascii():
            return False
        at += size
    return at > length
