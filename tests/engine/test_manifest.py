"""What is written beside an engine comes back as it was, and damage is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from roadseg.core.errors import EngineError
from roadseg.core.labels import CLASS_NAMES
from roadseg.engine.manifest import (
    CalibrationFacts,
    EngineManifest,
    Gpu,
    ParityFacts,
    TensorFacts,
    manifest_path,
    read_manifest,
    write_manifest,
)

FULL = EngineManifest(
    model="best",
    source="/home/me/my runs/best.safetensors",
    architecture="segnet",
    weights_sha256="aa",
    graph_sha256="bb",
    export_sha256="cc",
    precision="int8",
    size_hw=(352, 480),
    batch=(1, 4, 8),
    lowering="plugin",
    portable=True,
    kernels_sha256="dd",
    target="tensorrt",
    tensorrt_version="10.13.0.35",
    gpu=Gpu("NVIDIA GeForce RTX 4090", (8, 9)),
    sm=(),
    workspace_mb=1024,
    classes=CLASS_NAMES,
    palette_rgb=((1, 2, 3), (4, 5, 6)),
    calibration=CalibrationFacts("ee", ("conv1", "conv2"), 0.31, "val.txt", False),
    parity=ParityFacts(0.9987, 8, "drive.mp4", "PyTorch FP32"),
    not_verified=None,
    build_s=41.2,
    created="2026-01-31T12:00:00+00:00",
    roadseg_version="0.1.0",
    plan_bytes=5123456,
    plan_sha256="ff",
    tensors=(TensorFacts("frame_bgr", "input", "uint8", (-1, 352, 480, 3), "NHWC, BGR"),),
)
PLAIN = dataclasses.replace(
    FULL,
    source="segnet-lite",
    precision="fp16",
    batch=(1, 1, 1),
    lowering="native",
    portable=False,
    kernels_sha256=None,
    target="tensorrt-rtx",
    gpu=None,
    sm=(86, 89),
    workspace_mb=None,
    calibration=None,
    parity=None,
    not_verified="no GPU",
    tensors=(),  # of an older roadseg
)


@pytest.mark.parametrize("manifest", [FULL, PLAIN], ids=["full", "plain"])
def test_there_and_back(manifest: EngineManifest, tmp_path: Path) -> None:
    engine = tmp_path / "x.engine"
    assert manifest_path(engine).name == "x.engine.json"
    write_manifest(manifest, manifest_path(engine))
    assert read_manifest(engine) == manifest
    # Every field is in the file under its own name.
    raw = json.loads(manifest_path(engine).read_text(encoding="utf-8"))
    assert set(raw) == {"version", *(field.name for field in dataclasses.fields(manifest))}


def test_unmeasured_costs_come_back(tmp_path: Path) -> None:
    engine = tmp_path / "x.engine"
    facts = CalibrationFacts("ee", (), None, None, True)
    manifest = dataclasses.replace(FULL, calibration=facts)
    write_manifest(manifest, manifest_path(engine))
    assert read_manifest(engine).calibration == facts


def test_the_command_that_builds_it_again() -> None:
    assert FULL.build_command() == (
        '\'roadseg build-engine --model "/home/me/my runs/best.safetensors" --int8 --size 352x480 '
        "--batch 1-4-8 --target tensorrt --portable --workspace 1024'"
    )
    assert PLAIN.build_command() == (
        "'roadseg build-engine --model segnet-lite --fp16 --size 352x480 --target tensorrt-rtx "
        "--sm 86,89'"
    )
    # For the other TensorRT without what that one does not take.
    assert PLAIN.build_command("tensorrt") == (
        "'roadseg build-engine --model segnet-lite --fp16 --size 352x480 --target tensorrt'"
    )
    assert FULL.build_command("tensorrt-rtx").endswith("--target tensorrt-rtx --workspace 1024'")
    native = dataclasses.replace(FULL, lowering="native", portable=False)
    assert "--target tensorrt --lowering native" in native.build_command()


def test_the_spec_that_builds_it_again() -> None:
    assert FULL.spec.batch == (1, 4, 8)
    assert FULL.spec.portable
    assert PLAIN.spec.sm == (86, 89)


AGAIN = "build the engine again with 'roadseg build-engine'"


def refused(engine: Path) -> str:
    with pytest.raises(EngineError) as caught:
        read_manifest(engine)
    return str(caught.value)


def test_it_is_missing(tmp_path: Path) -> None:
    engine = tmp_path / "x.engine"
    assert refused(engine) == (
        f"{engine} has no manifest (x.engine.json beside it): copy it along, or {AGAIN}"
    )


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("\0", "no JSON"),
        ("{}", "version is missing"),
        ("[]", "expected object, got array"),
        ('"x"', "expected object, got str"),
    ],
)
def test_it_is_no_manifest(tmp_path: Path, text: str, detail: str) -> None:
    engine = tmp_path / "x.engine"
    manifest_path(engine).write_text(text)
    path = manifest_path(engine)
    assert refused(engine) == f"{path} is damaged ({detail}): {AGAIN}"


def test_it_is_of_another_roadseg(tmp_path: Path) -> None:
    engine = tmp_path / "x.engine"
    manifest_path(engine).write_text('{"version": 7}')
    assert refused(engine) == f"{manifest_path(engine)} has version 7, expected 1: {AGAIN}"


def test_it_cannot_be_read(tmp_path: Path) -> None:
    engine = tmp_path / "x.engine"
    manifest_path(engine).mkdir()
    assert refused(engine) == f"cannot read {manifest_path(engine)} (Is a directory): {AGAIN}"


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"precision": "fp8"}, "precision: invalid enum value 'fp8'"),
        ({"size_hw": [352]}, "size_hw: expected array of length 2, got 1"),
        ({"batch": [1, 1, True]}, "batch[2]: expected int, got bool"),
        ({"target": "cpu"}, "target: invalid enum value 'cpu'"),
        ({"model": 3}, "model: expected str, got int"),
        ({"build_s": "long"}, "build_s: expected float, got str"),
        ({"plan_bytes": 1.5}, "plan_bytes: expected int, got float"),
        (
            {"gpu": {"name": "x", "compute_capability": [8]}},
            "gpu.compute_capability: expected array of length 2, got 1",
        ),
        ({"parity": {"agreement": 1}}, "parity.frames is missing"),
        ({"plan_sha256": None}, "plan_sha256: expected str, got null"),
    ],
)
def test_a_field_is_damaged(tmp_path: Path, change: dict[str, Any], detail: str) -> None:
    engine = tmp_path / "x.engine"
    path = manifest_path(engine)
    write_manifest(FULL, path)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change))
    assert refused(engine) == f"{path} is damaged ({detail}): {AGAIN}"


def test_a_field_is_missing(tmp_path: Path) -> None:
    engine = tmp_path / "x.engine"
    path = manifest_path(engine)
    write_manifest(FULL, path)
    whole = json.loads(path.read_text(encoding="utf-8"))
    for name in whole:
        path.write_text(json.dumps({key: value for key, value in whole.items() if key != name}))
        if name == "tensors":  # older manifests have none
            assert read_manifest(engine).tensors == ()
        elif name != "version":
            assert refused(engine) == f"{path} is damaged ({name} is missing): {AGAIN}"
