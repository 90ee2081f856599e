"""What was compiled is kept, used again, and never needed."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest

from roadseg.backends.openvino import compiling
from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.backends.openvino.compiling import compile_network, is_worth_keeping
from roadseg.loading.choice import choose

SIZE_HW = (64, 96)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "not there yet" / "compiled"


def backend(xml_file: Path, cache: Path | None, size_hw: tuple[int, int] = SIZE_HW) -> Any:
    return OpenVinoBackend(xml_file, size_hw, name="lite", precision="fp32", threads=1, cache=cache)


def came_from_cache(opened: Any) -> bool:
    return bool(opened._compiled.get_property("LOADED_FROM_CACHE"))


def labels(opened: Any) -> np.ndarray:
    batch = np.random.default_rng(1).integers(0, 256, (1, *SIZE_HW, 3), dtype=np.uint8)
    return np.asarray(opened.infer(batch))


def test_the_second_start_takes_what_the_first_compiled(xml_file: Path, cache: Path) -> None:
    first = backend(xml_file, cache)
    assert not came_from_cache(first)
    second = backend(xml_file, cache)
    assert came_from_cache(second)
    np.testing.assert_array_equal(labels(first), labels(second))
    np.testing.assert_array_equal(labels(first), labels(backend(xml_file, None)))
    assert not came_from_cache(backend(xml_file, cache, (96, 32))), "another size"


def flipped(whole: bytes, share: float, count: int) -> bytes:
    """With `count` bytes changed, from a share of the file on."""
    at = int(share * len(whole))
    changed = bytes(byte ^ 0x55 for byte in whole[at : at + count])
    return whole[:at] + changed + whole[at + count :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:5000],
        lambda whole: whole[:-1],
        lambda whole: b"",
        lambda whole: os.urandom(9000),
        lambda whole: flipped(whole, 0.3, 4000),
        lambda whole: flipped(whole, 0.5, 4000),
        lambda whole: flipped(whole, 0.8, 1),
    ],
    ids=["cut", "a byte less", "empty", "noise", "weights", "other weights", "one byte"],
)
def test_what_is_damaged_is_compiled_again(
    xml_file: Path, cache: Path, damage: Callable[[bytes], bytes]
) -> None:
    expected = labels(backend(xml_file, cache))
    (blob,) = cache.glob("*.blob")
    whole = blob.read_bytes()
    blob.chmod(0o600)
    blob.write_bytes(damage(whole))
    again = backend(xml_file, cache)
    assert not came_from_cache(again)
    np.testing.assert_array_equal(labels(again), expected)
    (blob,) = cache.glob("*.blob")
    third = backend(xml_file, cache)
    assert came_from_cache(third), "and kept anew"
    np.testing.assert_array_equal(labels(third), expected)


def test_what_cannot_be_read_is_compiled_again_once(
    xml_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector, or a file of root's in the user's cache: it must not stay in the way."""
    backend(xml_file, cache)
    (unreadable,) = cache.iterdir()
    checksum, mark = compiling._checksum, unreadable.stat()

    def read(blob: Path) -> str:
        # Numbers of files are used again.
        if (blob.stat().st_ino, blob.stat().st_mtime_ns) == (mark.st_ino, mark.st_mtime_ns):
            raise OSError(errno.EIO, "Input/output error")
        return checksum(blob)

    monkeypatch.setattr(compiling, "_checksum", read)
    assert [came_from_cache(backend(xml_file, cache)) for _ in range(2)] == [False, True]


def test_what_has_no_checksum_is_not_used(xml_file: Path, cache: Path) -> None:
    backend(xml_file, cache)
    (blob,) = cache.glob("*.blob")
    plain = blob.rename(cache / blob.name.rpartition("-")[2])  # as earlier versions called it
    assert not came_from_cache(backend(xml_file, cache))
    (again,) = cache.iterdir()
    assert again.name.endswith(f"-{plain.name}"), "and the other is gone"


class Meanwhile:
    """A core beside which something happens before, or after, it writes or reads a file."""

    def __init__(self, before: Callable[[], Any], after: Callable[[], Any]) -> None:
        self.core, self.before, self.after = ov.Core(), before, after

    def compile_model(self, *arguments: Any) -> Any:
        self.before()
        compiled = self.core.compile_model(*arguments)
        self.after()
        return compiled


def nothing() -> None:
    pass


def network(xml_file: Path) -> Any:
    model = ov.Core().read_model(str(xml_file))
    model.reshape([1, *SIZE_HW, 3])
    return model


OPTIONS = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


def test_a_file_is_seen_when_it_is_whole(xml_file: Path, cache: Path) -> None:
    seen: list[list[Path]] = []
    core = Meanwhile(nothing, lambda: seen.append(list(cache.glob("*.blob"))))
    compile_network(core, network(xml_file), OPTIONS, cache)
    assert seen == [[]], "OpenVINO has written it, and its checksum is still to be taken"
    (blob,) = cache.iterdir()
    assert compiling._checksum(blob) == blob.name.split("-")[1]


