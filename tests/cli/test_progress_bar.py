"""How far an engine's building is, shown by commands that need not build one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from roadseg.cli import progress_bar as display_module
from roadseg.cli.progress_bar import progress_bar
from roadseg.core.progress import Progress

STATE = Progress("building", 0.5, "tactics", 10.0, 10.0)


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What happens on the display."""
    events: list[object] = []

    @contextmanager
    def show() -> Iterator[Callable[[Progress], None]]:
        events.append("opened")
        try:
            yield events.append
        finally:
            events.append("closed")

    monkeypatch.setattr(display_module, "_display", show)
    return events


def test_nothing_is_shown_where_nothing_is_built(display: list[object]) -> None:
    with progress_bar():
        pass
    assert display == []


def test_it_is_shown_from_the_first_news_to_the_end_of_the_block(display: list[object]) -> None:
    with progress_bar() as on_progress:
        on_progress(STATE)
        on_progress(STATE)
        assert display == ["opened", STATE, STATE]
    assert display == ["opened", STATE, STATE, "closed"]
    on_progress(STATE)
    assert display[-1] == "closed", "another display has the terminal by now"


def test_it_is_taken_down_when_the_build_fails(display: list[object]) -> None:
    def build() -> None:
        with progress_bar() as on_progress:
            on_progress(STATE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build()
    assert display == ["opened", STATE, "closed"]
