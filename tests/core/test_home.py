"""Paths below home folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadseg.core.errors import UsageError
from roadseg.core.home import below_home


def test_paths_below_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert below_home("~/a") == Path("/home/someone/a")
    assert below_home("a/~b") == Path("a/~b")


def test_a_home_that_is_not_there() -> None:
    with pytest.raises(UsageError) as caught:
        below_home("~nobody-of-this-name/a", "token_file")
    assert str(caught.value) == (
        "token_file ~nobody-of-this-name/a: there is no such home folder: give the whole path"
    )
