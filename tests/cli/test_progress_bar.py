"""How far an engine's building is, shown by commands that need not build one."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from rich.console import Console
from rich.progress import Progress as Bar

from roadseg.cli import progress_bar as display_module
from roadseg.cli.progress_bar import progress_bar, shown
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


@pytest.mark.parametrize("writes", [1, 2])
def test_a_bar_that_is_interrupted_while_it_starts_leaves_the_streams(
    monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    class Terminal(io.StringIO):
        left = writes

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return super().write(text)

    terminal, stdout = Terminal(), io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = Bar(console=Console(stderr=True), auto_refresh=False)
    with pytest.raises(KeyboardInterrupt), shown(bar):
        pytest.fail("it has not started")
    assert (sys.stdout, sys.stderr) == (stdout, terminal)
    assert terminal.getvalue().endswith("\x1b[?25h"), "the cursor is shown"
