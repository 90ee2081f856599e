"""From a specification to files: what is written, what is not, and when."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.backends.tensorrt.builder import build_engine as subject
from roadseg.backends.tensorrt.builder import publish
from roadseg.backends.tensorrt.builder.build_engine import build_engine
from roadseg.backends.tensorrt.builder.graph import export_graph
from roadseg.backends.tensorrt.builder.lock import already_built, build_lock
from roadseg.core.errors import (
    BackendError,
    DataError,
    EngineError,
    ModelError,
    SinkError,
    UsageError,
)
from roadseg.core.labels import CLASS_NAMES
from roadseg.core.progress import Progress
from roadseg.engine.manifest import (
    CalibrationFacts,
    Gpu,
    ParityFacts,
    manifest_path,
    read_manifest,
    write_manifest,
)
from roadseg.engine.spec import EngineSpec
from roadseg.engine.store import checksum_problem, find_engine, stale_reasons
from roadseg.weights import resolve_weights
from roadseg.weights.calibration import Calibration, Gate, write_calibration
from roadseg.weights.manifest import sha256_of

pytestmark = pytest.mark.usefixtures("as_typed")

SIZE_HW = (64, 96)


@pytest.fixture
def spec(weights: Callable[[str], Path]) -> EngineSpec:
    model = str(weights("segnet-lite"))
    return EngineSpec(model, "fp16", SIZE_HW, (1, 1, 1), "tensorrt", "plugin")


@pytest.fixture(autouse=True)
def reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in's engines label as `FakeBackend` does: let PyTorch do so, too.

    The frames are noise instead of those of a clip that would have to be decoded each time.
    """
    monkeypatch.setattr(
        subject, "_reference", lambda weights, size_hw, stack: FakeBackend(size_hw).infer
    )

    def frames(data: Path | None, size_hw: tuple[int, int], **_: Any) -> tuple[np.ndarray, str]:
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (8, *size_hw, 3), dtype=np.uint8)
        return noise, "drive.mp4" if data is None else data.name

    monkeypatch.setattr(subject, "parity_frames", frames)


_GRAPHS: dict[EngineSpec, Any] = {}


