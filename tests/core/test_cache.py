"""Where the user's cache lies."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from roadseg.core.cache import keep_in_cache, user_cache_dir
from roadseg.core.errors import UsageError


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


@pytest.mark.parametrize("value", ["~nobody-of-this-name/cache", "here"])
def test_a_folder_that_leads_nowhere_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str
) -> None:
    monkeypatch.setenv("ROADSEG_CACHE", value)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    shutil.rmtree(gone)
    with pytest.raises(UsageError, match=f"^ROADSEG_CACHE {value}.*: give the whole path$"):
        user_cache_dir()


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user whom nobody knows, as of `docker run --user 12345`; the folder of temporary files."""
    pwd = pytest.importorskip("pwd", reason="this system has no such users")

    def unknown(_: object) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "ROADSEG_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_without_a_home_the_cache_is_a_folder_of_ones_own(homeless: Path) -> None:
    folder = user_cache_dir()
    assert folder == homeless / f"roadseg-cache-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert keep_in_cache(folder / "kernels" / "a", b"content")
    assert user_cache_dir() == folder, "it is found again"


@pytest.mark.parametrize("what", ["link", "file", "open to all"])
def test_what_somebody_else_may_write_is_no_cache(homeless: Path, what: str) -> None:
    folder = homeless / f"roadseg-cache-{os.getuid()}"
    (homeless / "theirs").mkdir()
    if what == "link":
        folder.symlink_to("theirs")
    elif what == "file":
        folder.touch()
    else:
        folder.mkdir()
        folder.chmod(0o777)
    assert not user_cache_dir().is_relative_to(homeless)
    assert list((homeless / "theirs").iterdir()) == []


def test_nor_is_the_folder_of_another_user(homeless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    folder = homeless / "roadseg-cache-12345"
    folder.mkdir(mode=0o700)
    if folder.stat().st_uid == 12345:
        pytest.skip("this is that user")
    assert user_cache_dir() != folder


def test_nor_is_anything_without_temporary_files(
    homeless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert not user_cache_dir().exists()
