"""Writes the page of an archive."""

from __future__ import annotations

import base64
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from roadseg.archive.ledger import archive_rows
from roadseg.archive.report.digest import Digest, Digests, hides
from roadseg.archive.report.page import ClipCard, Figures, page
from roadseg.archive.report.totals import Totals
from roadseg.archive.result import ClipResult
from roadseg.core.files import claim_file, write_text
from roadseg.core.progress import ShowProgress, StageClock

PAGE = "report.html"
"""Name of the page in the archive's folder."""

FOLDER = ".report"
"""Folder beside the page: thumbnails, and what is kept of each clip. No clip's folder can be
called so."""

MOST_INSIDE = 200
"""Up to so many thumbnails are in the page itself, which then needs no other file. At 8 kB each
they would make the page of 5,000 clips 50 MB; as files they are loaded where one looks."""

_FIX = "free the space it needs; the results are complete without a report"


@dataclass(frozen=True)
class ArchivePage:
    """What was written.

    Attributes:
        path: the page.
        clips, failed: how many it shows.
    """

    path: Path
    clips: int
    failed: int


def write_report(output: Path, *, progress: ShowProgress | None = None) -> ArchivePage:
    """Write `report.html` into an archive's folder, from its ledgers and results.

    Args:
        output: the archive's folder.
        progress: gets how many clips were looked at.

    Raises:
        SinkError: there is no ledger, one cannot be used, or the page cannot be written.
    """
    rows = list(archive_rows(output))
    path = output / PAGE
    claim_file(path)
    digests = Digests(output, output / FOLDER)
    inside = sum(row.state == "done" for row in rows) <= MOST_INSIDE
    files = Counter(row.within for row in rows if row.state == "skipped")
    totals = Totals()
    clips: list[ClipCard] = []
    clock = StageClock("report", progress)
    for number, row in enumerate(rows, 1):
        digest = digests.of(row) if row.state == "done" else Digest()
        totals.add(row, digest)
        if row.state == "done":
            picture = _address(digests.picture(row), inside) if digest.picture else ""
            clips.append(ClipCard(row, digest, _video(output, row), picture, files[row.name] + 1))
        clock.at(number / len(rows), row.name)
    failures = [row for row in rows if row.state == "failed"]
    title = output.resolve().name
    write_text(path, page(Figures(title, totals, clips, failures)), fix=_FIX)
    digests.forget_others()
    return ArchivePage(path, totals.done, totals.failed)


def _address(picture: Path, inside: bool) -> str:
    """Where the page finds a thumbnail."""
    if inside:
        data = base64.b64encode(picture.read_bytes()).decode("ascii")
        return f"data:image/jpeg;base64,{data}"
    return f"{FOLDER}/{picture.name}"


def _video(output: Path, result: ClipResult) -> str:
    """What the page plays: the overlay, or the clip itself where it lies on this machine; empty for
    nothing. Of a drive's clips none shows all of it, and what was to be hidden is seen in one that
    was to be blurred."""
    overlay = result.output("overlay")
    if overlay is not None:
        return quote(os.fsencode(overlay.path))
    source = Path(result.clip)
    if result.parts or hides(result) or not source.is_file():
        return ""
    try:
        relative = Path(os.path.relpath(source.resolve(), output.resolve()))
        return quote(os.fsencode(relative.as_posix()))
    except ValueError:  # on another drive of Windows
        return source.resolve().as_uri()
