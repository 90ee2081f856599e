"""Engines: which fit, which do not and why."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadseg.doctor.checkup import Surroundings, judge
from roadseg.doctor.probing import Probe
from roadseg.engine.manifest import (
    CalibrationFacts,
    EngineManifest,
    Gpu,
    manifest_path,
    write_manifest,
)
from roadseg.engine.store import export_sha256
from roadseg.kernels.kernels import source_hash
from roadseg.weights.manifest import load_manifest

Machine = Callable[..., Surroundings]

PLAN = b"a plan"
BUILD = "roadseg build-engine --model segnet-lite --fp16 --size 352x480 --target tensorrt"


def of(check: str, around: Surroundings) -> list[tuple[str, str, str | None]]:
    return [(f.level.value, f.text, f.fix) for f in judge(around).findings if f.check == check]


@pytest.fixture
def write_engine(tmp_path: Path, weights_dir: Path) -> Callable[..., Path]:
    """Writes an engine that fits `gpu_machine`; keywords change its manifest."""
    folder = tmp_path / "engines"

    def write(name: str = "lite", **changes: Any) -> Path:
        manifest = EngineManifest(
            model="segnet-lite",
            source="segnet-lite",
            architecture="segnet-lite",
            weights_sha256=load_manifest(weights_dir)["segnet-lite"].files["torch"].parts[0].sha256,
            graph_sha256="0" * 64,
            export_sha256=export_sha256(),
            precision="fp16",
            size_hw=(352, 480),
            batch=(1, 1, 1),
            lowering="plugin",
            portable=False,
            kernels_sha256=source_hash(),
            target="tensorrt",
            tensorrt_version="10.13.0.35",
            gpu=Gpu("NVIDIA GeForce RTX 4090", (8, 9)),
            sm=(),
            workspace_mb=None,
            classes=("sky",),
            palette_rgb=((1, 2, 3),),
            calibration=None,
            parity=None,
            not_verified="no reason",
            build_s=1.0,
            created="2026-01-01T00:00:00+00:00",
            roadseg_version="0.1.0",
            plan_bytes=len(PLAN),
            plan_sha256=hashlib.sha256(PLAN).hexdigest(),
        )
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.engine"
        path.write_bytes(PLAN)
        write_manifest(replace(manifest, **changes), manifest_path(path))
        return path

    return write


def test_none(machine: Machine, gpu_machine: Machine) -> None:
    assert of("engines", machine()) == [("ok", "none yet", None)]
    assert of("engines", gpu_machine()) == [("ok", "none yet: the first run builds one", None)]


def test_those_that_fit(
    machine: Machine, gpu_machine: Machine, write_engine: Callable[..., Path]
) -> None:
    write_engine("a")
    lite = "segnet-lite fp16 352x480"
    assert of("engines", gpu_machine()) == [("ok", f"{lite} fits", None)]
    write_engine("b", size_hw=(96, 128), precision="int8")
    assert of("engines", gpu_machine()) == [("ok", f"{lite}, segnet-lite int8 96x128 fit", None)]
    assert of("engines", machine()) == [
        (
            "note",
            f"{lite}, segnet-lite int8 96x128: not used without a GPU and TensorRT",
            None,
        )
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"tensorrt_version": "10.3.0.26"},
            "built by tensorrt 10.3.0.26, and 10.13.0.35 is here",
        ),
        (
            {"gpu": Gpu("Orin", (8, 7))},
            "built on Orin (8.7), and NVIDIA GeForce RTX 4090 (8.9) is here",
        ),
        ({"kernels_sha256": "1" * 64}, "roadseg's kernels have changed"),
        ({"export_sha256": "1" * 64}, "roadseg's export has changed"),
        ({"plan_bytes": 7}, "the file is truncated (6 of 7 bytes)"),
        (
            {"plan_sha256": "1" * 64},
            "the file is damaged (its sha256 is not the one in its manifest)",
        ),
    ],
)
def test_those_that_do_not(
    gpu_machine: Machine, write_engine: Callable[..., Path], changes: dict[str, Any], reason: str
) -> None:
    write_engine("a")
    write_engine("b", **changes)
    assert of("engines", gpu_machine()) == [
        ("ok", "segnet-lite fp16 352x480 fits", None),
        ("note", f"segnet-lite fp16 352x480 does not fit: {reason}", BUILD),
    ]


def test_other_weights(gpu_machine: Machine, write_engine: Callable[..., Path]) -> None:
    write_engine(weights_sha256="2" * 64)
    ((level, text, fix),) = of("engines", gpu_machine())
    assert (level, fix) == ("note", BUILD)
    assert text.startswith(
        "segnet-lite fp16 352x480 does not fit: the weights have changed (sha256 222222222222, now "
    )


def test_weights_of_the_users_are_not_compared(
    gpu_machine: Machine, write_engine: Callable[..., Path]
) -> None:
    write_engine(source="runs/best.safetensors", weights_sha256="2" * 64)
    assert of("engines", gpu_machine()) == [
        ("ok", "segnet-lite fp16 352x480 (22222222) fits", None)
    ]


def test_without_tensorrt_only_the_gpu_is_compared(
    gpu_machine: Machine, write_engine: Callable[..., Path]
) -> None:
    write_engine(tensorrt_version="10.3.0.26")
    broken = Probe(kind="crashed", error="ends Python with SIGSEGV")
    assert of("engines", gpu_machine(tensorrt=broken)) == [
        ("note", "segnet-lite fp16 352x480: not used without a GPU and TensorRT", None)
    ]


def test_an_engine_without_a_manifest(gpu_machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "engines").mkdir()
    path = tmp_path / "engines" / "x.engine"
    path.write_bytes(PLAN)
    assert of("engines", gpu_machine()) == [
        (
            "note",
            f"{path} has no manifest (x.engine.json beside it)",
            "copy it along, or build the engine again with 'roadseg build-engine'",
        )
    ]


def test_an_engine_of_another_calibration(
    gpu_machine: Machine, write_engine: Callable[..., Path], tmp_path: Path
) -> None:
    first, second = b"first", b"second"
    path = tmp_path / "mine.json"
    facts = CalibrationFacts(
        hashlib.sha256(first).hexdigest(), (), 0.1, "val.txt", False, path=str(path)
    )
    write_engine(precision="int8", calibration=facts)
    lite = "segnet-lite int8 352x480"
    # Where the file is not at hand, the engine does as well.
    assert of("engines", gpu_machine()) == [("ok", f"{lite} fits", None)]
    path.write_bytes(first)
    assert of("engines", gpu_machine()) == [("ok", f"{lite} fits", None)]
    path.write_bytes(second)
    assert of("engines", gpu_machine()) == [
        (
            "note",
            f"{lite} does not fit: the calibration has changed",
            BUILD.replace("--fp16", "--int8") + f" --calibration {path}",
        )
    ]


INCOMPLETE = Probe({"backend": "tensorrt", "torch": False, "onnx": True})
CANNOT_BUILD = "torch not installed: engines cannot be built"


def test_building_matters_less_where_an_engine_fits(
    gpu_machine: Machine, write_engine: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_engine()

    def refuse(**_: Any) -> Any:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("roadseg.doctor.files.tempfile.TemporaryFile", refuse)
    around = gpu_machine(backend=INCOMPLETE)
    assert of("builder", around) == [("note", CANNOT_BUILD, "pip install 'roadseg[export]'")]
    folder = path.parent
    blocked = (
        f"{folder} cannot be written (Read-only file system): engines cannot be built",
        f"chmod u+rwx {folder}, or use --backend torch or openvino",
    )
    assert of("engines-folder", around) == [("note", *blocked)]
    path.unlink()
    assert of("builder", around) == [("problem", CANNOT_BUILD, "pip install 'roadseg[export]'")]
    assert of("engines-folder", around) == [("problem", *blocked)]


@pytest.mark.parametrize(
    "changes", [{"precision": "int8"}, {"portable": True}, {"batch": (1, 4, 8)}], ids=str
)
def test_whatever_a_run_takes_will_do(
    gpu_machine: Machine, write_engine: Callable[..., Path], changes: dict[str, Any]
) -> None:
    write_engine(**changes)
    around = gpu_machine(backend=INCOMPLETE)
    assert of("builder", around) == [("note", CANNOT_BUILD, "pip install 'roadseg[export]'")]


def test_engines_have_different_texts(
    gpu_machine: Machine, write_engine: Callable[..., Path]
) -> None:
    for name, changes in (
        ("b", {"batch": (1, 4, 8)}),
        ("c", {"portable": True}),
        ("d", {"lowering": "native", "kernels_sha256": None}),
        ("e", {"source": "/runs/segnet-lite.safetensors", "weights_sha256": "3" * 64}),
    ):
        write_engine(name, **changes)
    (found,) = of("engines", gpu_machine())
    assert found[1] == (
        "segnet-lite fp16 352x480 batch 1-4-8, segnet-lite fp16 352x480 portable, segnet-lite "
        "fp16 352x480 native, segnet-lite fp16 352x480 (33333333) fit"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"tensorrt_version": "10.3.0.26"},
        {"weights_sha256": "2" * 64},
        {"batch": (2, 4, 8)},
        {"source": "runs/best.safetensors"},
        {"plan_bytes": 7},
    ],
    ids=str,
)
def test_building_matters_where_no_engine_is_taken(
    gpu_machine: Machine, write_engine: Callable[..., Path], changes: dict[str, Any]
) -> None:
    write_engine(**changes)
    around = gpu_machine(backend=INCOMPLETE)
    assert of("builder", around) == [("problem", CANNOT_BUILD, "pip install 'roadseg[export]'")]


def test_building_matters_where_nothing_can_be_told(
    gpu_machine: Machine, write_engine: Callable[..., Path], weights_dir: Path
) -> None:
    write_engine()
    (weights_dir / "manifest.json").write_text("{")
    around = gpu_machine(backend=INCOMPLETE)
    assert of("builder", around) == [("problem", CANNOT_BUILD, "pip install 'roadseg[export]'")]
