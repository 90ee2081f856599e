"""From a specification to files: what is written, and what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadseg.backends.tensorrt.builder.build_engine import build_engine
from roadseg.backends.tensorrt.builder.graph import export_graph
from roadseg.core.errors import (
    UsageError,
)
from roadseg.core.labels import CLASS_NAMES
from roadseg.core.progress import Progress
from roadseg.engine.manifest import (
    Gpu,
    ParityFacts,
    manifest_path,
    read_manifest,
)
from roadseg.engine.spec import EngineSpec
from roadseg.engine.store import checksum_problem, find_engine, stale_reasons
from roadseg.weights import resolve_weights
from tests.support.tensorrt.building import SIZE_HW, names

pytestmark = pytest.mark.usefixtures("as_typed")


def test_an_engine_and_all_that_is_known_of_it(
    workshop: Callable[..., Any],
    spec: EngineSpec,
    tmp_path: Path,
    own_cache: Path,
    exports: dict[EngineSpec, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "roadseg")
    exports.clear()
    shop = workshop()
    states: list[Progress] = []
    out = tmp_path / "out"
    engine = build_engine(spec, output=out, progress=states.append, **shop.options())
    device = shop.cuda.device
    assert engine.path.parent == out
    assert engine.path.name == (
        f"my-segnet-lite-{engine.manifest.weights_sha256[:8]}_fp16_64x96_b1_plugin_tensorrt-"
        f"10.13.0.35_sm89-{device.name.lower().replace(' ', '-')}.engine"
    )
    assert names(out) == [engine.path.name, f"{engine.path.name}.json"]
    facts = engine.manifest
    assert read_manifest(engine.path) == facts
    assert checksum_problem(engine) is None
    assert facts.model == "my segnet-lite"
    assert facts.source == spec.model
    assert facts.architecture == "segnet-lite"
    assert (facts.precision, facts.size_hw, facts.batch) == ("fp16", SIZE_HW, (1, 1, 1))
    assert (facts.lowering, facts.portable) == ("plugin", False)
    assert (facts.target, facts.tensorrt_version) == ("tensorrt", "10.13.0.35")
    assert facts.gpu == Gpu(device.name, device.compute_capability)
    assert facts.classes == CLASS_NAMES
    assert len(facts.palette_rgb) == len(CLASS_NAMES) + 1
    assert facts.palette_rgb[1] == (128, 0, 0)
    assert facts.parity == ParityFacts(1.0, 8, "drive.mp4", "PyTorch FP32")
    assert facts.not_verified is None
    assert facts.calibration is None
    # Nothing is stale about it, now.
    found = find_engine(spec, shop.runtime, device, weights_sha256=facts.weights_sha256, folder=out)
    assert found.engine == engine
    stages = list(dict.fromkeys(state.stage for state in states))
    assert stages == ["exporting", "building", "comparing"]
    assert all(0 <= state.fraction <= 1 for state in states)
    assert states[-1].fraction == 1.0
    assert "Timing tactics" in {state.detail for state in states}
    assert caplog.messages == ["TensorRT 10.13.0.35: warning: odd but working"]
    (cache,) = (own_cache / "timing").iterdir()
    assert cache.name.startswith("tensorrt-10.13.0.35-sm89-")
    # The GPU is still the caller's.
    shop.cuda.stream().synchronize()


def test_the_graph_is_what_was_asked_for(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    shop = workshop()
    engine = build_engine(replace(spec, batch=(1, 2, 4)), output=tmp_path, **shop.options())
    graph = shop.world.graph
    said = {entry.key: entry.value for entry in graph.metadata_props}
    assert (said["precision"], said["lowering"], said["batch"]) == ("fp16", "plugin", "any")
    assert {node.op_type for node in graph.graph.node} >= {"MaxPoolIndex", "MaxUnpoolIndex"}
    assert engine.manifest.kernels_sha256 is not None
    fp32 = replace(spec, precision="fp32", lowering="native", batch=(2, 2, 2))
    other = build_engine(fp32, output=tmp_path, **shop.options())
    said = {entry.key: entry.value for entry in shop.world.graph.metadata_props}
    assert (said["precision"], said["lowering"], said["batch"]) == ("fp32", "native", "2")
    assert other.manifest.kernels_sha256 is None
    assert other.manifest.graph_sha256 != engine.manifest.graph_sha256
    assert other.manifest.parity == engine.manifest.parity


def test_the_same_network_is_the_same_graph(spec: EngineSpec) -> None:
    states: list[Progress] = []
    weights = resolve_weights(spec.model)
    first = export_graph(spec, weights, progress=states.append)
    second = export_graph(spec, weights)
    assert first.content == second.content
    assert first.sha256 == second.sha256
    assert [state.fraction for state in states] == [0.0, 0.3, 0.7, 1.0]


def test_a_new_version_of_roadseg_alone_makes_no_other_graph(
    spec: EngineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = resolve_weights(spec.model)
    first = export_graph(spec, weights)
    monkeypatch.setattr("roadseg.export.onnx.__version__", "99.0")
    second = export_graph(spec, weights)
    assert first.content != second.content
    assert first.sha256 == second.sha256
    other = export_graph(replace(spec, size_hw=(64, 128)), weights)
    assert other.sha256 != first.sha256


def test_an_output_of_ones_own(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "my.plan"
    engine = build_engine(spec, output=path, **workshop().options())
    assert engine.path == path
    assert names(path.parent) == ["my.plan", "my.plan.json"]
    with pytest.raises(UsageError) as caught:
        build_engine(spec, output=tmp_path / "x.json", **workshop().options())
    assert str(caught.value) == (
        f"{tmp_path / 'x.json'} is neither an engine's name nor a folder: use --output "
        "FILE.engine, or a folder that exists"
    )


def test_a_folder_with_a_dot_in_its_name(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    folder = tmp_path / "engines-10.13"
    with pytest.raises(UsageError) as caught:
        build_engine(spec, output=folder, **workshop().options())
    assert str(caught.value) == (
        f"{folder} is neither an engine's name nor a folder: use --output FILE.engine, or a folder "
        "that exists"
    )
    folder.mkdir()
    assert build_engine(spec, output=folder, **workshop().options()).path.parent == folder


def test_it_replaces_the_one_before(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    path = tmp_path / "x.engine"
    build_engine(spec, output=path, **workshop().options())
    engine = build_engine(replace(spec, batch=(2, 2, 2)), output=path, **workshop().options())
    assert engine.manifest.batch == (2, 2, 2)
    assert checksum_problem(engine) is None
    assert names(tmp_path) == ["x.engine", "x.engine.json"]


def test_the_manifest_says_why_it_is_stale_later(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    shop = workshop("10.3.0.26")
    engine = build_engine(spec, output=tmp_path, **shop.options())
    newer = workshop("10.13.0.35").runtime
    assert stale_reasons(engine.manifest, runtime=newer, device=shop.cuda.device) == [
        "built by tensorrt 10.3.0.26, and 10.13.0.35 is here"
    ]
    raw = json.loads(manifest_path(engine.path).read_text(encoding="utf-8"))
    assert raw["gpu"]["compute_capability"] == [8, 9]