@pytest.fixture(autouse=True)
def exports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each graph is exported once; tests that look at exports undo this."""
    real = subject.export_graph

    def export(spec: EngineSpec, *args: Any, **options: Any) -> Any:
        key = replace(spec, target="tensorrt", sm=())
        if key not in _GRAPHS:
            _GRAPHS[key] = real(spec, *args, **options)
        return _GRAPHS[key]

    monkeypatch.setattr(subject, "export_graph", export)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "cache")


def test_an_engine_and_all_that_is_known_of_it(
    workshop: Callable[..., Any],
    spec: EngineSpec,
    tmp_path: Path,
    own_cache: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "roadseg")
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


def test_it_replaces_the_one_before(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    path = tmp_path / "x.engine"
    build_engine(spec, output=path, **workshop().options())
    engine = build_engine(replace(spec, batch=(2, 2, 2)), output=path, **workshop().options())
    assert engine.manifest.batch == (2, 2, 2)
    assert checksum_problem(engine) is None
    assert names(tmp_path) == ["x.engine", "x.engine.json"]


# The proof.


def wrong_labels(share: float) -> Any:
    """A reference that differs from the engine in that share of the pixels."""

    def make(weights: Path, size_hw: tuple[int, int], stack: Any) -> Any:
        backend = FakeBackend(size_hw)

        def infer(batch: np.ndarray) -> np.ndarray:
            labels = backend.infer(batch).copy()
            flat = labels.reshape(-1)
            flat[: round(share * flat.size)] += 1
            return labels

        return infer

    return make


def test_wrong_labels_are_no_engine(
    workshop: Callable[..., Any],
    spec: EngineSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "x.engine"
    before = build_engine(spec, output=path, **workshop().options())
    monkeypatch.setattr(subject, "_reference", wrong_labels(0.02))
    with pytest.raises(EngineError) as caught:
        build_engine(spec, output=path, **workshop().options())
    assert str(caught.value) == (
        "the engine that TensorRT 10.13.0.35 built gives 98.00% of the labels of PyTorch FP32 on "
        "8 frames of drive.mp4 (99% are needed), so it was not kept: use --fp32, or --data with "
        "frames like yours"
    )
    # What was there is still there, and nothing else.
    assert read_manifest(path) == before.manifest
    assert checksum_problem(before) is None
    assert names(tmp_path) == ["x.engine", "x.engine.json"]
    monkeypatch.setattr(subject, "_reference", wrong_labels(0.009))
    engine = build_engine(spec, output=path, **workshop().options())
    assert engine.manifest.parity is not None
    assert engine.manifest.parity.agreement == pytest.approx(0.991, abs=1e-4)


def test_the_real_reference_is_pytorch_in_fp32_on_the_cpu(
    weights: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    from contextlib import ExitStack

    import torch

    from roadseg.models import load_weights

    frames = np.random.default_rng(0).integers(0, 256, (1, *SIZE_HW, 3), dtype=np.uint8)
    file = weights("segnet-lite")
    with ExitStack() as stack:
        labels = subject._reference(file, SIZE_HW, stack)(frames)
    model, _ = load_weights(file)
    with torch.inference_mode():
        planes = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        expected = model(planes).argmax(1).numpy()
    assert (labels == expected).all()


def test_an_engine_that_does_not_load_is_no_engine(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = workshop()

    class Runtime:
        def __init__(self, logger: Any) -> None:
            raise TypeError("nullptr")

    shop.trt.Runtime = Runtime
    with pytest.raises(BackendError, match=r"^TensorRT 10\.13\.0\.35 cannot start"):
        build_engine(spec, output=tmp_path / "out", **shop.options())
    assert names(tmp_path / "out") == []


def test_frames_are_compared_as_many_at_a_time_as_the_engine_is_tuned_for(
    workshop: Callable[..., Any],
    spec: EngineSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    def make(weights: Path, size_hw: tuple[int, int], stack: Any) -> Any:
        def infer(batch: np.ndarray) -> np.ndarray:
            sizes.append(len(batch))
            return FakeBackend(size_hw).infer(batch)

        return infer

    monkeypatch.setattr(subject, "_reference", make)
    build_engine(replace(spec, batch=(1, 3, 8)), output=tmp_path, **workshop().options())
    assert sizes == [3, 3, 2]


def test_frames_of_the_users_are_compared(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    data = tmp_path / "night.mp4"
    engine = build_engine(spec, output=tmp_path, data=data, **workshop().options())
    assert engine.manifest.parity == ParityFacts(1.0, 8, "night.mp4", "PyTorch FP32")


# The GPU.


def no_gpu() -> Any:
    raise BackendError("there is no NVIDIA driver (libcuda cannot be loaded)", fix="install it")


def test_full_tensorrt_wants_a_gpu(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    options = workshop().options() | {"open_cuda": no_gpu}
    with pytest.raises(BackendError, match="^there is no NVIDIA driver"):
        build_engine(spec, output=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_the_rtx_edition_builds_without_and_says_what_that_means(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    shop = workshop("1.7.1.116", "tensorrt-rtx")
    rtx = replace(spec, target="tensorrt-rtx", lowering="native")
    options = shop.options() | {"open_cuda": no_gpu}
    engine = build_engine(rtx, output=tmp_path, **options)
    facts = engine.manifest
    assert (facts.gpu, facts.sm) == (None, (80, 86, 89, 120))
    assert (facts.parity, facts.not_verified) == (
        None,
        "no GPU: there is no NVIDIA driver (libcuda cannot be loaded)",
    )
    assert engine.path.name.endswith("_native_tensorrt-rtx-1.7.1.116_sm80-86-89-120.engine")


def test_the_rtx_edition_compares_where_there_is_a_gpu_of_its_own(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    shop = workshop("1.7.1.116", "tensorrt-rtx")
    rtx = replace(spec, target="tensorrt-rtx", lowering="native", batch=(1, 2, 4))
    facts = build_engine(rtx, output=tmp_path, **shop.options()).manifest
    assert (facts.gpu, facts.sm) == (None, (80, 86, 89, 120))
    assert facts.parity == ParityFacts(1.0, 8, "drive.mp4", "PyTorch FP32")
    assert facts.not_verified is None


def test_an_engine_for_another_gpu_cannot_be_compared_here(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    shop = workshop("1.7.1.116", "tensorrt-rtx")
    rtx = replace(spec, target="tensorrt-rtx", lowering="native", sm=(120,))
    engine = build_engine(rtx, output=tmp_path, **shop.options())
    assert engine.manifest.not_verified == (
        f"built for compute capability 12.0, and {shop.cuda.device.name} (8.9) is here"
    )


def test_another_tensorrt_than_the_one_asked_for(
    workshop: Callable[..., Any], spec: EngineSpec
) -> None:
    shop = workshop("1.7.1.116", "tensorrt-rtx")
    with pytest.raises(UsageError) as caught:
        build_engine(spec, **shop.options())
    assert str(caught.value) == (
        "an engine for tensorrt cannot be built by TensorRT-RTX 1.7.1.116: use --target "
        "tensorrt-rtx"
    )


def test_a_gpu_of_its_own_is_closed(
    workshop: Callable[..., Any],
    spec: EngineSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = workshop()
    closed: list[int] = []

    shop.cuda.close = lambda: closed.append(1)
    monkeypatch.setattr("roadseg.cuda.load.load_cuda", lambda: shop.cuda)
    options = shop.options()
    del options["open_cuda"]
    build_engine(spec, output=tmp_path, **options)
    assert closed == [1]


# What goes wrong before and after.


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    shop = workshop()
    path = tmp_path / "file" / "x.engine"
    with pytest.raises(SinkError) as caught:
        build_engine(spec, output=path, **shop.options())
    assert str(caught.value) == (
        f"cannot write {path} ({tmp_path / 'file'} is no folder): give another folder "
        "with --output, or free the space it needs"
    )
    assert shop.world.graph is None
    (tmp_path / "x.engine").mkdir()
    with pytest.raises(SinkError) as caught:
        publish.claim_engine(tmp_path / "x.engine")
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'x.engine'}: it is a folder: give another --output"
    )


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_folder_without_permission(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(SinkError, match="Permission denied"):
            build_engine(spec, output=tmp_path / "x.engine", **workshop().options())
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("what", ["plan", "name", "manifest"])
def test_a_disk_that_is_full(
    workshop: Callable[..., Any],
    spec: EngineSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    path = tmp_path / "x.engine"
    full = OSError(28, "No space left on device")

    def fail(*args: object, **options: object) -> None:
        raise full

    if what == "plan":
        monkeypatch.setattr(os, "fsync", fail)
    elif what == "name":
        real = Path.replace
        monkeypatch.setattr(
            Path,
            "replace",
            lambda self, target: fail() if target == path else real(self, target),
        )
    else:

        def refuse(manifest: Any, target: Path) -> None:
            raise SinkError(f"cannot write {target}: No space left on device")

        monkeypatch.setattr(publish, "write_manifest", refuse)
    with pytest.raises(SinkError, match="No space left on device"):
        build_engine(spec, output=path, **workshop().options())
    monkeypatch.undo()
    assert names(tmp_path) == []


def test_what_killed_builds_left_is_cleared(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".x.engine.4711.part").write_bytes(b"half")
    (folder / ".x.engine.lock").write_text("4711")
    (folder / ".y.engine.4711.part").write_bytes(b"of another")
    build_engine(spec, output=folder / "x.engine", **workshop().options())
    assert names(folder) == [".y.engine.4711.part", "x.engine", "x.engine.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_ctrl_c_leaves_what_was_there(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    path = tmp_path / "out" / "x.engine"
    before = build_engine(spec, output=path, **workshop().options())
    shop = workshop()
    shop.world.during = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build_engine(spec, output=path, **shop.options())
    assert shop.world.steps == 2
    assert checksum_problem(before) is None
    assert read_manifest(path) == before.manifest
    assert names(path.parent) == ["x.engine", "x.engine.json"]


def test_no_such_model(workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="^unknown model 'segnat'"):
        build_engine(replace(spec, model="segnat"), **workshop().options())
    with pytest.raises(UsageError) as caught:
        build_engine(replace(spec, model="x.onnx"), **workshop().options())
    assert str(caught.value) == (
        "x.onnx is an ONNX file, no weights: use --model segnet-lite|segnet-basic, or a "
        ".safetensors file of 'roadseg train'"
    )
    missing = str(tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match="^no model file at "):
        build_engine(replace(spec, model=missing), **workshop().options())


# Two at once.


def test_the_second_takes_what_the_first_built(
    workshop: Callable[..., Any],
    spec: EngineSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "roadseg")
    path = tmp_path / "out" / "x.engine"
    shop, other = workshop(), workshop()

    def lock(engine: Path, waiting: Any) -> Any:
        # The other one comes first, all the way to the end.
        monkeypatch.setattr(subject, "build_lock", build_lock)
        build_engine(spec, output=path, **other.options())
        waiting(4711)
        return WaitedLock(engine)

    class WaitedLock:
        def __init__(self, engine: Path) -> None:
            self._lock = build_lock(engine, print)

        def __enter__(self) -> bool:
            self._lock.__enter__()
            return True

        def __exit__(self, *error: Any) -> Any:
            return self._lock.__exit__(*error)

    monkeypatch.setattr(subject, "build_lock", lock)
    engine = build_engine(spec, output=path, **shop.options())
    assert caplog.messages == [
        "process 4711 is building x.engine: waiting for it",
        "x.engine was built meanwhile",
    ]
    assert shop.world.graph is None
    assert checksum_problem(engine) is None

    # Another precision under the same name is not what was waited for.
    monkeypatch.setattr(subject, "build_lock", lock)
    fp32 = replace(spec, precision="fp32")
    engine = build_engine(fp32, output=path, **shop.options())
    assert engine.manifest.precision == "fp32"
    assert caplog.messages[2:] == ["process 4711 is building x.engine: waiting for it"]


@pytest.mark.parametrize("damage", ["older", "truncated", "gone", "weights"])
def test_the_second_builds_if_the_first_did_not(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path, damage: str
) -> None:
    shop = workshop()
    path = tmp_path / "x.engine"
    engine = build_engine(spec, output=path, **shop.options())
    given = {
        "since": engine.manifest.created,
        "runtime": shop.runtime,
        "weights_sha256": engine.manifest.weights_sha256,
    }
    assert already_built(path, spec, **given) == engine
    if damage == "older":
        given["since"] = "2999-01-01T00:00:00+00:00"
        assert already_built(path, spec, **given) is None
        return
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "gone":
        manifest_path(path).unlink()
    else:
        given["weights_sha256"] = "other"
    assert already_built(path, spec, **given) is None


def test_the_manifest_says_why_it_is_stale_later(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    shop = workshop("10.3.0.26")
    engine = build_engine(spec, output=tmp_path, **shop.options())
    newer = workshop("10.13.0.35").runtime
    assert stale_reasons(engine.manifest, runtime=newer, device=shop.cuda.device) == [
        "built by tensorrt 10.3.0.26, and 10.13.0.35 is here"
    ]
    raw = json.loads(manifest_path(engine.path).read_text())
    assert raw["gpu"]["compute_capability"] == [8, 9]


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


def test_data_that_is_not_there_is_refused_before_any_work(
    workshop: Callable[..., Any],
    spec: EngineSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from roadseg.backends.tensorrt.builder.parity import parity_frames

    monkeypatch.setattr(subject, "parity_frames", parity_frames)
    missing = tmp_path / "none"
    rtx = replace(spec, target="tensorrt-rtx", lowering="native")
    for wanted, version, changes in (
        (spec, "10.13.0.35", {}),
        (rtx, "1.7.1.116", {"open_cuda": no_gpu}),
    ):
        shop = workshop(version, wanted.target)
        states: list[Progress] = []
        options = shop.options() | changes | {"progress": states.append}
        with pytest.raises(DataError) as caught:
            build_engine(wanted, output=tmp_path, data=missing, **options)
        assert str(caught.value) == (
            f"nothing at {missing} to compare labels on: give --data a folder of images or a video "
            "file"
        )
        assert (shop.world.graph, states) == (None, [])


def test_a_probe_that_another_build_clears_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.engine"
    touch = Path.touch

    def lose(self: Path) -> None:
        touch(self)
        self.unlink()

    monkeypatch.setattr(Path, "touch", lose)
    publish.claim_engine(path)


@pytest.mark.parametrize("drop", [float("nan"), -0.1, float("inf")])
def test_drops_that_make_no_sense(spec: EngineSpec, drop: float) -> None:
    with pytest.raises(UsageError) as caught:
        replace(spec, max_drop_points=drop)
    assert str(caught.value) == (f"a drop of {drop:g} points: use for example --max-drop 0.5")


def test_int8_that_was_built_meanwhile_must_be_of_the_same_calibration(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    shop = workshop()
    path, file = tmp_path / "x.engine", tmp_path / "c.json"
    weights = build_engine(spec, output=path, **shop.options()).manifest.weights_sha256
    gate = Gate("val.txt", 9, 0.7, 0.69, 1.0, 0.99, "a test")
    scales = Calibration("segnet-lite", weights, SIZE_HW, "mse", (), {"x": 0.5}, (), gate)
    write_calibration(scales, file)
    facts = CalibrationFacts(sha256_of(file), (), 1.0, "val.txt", True)
    manifest = replace(read_manifest(path), precision="int8", calibration=facts)
    write_manifest(manifest, manifest_path(path))

    def found(calibration: Path, drop: float, force: bool = False) -> Any:
        made_with = {"calibration": calibration, "max_drop_points": drop, "force": force}
        int8 = replace(spec, precision="int8", **made_with)
        given = {"runtime": shop.runtime, "weights_sha256": weights}
        return already_built(path, int8, since=manifest.created, **given)

    assert found(file, 1.0).manifest == manifest
    assert found(file, 0.5) is None
    assert found(file, 0.5, force=True).manifest == manifest
    assert found(tmp_path / "none.json", 1.0) is None
    write_calibration(replace(scales, method="absmax"), file)
    assert found(file, 1.0) is None
