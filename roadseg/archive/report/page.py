"""The page of an archive as text: everything inside but the thumbnails of many clips.

What the page says and how it looks is in `templates/`; here are the figures that it shows. The
list of clips is data, which the page's script shows some at a time: a browser takes seconds to lay
out thousands of clips at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from roadseg.archive.report.digest import BINS, Digest
from roadseg.archive.report.totals import Totals
from roadseg.archive.result import ClipResult
from roadseg.core.labels import css_colours
from roadseg.core.page import page_environment
from roadseg.core.version import __version__

# A share in 1/63 as one character.
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"

_LEAST_SHARE = 0.0005
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True)
class ClipCard:
    """One clip on the page.

    Attributes:
        result, digest: what is known of it.
        video: address of what plays; empty for nothing.
        picture: address of the thumbnail, or the picture itself; empty for none.
        files: how many files it was made of: several for a drive.
    """

    result: ClipResult
    digest: Digest
    video: str
    picture: str
    files: int


@dataclass(frozen=True)
class Figures:
    """Everything that the page shows.

    Attributes:
        title: of the page.
        totals: over all clips.
        clips: those that are done.
        failures: those that are not.
    """

    title: str
    totals: Totals
    clips: Sequence[ClipCard]
    failures: Sequence[ClipResult]


def page(figures: Figures) -> str:
    """The page as text."""
    environment = page_environment("roadseg.archive.report")
    totals = figures.totals
    shares = {name: share for name, share in totals.shares.items() if share >= _LEAST_SHARE}
    colours = _colours(figures)
    return environment.get_template("report.html").render(
        title=figures.title,
        totals=totals,
        tiles=_tiles(totals),
        shares=[(name, share, colours[name]) for name, share in shares.items()],
        failures=figures.failures,
        events=totals.events.most_common(),
        models=sorted({card.result.model for card in figures.clips}),
        data=_data(figures, colours),
        version=__version__,
    )


def _colours(figures: Figures) -> dict[str, str]:
    """One colour for each class, wherever the page shows it."""
    shown = {name for card in figures.clips for name in card.digest.bars}
    names = sorted(shown | set(figures.totals.shares))
    return dict(zip(names, css_colours(names), strict=True))


def _tiles(totals: Totals) -> list[tuple[str, str]]:
    tiles = [
        (f"{totals.done:,}", "clip done" if totals.done == 1 else "clips done"),
        (hours(totals.played_s), "of driving"),
        (f"{totals.frames:,}", "frames"),
        (f"{sum(totals.events.values()):,}", "events"),
        (size(totals.bytes), "of results"),
    ]
    if totals.with_way:
        of = "" if totals.with_way == totals.done else f", {totals.with_way:,} of the clips"
        tiles.insert(2, (kilometres(totals.driven_m), f"by GPS{of}"))
    if totals.failed:
        tiles.insert(1, (f"{totals.failed:,}", "failed"))
    if totals.lost:
        tiles.append((f"{totals.lost:,}", "frames lost in damaged clips"))
    if totals.parts:
        tiles.append((f"{totals.parts:,}", "files joined to drives"))
    return tiles


def _data(figures: Figures, colours: dict[str, str]) -> dict[str, Any]:
    """What the script shows, short, since there is one for each of thousands of clips."""
    classes = list(dict.fromkeys(name for card in figures.clips for name in card.digest.bars))
    events = [name for name, _count in figures.totals.events.most_common()]
    return {
        "bins": BINS,
        "digits": _DIGITS,
        "classes": [{"name": name, "colour": colours[name]} for name in classes],
        "events": events,
        "clips": [_card(card, classes, events) for card in figures.clips],
    }


def _card(card: ClipCard, classes: list[str], events: list[str]) -> dict[str, Any]:
    result, digest = card.result, card.digest
    values = {
        "name": result.name,
        "file": PurePath(result.clip).name,
        "duration": round(result.duration_s, 1),
        "frames": result.frames_out,
        "lost": result.frames_lost,
        "way": "" if digest.driven_m is None else kilometres(digest.driven_m),
        "files": card.files if card.files > 1 else 0,
        "video": card.video,
        "picture": card.picture,
        "bars": {
            str(classes.index(name)): "".join(_DIGITS[each] for each in bar)
            for name, bar in digest.bars.items()
        },
        "events": [[events.index(name), start_s, end_s] for name, start_s, end_s in digest.events],
        "notes": [*result.warnings, *digest.notes],
    }
    return {key: value for key, value in values.items() if value}


def hours(seconds: float) -> str:
    """How long, for people: `38 s`, `12 min`, `3.4 h`.

    >>> hours(38), hours(725), hours(12_300)
    ('38 s', '12 min', '3.4 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h"


def kilometres(metres: float) -> str:
    """A way, for people.

    >>> kilometres(322.4), kilometres(51_980), kilometres(1_234_500)
    ('0.3 km', '52.0 km', '1,234 km')
    """
    return f"{metres / 1000:.1f} km" if metres < 999_500 else f"{metres / 1000:,.0f} km"


def size(count: float) -> str:
    """How many bytes, for people.

    >>> size(999), size(5_300_000)
    ('999 B', '5.3 MB')
    """
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.0f} {_UNITS[unit]}" if unit == 0 else f"{count:.1f} {_UNITS[unit]}"
