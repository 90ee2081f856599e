from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import filelock
import pytest

from roadseg.core.errors import SinkError
from roadseg.core.file_lock import FileLock, lock_target


def test_one_has_it_and_another_does_not(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second = FileLock(path), FileLock(path)
    assert first.take()
    assert not second.take()
    assert second.owner() == os.getpid()
    second.release()
    assert path.exists(), "it was not the second's to remove"
    first.release()
    first.release()
    assert not path.exists()
    assert second.take()
    second.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, where nobody makes files")
def test_a_file_that_cannot_be_made_is_nobodys() -> None:
    with pytest.raises(FileNotFoundError):
        FileLock(Path("/proc/roadseg.lock")).take()


def test_one_that_is_let_go_while_another_asks_is_taken_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.take()
    acquire = filelock.FileLock.acquire

    def late(lock: filelock.FileLock, **options: Any) -> Any:
        try:
            return acquire(lock, **options)
        except filelock.Timeout:
            first.release()  # and its file is gone
            raise

    monkeypatch.setattr(filelock.FileLock, "acquire", late)
    assert second.take()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_left_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("a process of long ago, 4711")
    lock = FileLock(path)
    assert lock.owner() is None
    assert lock.take()
    assert lock.owner() == os.getpid()
    lock.release()


def test_one_that_nobody_holds_on_to_is_free(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert lock.take()
    del lock
    assert FileLock(tmp_path / "lock").take()


def test_refusal_and_what_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    lock = lock_target(path, "--output x")
    assert lock is not None
    with pytest.raises(SinkError) as caught:
        lock_target(path, "--output x")
    assert str(caught.value) == (
        f"--output x is being written by another run (process {os.getpid()}): give another, or "
        "wait for it"
    )
    lock.release()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        lock_target(tmp_path / "file" / "lock", "--output x")
    (tmp_path / "file").unlink()

    def fail(_handle: int, _how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", fail)
    code = errno.ENOLCK
    assert lock_target(path, "--output x") is None
    assert list(tmp_path.iterdir()) == []
    code = errno.EIO
    with pytest.raises(OSError, match="Input/output"):
        lock_target(path, "--output x")
