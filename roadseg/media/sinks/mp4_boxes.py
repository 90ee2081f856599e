"""The boxes that an mp4 file is made of, read and moved without touching what they hold.

A file that grows is a row of fragments, each a small index (`moof`) and data (`mdat`) behind it, so
that it plays whenever writing stops. A finished one has one index (`moov`) for all of its data.
The terms are those of ISO/IEC 14496-12.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from roadseg.core.files import sync

# The pictures come first in our files.
_VIDEO_TRACK = 1
_COPY_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    start: int
    content: int
    end: int


def keep_whole_fragments(path: Path) -> int:
    """Cut off the last fragment of a file that was not finished, if it is not whole.

    Returns:
        How many pictures the file has now; 0 where nothing in it can be played.

    Raises:
        OSError: it cannot be read or cut.
    """
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        pictures, kept, described = 0, 0, False
        waiting = 0  # pictures of a fragment, or of a whole file, whose other half is to come
        for box in _boxes(file, 0, size):
            if box.kind == b"moov" and described:
                break  # it was about to be finished: the fragments say all
            if box.kind == b"moov":
                pictures += waiting + _indexed(_read(file, box), b"stsz", 4)
                described, kept = True, box.end
            elif box.kind == b"moof":
                waiting = _in_fragment(_read(file, box))
            elif box.kind == b"mdat" and described:
                pictures += waiting
                waiting, kept = 0, box.end
        if pictures and kept < size:
            file.truncate(kept)
    return pictures


def move_index_to_front(path: Path, copy: Path) -> bool:
    """Write a file whose index is at its end to `copy`, with the index in front of the data.

    Returns:
        Whether that was done; a file of nearly 4 GiB may have no room in it for larger offsets.

    Raises:
        OSError: it cannot be read, or the copy not be written.
    """
    with path.open("rb") as file:
        boxes = list(_boxes(file, 0, file.seek(0, os.SEEK_END)))
        kinds = [box.kind for box in boxes]
        if kinds[:1] != [b"ftyp"] or kinds[-1:] != [b"moov"] or kinds.count(b"moov") != 1:
            return False
        head, index = boxes[0], boxes[-1]
        moved = bytearray(_read(file, index))
        try:
            _shift_offsets(moved, len(moved))
        except struct.error:
            return False
        with copy.open("wb") as output:
            output.write(_read(file, head))
            output.write(moved)
            file.seek(head.end)
            rest = index.start - head.end
            while rest and (block := file.read(min(rest, _COPY_BYTES))):
                output.write(block)
                rest -= len(block)
        sync(copy)
        shutil.copymode(path, copy)
    return True


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[_Box]:
    """The boxes of a file one after another, as far as they are whole."""
    while start + 8 <= end:
        file.seek(start)
        header = file.read(16)
        size, kind = struct.unpack_from(">I4s", header)
        content = 8
        if size == 1 and len(header) == 16:
            (size,) = struct.unpack_from(">Q", header, 8)
            content = 16
        if size < content or start + size > end:
            return
        yield _Box(kind, start, start + content, start + size)
        start += size


def _read(file: BinaryIO, box: _Box) -> bytes:
    file.seek(box.start)
    return file.read(box.end - box.start)


# Boxes that hold boxes, as far as they lead to what is looked for here.
_OUTER = frozenset([b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"])


def _inner(data: bytes | bytearray, start: int = 0, end: int | None = None) -> Iterator[_Box]:
    """All boxes in a piece of a file that lies in memory, outer ones before what is in them."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < 8 or start + size > end:
            return
        yield _Box(kind, start, start + 8, start + size)
        if kind in _OUTER:
            yield from _inner(data, start + 8, start + size)
        start += size


def _indexed(data: bytes, kind: bytes, skipped: int) -> int:
    """The count in the first table of this kind, behind version, flags and `skipped` bytes."""
    for box in _inner(data):
        if box.kind == kind:
            return int(struct.unpack_from(">I", data, box.content + 4 + skipped)[0])
    return 0


def _in_fragment(data: bytes) -> int:
    """Pictures of one `moof`."""
    pictures, track = 0, 0
    for box in _inner(data):
        if box.kind == b"tfhd":
            (track,) = struct.unpack_from(">I", data, box.content + 4)
        elif box.kind == b"trun" and track == _VIDEO_TRACK:
            pictures += struct.unpack_from(">I", data, box.content + 4)[0]
    return pictures


def _shift_offsets(index: bytearray, by: int) -> None:
    """Add to where the data lies, in all tracks of a `moov`."""
    for box in _inner(index):
        if box.kind in (b"stco", b"co64"):
            (count,) = struct.unpack_from(">I", index, box.content + 4)
            form = f">{count}{'I' if box.kind == b'stco' else 'Q'}"
            offsets = struct.unpack_from(form, index, box.content + 8)
            struct.pack_into(form, index, box.content + 8, *(offset + by for offset in offsets))
