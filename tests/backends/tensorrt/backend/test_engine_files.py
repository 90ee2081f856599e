"""Engine files that are missing, damaged or made for something else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from roadseg.backends.tensorrt.backend import TensorRtBackend
from roadseg.core.errors import EngineError
from roadseg.engine.store import read_plan
from tests.support.tensorrt.bench import Bench, frames, labels_of


def test_info(bench: Bench) -> None:
    info = bench.open(manifest={"model": "segnet", "precision": "int8"}).info
    assert (info.name, info.model, info.precision) == ("tensorrt", "segnet", "int8")
    assert bench.open(target="tensorrt-rtx").info.name == "tensorrt-rtx"


def rebuild(bench: Bench, **changes: Any) -> str:
    return bench.engine(manifest=changes).manifest.build_command()


def test_a_missing_plan(bench: Bench) -> None:
    engine = bench.engine()
    engine.path.unlink()
    with pytest.raises(EngineError) as caught:
        TensorRtBackend(engine, runtime=bench.runtime(), cuda=bench.cuda)
    assert str(caught.value) == (
        f"cannot read the engine {engine.path} (No such file or directory): build it: "
        f"{engine.manifest.build_command()}"
    )


def test_a_truncated_plan(bench: Bench) -> None:
    engine = bench.engine()
    size = engine.path.stat().st_size
    engine.path.write_bytes(engine.path.read_bytes()[:-10])
    with pytest.raises(EngineError) as caught:
        TensorRtBackend(engine, runtime=bench.runtime(), cuda=bench.cuda)
    assert str(caught.value) == (
        f"{engine.path} cannot be used: the file is truncated ({size - 10} of {size} bytes): copy "
        f"it again, or build it again: {engine.manifest.build_command()}"
    )


def test_a_damaged_plan(bench: Bench) -> None:
    engine = bench.engine()
    engine.path.write_bytes(b"x" + engine.path.read_bytes()[1:])
    with pytest.raises(EngineError) as caught:
        TensorRtBackend(engine, runtime=bench.runtime(), cuda=bench.cuda)
    assert str(caught.value) == (
        f"{engine.path} cannot be used: the file is damaged (its sha256 is not the one in its "
        f"manifest): copy it again, or build it again: {engine.manifest.build_command()}"
    )


def test_a_plan_that_was_read_before_is_not_read_again(bench: Bench) -> None:
    engine = bench.engine()
    plan = read_plan(engine)
    engine.path.unlink()
    backend = TensorRtBackend(engine, runtime=bench.runtime(), cuda=bench.cuda, plan=plan)
    np.testing.assert_array_equal(backend.infer(frames(1, 0)), labels_of(frames(1, 0)))
    backend.close()


def test_an_engine_of_another_version_or_gpu(bench: Bench) -> None:
    bench.world.fail.add("deserialize")
    bench.world.message = (
        "IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine plan file is "
        "not compatible with this version of TensorRT, expecting library version 10.13.0 got "
        "10.3.0, please rebuild.)"
    )
    with pytest.raises(EngineError) as caught:
        bench.open()
    path = bench.engine().path
    assert str(caught.value) == (
        f"{path} cannot be loaded by TensorRT 10.13.0 (API Usage Error (The engine plan file is "
        "not compatible with this version of TensorRT, expecting library version 10.13.0 got "
        f"10.3.0, please rebuild.)): build it again: {rebuild(bench)}"
    )


def test_an_engine_for_the_other_tensorrt(bench: Bench) -> None:
    engine = bench.engine(manifest={"target": "tensorrt-rtx"})
    with pytest.raises(EngineError) as caught:
        TensorRtBackend(engine, runtime=bench.runtime("tensorrt"), cuda=bench.cuda)
    assert str(caught.value) == (
        f"{engine.path} is for tensorrt-rtx, and tensorrt is what runs: build one for it: "
        "'roadseg build-engine --model segnet-lite --fp16 --size 64x96 --target tensorrt'"
    )


def test_an_engine_of_another_size_than_its_manifest_says(bench: Bench) -> None:
    with pytest.raises(EngineError) as caught:
        bench.open(manifest={"size_hw": (32, 32)})
    path = bench.engine().path
    assert str(caught.value) == (
        f"{path} takes 64x96 frames and its manifest says 32x32: they do not belong together: "
        f"build it again: {rebuild(bench, size_hw=(32, 32))}"
    )


def test_an_engine_of_others(bench: Bench) -> None:
    for facts in ({"frames_dtype": 0}, {"labels_dtype": 3}):
        with pytest.raises(EngineError) as caught:
            bench.open(**facts)
        assert str(caught.value) == (
            f"{bench.engine().path} has other inputs or outputs: a roadseg engine takes uint8 "
            "frames (N, H, W, 3) and gives uint8 labels (N, H, W): build one with 'roadseg "
            "build-engine'"
        )
