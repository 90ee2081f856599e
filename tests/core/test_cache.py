"""Where the user's cache lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadseg.core.cache import user_cache_dir


@pytest.mark.parametrize(
    ("own", "xdg", "expected"),
    [
        ("/data/own", "/data/xdg", "/data/own"),
        ("", "/data/xdg", "/data/xdg/roadseg"),
        (None, "/data/xdg", "/data/xdg/roadseg"),
        (None, "", "/home/someone/.cache/roadseg"),
        (None, "not/absolute", "/home/someone/.cache/roadseg"),
        (None, None, "/home/someone/.cache/roadseg"),
        ("~/mine", None, "/home/someone/mine"),
    ],
)
def test_the_first_that_is_set(
    monkeypatch: pytest.MonkeyPatch, own: str | None, xdg: str | None, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    for name, value in (("ROADSEG_CACHE", own), ("XDG_CACHE_HOME", xdg)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert user_cache_dir() == Path(expected)


def test_a_relative_folder_is_taken_from_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROADSEG_CACHE", "here")
    assert user_cache_dir() == tmp_path / "here"
    assert not (tmp_path / "here").exists()
