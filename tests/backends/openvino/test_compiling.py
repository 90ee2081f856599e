"""What was compiled is kept, used again, and never needed."""

from __future__ import annotations

import os
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


@pytest.mark.parametrize("damage", ["cut", "empty", "noise"])
def test_what_is_damaged_is_compiled_again(xml_file: Path, cache: Path, damage: str) -> None:
    expected = labels(backend(xml_file, cache))
    (blob,) = cache.glob("*.blob")
    content = {"cut": blob.read_bytes()[:5000], "empty": b"", "noise": os.urandom(9000)}
    blob.write_bytes(content[damage])
    np.testing.assert_array_equal(labels(backend(xml_file, cache)), expected)
    assert came_from_cache(backend(xml_file, cache)), "and kept anew"


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
    core = ov.Core()
    network = core.read_model(str(xml_file))
    network.reshape([1, *SIZE_HW, 3])
    assert compile_network(core, network, {"INFERENCE_PRECISION_HINT": "f32"}).inputs
