"""`roadseg report`: a page that shows an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="What batch wrote: the --output of its runs.")
    ],
) -> None:
    """Make the page of an archive again, from its ledger and results.

    report.html in the folder shows clips with thumbnails, classes over time and events, and what
    failed and why. It needs no network; the thumbnails of more than 200 clips lie beside it.
    """
    from roadseg.archive.report import write_report
    from roadseg.cli.progress_bar import progress_bar

    with progress_bar() as progress:
        page = write_report(folder, progress=progress)
    failed = f", {page.failed} failed" if page.failed else ""
    clips = "1 clip" if page.clips == 1 else f"{page.clips} clips"
    typer.echo(f"{page.path}: {clips}{failed}")
