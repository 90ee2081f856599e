"""Writes the page of a timeline."""

from __future__ import annotations

import base64
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from roadseg.core.errors import SourceError, UsageError
from roadseg.core.files import claim_file, with_ending, write_text
from roadseg.core.labels import css_colours
from roadseg.core.shipped import PACKAGE
from roadseg.core.version import __version__
from roadseg.core.wording import option
from roadseg.media.thumbnails import thumbnails
from roadseg.run.timeline.thin import thinned
from roadseg.video.reading.table import Table, intervals, read_timeline

_PAGE = PACKAGE / "run" / "timeline" / "page"
# The one copy that this package has.
_UPLOT = PACKAGE / "live" / "web" / "static" / "vendor"

_MOST_THUMBNAILS = 200
_JPEG_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 78]
_WRITTEN = "-roadseg.mp4"
_VIDEOS = (".mp4", _WRITTEN, ".m4v", ".webm", ".mov", ".mkv")
_LEAST_SHARE = 0.002  # a class that never covers more has no line


@dataclass(frozen=True)
class TimelinePage:
    """What was written.

    Attributes:
        rows, events: how many the timeline has.
        video: what plays in the page; None for none.
        notes: one line each, of what is missing.
    """

    rows: int
    events: int
    video: Path | None
    notes: tuple[str, ...]


def write_timeline_page(timeline: Path, html: Path, video: Path | None = None) -> TimelinePage:
    """Write one HTML file that draws a timeline; it needs no other file but the video.

    Args:
        timeline: `.csv`, `.jsonl` or `.parquet`, also of a run that was cut.
        html: the page; its folder is created.
        video: plays beside the charts, and gives the thumbnails; by default the one beside the
            timeline that is called like it: `drive.mp4` or `drive-roadseg.mp4` for `drive.csv`.
            What a run hid is not shown from its source: then only the latter.

    Raises:
        UsageError: the page is no `.html`, or the timeline is another kind of file.
        SourceError: timeline or video cannot be read.
        SinkError: the page cannot be written.
    """
    if html.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            f"cannot write a page to {html}",
            fix=f"use {option('--html', with_ending(html, '.html', 'timeline'))}",
        )
    table = read_timeline(timeline)
    claim_file(html)
    notes = list(table.notes)
    hidden = _hidden(table)
    if video is None:
        endings = (_WRITTEN,) if hidden else _VIDEOS
        beside = (timeline.with_name(timeline.stem + ending) for ending in endings)
        video = next((each for each in beside if each.is_file()), None)
    elif not video.is_file():
        raise SourceError(f"there is no video {video}", fix=f"leave {option('--video')} out")
    events = _events(table)
    if video is not None:
        _add_thumbnails(events, video, notes)
    elif hidden:
        notes.append(
            f"the run hid {', '.join(hidden)}, which its source shows: for the video that the run "
            f"wrote give {option('--video', 'FILE')}"
        )
    elif events:
        notes.append("no video lies beside the timeline: there is nothing to play")
    drawing = {
        "title": timeline.name,
        "video": None if video is None else _address(video, html),
        "notes": notes,
        "events": events,
        "version": __version__,
        **_charts(table),
    }
    write_text(html, _filled(drawing), fix="give another name or free the space it needs")
    return TimelinePage(len(table.times_s), len(events), video, tuple(notes))


def _address(video: Path, html: Path) -> str:
    """Where the page finds the video: relative to itself, where that can be."""
    try:
        relative = os.path.relpath(video.resolve(), html.resolve().parent)
    except ValueError:  # on another drive of Windows
        return video.resolve().as_uri()
    return quote(os.fsencode(Path(relative).as_posix()))


def _hidden(table: Table) -> list[str]:
    """Names of what the run hid in its pictures."""
    texts = dict.fromkeys(str(text) for text in table.columns.get("hidden", ()) if text)
    return list(dict.fromkeys(name for text in texts for name in text.split(";")))


def _events(table: Table) -> list[dict[str, Any]]:
    column = table.columns.get("events")
    if column is None:
        return []
    return [
        {"name": name, "start_s": round(start_s, 3), "end_s": round(end_s, 3)}
        for name, start_s, end_s in intervals(table.times_s, column)
    ]


def _add_thumbnails(events: list[dict[str, Any]], video: Path, notes: list[str]) -> None:
    some = events[:_MOST_THUMBNAILS]
    if len(some) < len(events):
        notes.append(f"the first {len(some)} of {len(events)} events have a picture")
    # In the middle: at its edges an event is hardly there.
    times_s = [min((each["start_s"] + each["end_s"]) / 2, each["start_s"] + 1) for each in some]
    pictures = thumbnails(video, times_s) if some else []
    for event, picture in zip(some, pictures, strict=True):
        if picture is not None:
            jpeg = cv2.imencode(".jpg", picture, _JPEG_QUALITY)[1].tobytes()
            event["picture"] = base64.b64encode(jpeg).decode("ascii")
    missing = sum("picture" not in each for each in some)
    if missing:
        notes.append(f"{video.name} has no picture of {missing} events: it ends before them")


def _charts(table: Table) -> dict[str, Any]:
    """The columns that the charts show, thinned out together."""
    names = [name for name in table.columns if name not in ("frame", "time_s")]
    numbers = {name: table.numbers(name) or [] for name in names}
    columns = {
        name: np.array([math.nan if v is None else v for v in values])
        for name, values in numbers.items()
        if any(v is not None for v in values)
    }
    times_s, thin = thinned(np.array(table.times_s), list(columns.values()))
    shown = dict(zip(columns, thin, strict=True))
    shares = [
        name
        for name, values in columns.items()
        if name.startswith("share_") and np.nanmax(values) > _LEAST_SHARE
    ]
    shares.sort(key=lambda name: -float(np.nanmean(columns[name])))
    classes = [name[len("share_") :].replace("_", " ") for name in shares]
    models = dict.fromkeys(str(each) for each in table.columns.get("model", ()) if each)
    return {
        "rows": len(table.times_s),
        "model": ", ".join(models),
        "times_s": _plain(times_s, 3),
        "columns": {name: _plain(values, 4) for name, values in shown.items()},
        "shares": [
            {"column": column, "name": name, "colour": colour}
            for column, name, colour in zip(shares, classes, css_colours(classes), strict=True)
        ],
    }


def _plain(values: np.ndarray[Any, np.dtype[np.float64]], digits: int) -> list[float | None]:
    return [round(v, digits) if math.isfinite(v) else None for v in values.tolist()]


def _filled(drawing: dict[str, Any]) -> str:
    # `</script>` in a name would end the data.
    data = json.dumps(drawing, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    page = (_PAGE / "timeline.html").read_text(encoding="utf-8")
    for mark, text in {
        "/*uplot.css*/": (_UPLOT / "uPlot.min.css").read_text(encoding="utf-8"),
        "/*timeline.css*/": (_PAGE / "timeline.css").read_text(encoding="utf-8"),
        "/*uplot.js*/": (_UPLOT / "uPlot.iife.min.js").read_text(encoding="utf-8"),
        "/*timeline.js*/": (_PAGE / "timeline.js").read_text(encoding="utf-8"),
        "/*data*/": data,
    }.items():
        before, found, after = page.partition(mark)
        assert found, mark
        page = before + text + after
    return page
