"""TensorRT-RTX captures by itself, and its compiled kernels are kept."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from tests.support.tensorrt.bench import Bench, frames, labels_of


def test_rtx_captures_by_itself(bench: Bench) -> None:
    backend = bench.open((1, 4), target="tensorrt-rtx")
    for count in (1, 3, 9):
        np.testing.assert_array_equal(backend.infer(frames(count)), labels_of(frames(count)))
    assert bench.cuda.calls["begin_capture"] == 0
    assert backend.info.device == "Simulated GPU"


def cache_of(bench: Bench, tmp_path: Path) -> Path:
    digest = hashlib.sha256(bench.engine().path.read_bytes()).hexdigest()
    return tmp_path / "cache" / "tensorrt-rtx" / f"{digest[:16]}.cache"


def test_rtx_keeps_its_kernels(bench: Bench, tmp_path: Path) -> None:
    backend = bench.open(target="tensorrt-rtx")
    path = cache_of(bench, tmp_path)
    assert path.read_bytes() == b"compiled", "kept at once: the run may be killed"
    bench.world.kernels = b"compiled and specialised"
    backend.close()
    assert path.read_bytes() == b"compiled and specialised"
    stamp = path.stat().st_mtime_ns
    bench.open(target="tensorrt-rtx").close()
    assert path.stat().st_mtime_ns == stamp, "nothing new, nothing written"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_rtx_replaces_kernels_of_another_gpu(bench: Bench, tmp_path: Path) -> None:
    path = cache_of(bench, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"from elsewhere")
    bench.open(target="tensorrt-rtx").close()
    assert path.read_bytes() == b"compiled"


def test_rtx_keeps_nothing_where_there_is_nothing(bench: Bench, tmp_path: Path) -> None:
    bench.world.kernels = None
    bench.open(target="tensorrt-rtx").close()
    assert not (tmp_path / "cache").exists()


def test_rtx_runs_where_nothing_can_be_kept(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    backend = bench.open(target="tensorrt-rtx")
    np.testing.assert_array_equal(backend.infer(frames(1)), labels_of(frames(1)))
    backend.close()