@pytest.mark.parametrize("when", ["before", "after"])
def test_another_process_is_quicker(xml_file: Path, cache: Path, when: str) -> None:
    def other() -> None:
        compile_network(ov.Core(), network(xml_file), OPTIONS, cache)

    core = Meanwhile(other, nothing) if when == "before" else Meanwhile(nothing, other)
    compiled = compile_network(core, network(xml_file), OPTIONS, cache)
    assert not compiled.get_property("LOADED_FROM_CACHE")
    assert len(list(cache.iterdir())) == 1
    assert compile_network(ov.Core(), network(xml_file), OPTIONS, cache).get_property(
        "LOADED_FROM_CACHE"
    )


def test_another_process_removes_a_file_that_is_about_to_be_used(
    xml_file: Path, cache: Path
) -> None:
    compile_network(ov.Core(), network(xml_file), OPTIONS, cache)
    core = Meanwhile(lambda: [blob.unlink() for blob in cache.glob("*.blob")], nothing)
    compiled = compile_network(core, network(xml_file), OPTIONS, cache)
    assert compiled.get_property("LOADED_FROM_CACHE")


def test_many_at_once(xml_file: Path, cache: Path) -> None:
    expected = labels(backend(xml_file, None))

    def start(number: int) -> Any:
        if number % 3 == 2:
            for blob in cache.glob("*.blob"):
                blob.unlink(missing_ok=True)
        return labels(backend(xml_file, cache))

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(start, range(12)):
            np.testing.assert_array_equal(found, expected)
    backend(xml_file, cache)
    assert came_from_cache(backend(xml_file, cache))
    assert len(list(cache.iterdir())) == 1, "one of each is enough"


def test_a_drive_without_links(
    xml_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(_source: Path, _target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    backend(xml_file, cache)
    assert came_from_cache(backend(xml_file, cache))
    assert len(list(cache.iterdir())) == 1


def test_a_cache_that_may_only_be_read(
    xml_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = labels(backend(xml_file, cache))
    usual = tempfile.TemporaryDirectory

    def elsewhere(*, dir: Path | None = None, **options: Any) -> Any:
        if dir == cache:
            raise OSError(errno.EROFS, "Read-only file system")
        return usual(dir=dir, **options)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", elsewhere)
    found = backend(xml_file, cache)
    assert came_from_cache(found)
    np.testing.assert_array_equal(labels(found), expected)


def test_what_a_killed_run_left_is_cleared_away(xml_file: Path, cache: Path) -> None:
    for name, age_s in ((".own-killed", 2 * 3600), (".own-at-work", 60)):
        (cache / name).mkdir(parents=True)
        (cache / name / "1.blob").write_bytes(b"half")
        then = (cache / name).stat().st_mtime - age_s
        os.utime(cache / name, (then, then))
    backend(xml_file, cache)
    assert [folder.name for folder in cache.glob(".own-*")] == [".own-at-work"]
    # Also by a start that compiles nothing.
    os.utime(cache / ".own-at-work", (0, 0))
    assert came_from_cache(backend(xml_file, cache))
    assert not list(cache.glob(".own-*"))


def test_a_cache_that_cannot_be_used_is_done_without(xml_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    assert labels(backend(xml_file, file / "compiled")).shape == (1, *SIZE_HW)
    assert labels(backend(xml_file, file)).shape == (1, *SIZE_HW)


def test_a_full_disk_costs_the_cache_and_no_more(cache: Path) -> None:
    asked: list[bool] = []

    class FullDisk:
        def compile_model(self, _network: Any, _device: str, options: dict[str, Any]) -> str:
            asked.append("CACHE_DIR" in options)
            if asked[-1]:
                raise RuntimeError("Exception from cache.cpp:1:\nNo space left on device\n")
            return "compiled"

    assert compile_network(FullDisk(), None, {}, cache) == "compiled"
    assert asked == [True, False]


def test_the_oldest_are_dropped(
    xml_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "_KEPT", 2)
    for age, side in ((300, 32), (200, 64), (100, 96)):
        before = set(cache.glob("*.blob"))
        backend(xml_file, cache, (side, 64))
        for blob in set(cache.glob("*.blob")) - before:
            os.utime(blob, (blob.stat().st_mtime - age,) * 2)
    assert len(list(cache.glob("*.blob"))) == 2
    assert came_from_cache(backend(xml_file, cache, (96, 64)))
    assert not came_from_cache(backend(xml_file, cache, (32, 64)))


def test_models_are_kept_in_the_users_cache_unless_they_are_large(
    xml_file: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose("segnet-lite", "openvino", threads=1).open(SIZE_HW)
    assert list((own_cache / "compiled").glob("*.blob"))
    size = xml_file.stat().st_size + xml_file.with_suffix(".bin").stat().st_size
    for limit, kept in ((size, True), (size - 1, False)):
        monkeypatch.setattr(compiling, "_LARGEST_MODEL", limit)
        assert is_worth_keeping(xml_file) == kept


def test_a_network_in_memory_may_be_compiled_without(xml_file: Path) -> None:
    assert compile_network(ov.Core(), network(xml_file), OPTIONS).inputs
