"""`roadseg timeline`: draw what `roadseg run --timeline` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def timeline(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .csv, .jsonl or .parquet of run --timeline.")
    ],
    html: Annotated[Path, typer.Option(metavar="FILE.html", help="The page.")],
    video: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What plays in the page: the source, or what run wrote. By default the one beside "
            "the timeline that is called like it.",
        ),
    ] = None,
) -> None:
    """Draw a timeline as a page with charts, events and the video.

    The page is one file that needs no network; the video stays where it is. A click into a chart or
    on an event plays it from there.
    """
    from roadseg.run.timeline import write_timeline_page

    page = write_timeline_page(file, html, video)
    for note in page.notes:
        typer.echo(f"warning: {note}", err=True)
    rows = "1 row" if page.rows == 1 else f"{page.rows} rows"
    events = "1 event" if page.events == 1 else f"{page.events} events"
    plays = "" if page.video is None else f", plays {page.video}"
    typer.echo(f"{html}: {rows}, {events}{plays}")
