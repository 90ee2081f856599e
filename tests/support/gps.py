"""Tracks of receivers."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import xor
from pathlib import Path


def write_gpx(path: Path, lats_deg: Iterable[float], *, times: bool = True) -> Path:
    """One point a second along the meridian of 11 degrees."""
    points = [
        f'<trkpt lat="{lat:.6f}" lon="11.0"><ele>500</ele>'
        + (f"<time>2025-01-01T12:{i // 60:02d}:{i % 60:02d}.500Z</time>" if times else "")
        + "</trkpt>"
        for i, lat in enumerate(lats_deg)
    ]
    path.write_text(
        '<?xml version="1.0"?><gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1">'
        f"<trk><trkseg>{''.join(points)}</trkseg></trk></gpx>"
    )
    return path


def rmc(second: int, minutes: float, *, status: str = "A", hemisphere: str = "N") -> str:
    """A sentence of a receiver at 48 degrees and some minutes, so many seconds after 23:59:00."""
    hour, minute = (23, 59) if second < 60 else (0, 0)
    clock = f"{hour:02d}{minute:02d}{second % 60:02d}.00"
    body = f"GPRMC,{clock},{status},48{minutes:07.4f},{hemisphere},01100.0000,E,22.4,0.0,010125,,,A"
    return f"${body}*{reduce(xor, body.encode()):02X}"


def add_blackvue_track(clip: Path, sentences: Sequence[str]) -> Path:
    """Put sentences behind a clip, in a box as recorders of BlackVue have it."""
    lines = [f"[{1735689600000 + 1000 * i}]{each}" for i, each in enumerate(sentences)]
    text = "\r\n".join(lines).encode() + b"\r\n"
    box = struct.pack(">I4s", 8 + len(text), b"gps ") + text
    # Theirs is the first free box of the file.
    data = clip.read_bytes().replace(b"free", b"skip", 1)
    clip.write_bytes(data + struct.pack(">I4s", 8 + len(box), b"free") + box)
    return clip
