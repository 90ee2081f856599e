"""Which engine a run takes, and when it builds one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.cli import main
from roadseg.core.errors import BackendError, EngineError, SinkError, UsageError
from roadseg.cuda.failure import no_driver
from roadseg.engine.manifest import CalibrationFacts, Gpu, manifest_path
from roadseg.engine.spec import EngineSpec
from roadseg.engine.store import EngineFile
from roadseg.loading import tensorrt
from roadseg.loading.choice import choose
from roadseg.loading.segmenter import Segmenter
from roadseg.loading.tensorrt import has_engine
from roadseg.testing.cuda import SimulatedCuda
from roadseg.weights import ModelFile, resolve_model
from roadseg.weights.calibration import shipped_calibration
from roadseg.weights.manifest import sha256_of

SIZE_HW = (64, 96)
WEIGHTS = resolve_model("segnet-lite", "torch").sha256


class Bench:
    """A machine with a GPU: a folder of engines, and what was said and built."""

    def __init__(
        self,
        rig: Any,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        self.cuda = SimulatedCuda()
        self.trt, self.world = rig.make(self.cuda)
        caplog.set_level("INFO", "roadseg")
        self._caplog = caplog
        self.built: list[EngineSpec] = []
        self.target = "tensorrt"
        self.folder = folder
        self._rig = rig
        monkeypatch.setattr(tensorrt, "shared_cuda", lambda: self.cuda)
        monkeypatch.setattr(tensorrt, "load_runtime", self._load_runtime)
        monkeypatch.setattr(tensorrt, "build_engine", self._build)
        monkeypatch.setattr("roadseg.engine.store.engines_dir", lambda: folder)
        monkeypatch.setattr("roadseg.backends.tensorrt.plugin.register_plugins", lambda trt: None)

    def add(self, name: str, *, size_hw: tuple[int, int] = SIZE_HW, **manifest: Any) -> EngineFile:
        batch = manifest.get("batch", (1, 1, 1))
        fields = {"weights_sha256": WEIGHTS, "lowering": "plugin", **manifest}
        plan = self._rig.plan((batch[0], batch[2]), size_hw, name=name)
        return self._rig.engine_file(self.folder / f"{name}.engine", plan, **fields)

    @property
    def lines(self) -> list[str]:
        """What was logged."""
        return self._caplog.messages

    def open(self, model: str = "segnet-lite", size_hw: tuple[int, int] = SIZE_HW) -> Any:
        return choose(model, "tensorrt").open(size_hw, progress=print)

    def _load_runtime(self, target: str) -> Any:
        return self._rig.runtime(self.trt, self.target if target == "auto" else target)

    def _build(
        self, spec: EngineSpec, *, weights: ModelFile, runtime: Any, progress: Any
    ) -> EngineFile:
        assert weights.sha256 == WEIGHTS
        assert runtime.target == spec.target
        assert callable(progress)
        logging.getLogger("roadseg.backends").info("TensorRT says something")
        self.built.append(spec)
        self.world.fail.clear()
        return self.add("built", size_hw=spec.size_hw, target=spec.target, lowering=spec.lowering)


@pytest.fixture
def bench(
    rig: Any,
    tmp_path: Path,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Bench:
    return Bench(rig, tmp_path / "engines", monkeypatch, caplog)


BUILDING = (
    "building segnet-lite in FP16 for 64x96 frames on Simulated GPU with TensorRT 10.13.0: "
    "some minutes, once"
)


def test_an_engine_that_fits_is_used(bench: Bench) -> None:
    bench.add("mine")
    backend = bench.open()
    frames = np.random.default_rng(0).integers(0, 256, (1, *SIZE_HW, 3), dtype=np.uint8)
    np.testing.assert_array_equal(backend.infer(frames), FakeBackend(SIZE_HW).infer(frames))
    assert (bench.built, bench.lines) == ([], [])


def test_without_an_engine_one_is_built(bench: Bench) -> None:
    bench.add("other", size_hw=(32, 32))
    backend = bench.open()
    assert backend.info.precision == "fp16"
    assert bench.lines == [BUILDING, "TensorRT says something"]
    assert bench.built == [
        EngineSpec("segnet-lite", "fp16", SIZE_HW, (1, 1, 1), "tensorrt", "plugin")
    ]
    bench.open()
    assert len(bench.built) == 1, "the second start finds it"


def test_tensorrt_rtx_gets_the_native_lowering(bench: Bench) -> None:
    bench.target = "tensorrt-rtx"
    bench.add("mine")  # for full TensorRT
    backend = bench.open()
    assert backend.info.name == "tensorrt-rtx"
    assert bench.built[0].lowering == "native"
    assert bench.lines[0] == (
        "building segnet-lite in FP16 for 64x96 frames on Simulated GPU with TensorRT-RTX 10.13.0: "
        "about a minute, once"
    )


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (
            {"tensorrt_version": "10.3.0.26"},
            "built by tensorrt 10.3.0.26, and 10.13.0 is here",
        ),
        (
            {"gpu": Gpu("NVIDIA Thing", (7, 5))},
            "built on NVIDIA Thing (7.5), and Simulated GPU (8.9) is here",
        ),
        (
            {"weights_sha256": "0123456789abcdef"},
            f"the weights have changed (sha256 0123456789ab, now {WEIGHTS[:12]})",
        ),
        ({"export_sha256": "of yesterday"}, "roadseg's export has changed"),
    ],
)
def test_a_stale_engine_is_explained_and_built_again(
    bench: Bench, manifest: dict[str, Any], reason: str
) -> None:
    bench.add("old", **manifest)
    bench.add("other", precision="int8")
    bench.open()
    assert bench.lines[0] == f"the engine old.engine does not fit: {reason}"
    assert bench.lines[1] == BUILDING
    assert len(bench.built) == 1


def test_an_engine_that_cannot_be_loaded_is_explained_and_built_again(bench: Bench) -> None:
    engine = bench.add("old")
    bench.world.fail.add("deserialize")
    bench.open()
    assert bench.lines[0] == (
        f"{engine.path} cannot be loaded by TensorRT 10.13.0 (Cuda Runtime (an illegal access)): "
        f"build it again: {engine.manifest.build_command()}"
    )
    assert bench.lines[1] == BUILDING


@pytest.mark.parametrize(
    "manifest",
    [
        {"precision": "int8"},
        {"precision": "fp32"},
        {"lowering": "native"},
        {"portable": True},
        {"batch": (1, 4, 8)},
    ],
)
def test_what_the_user_has_built_is_used(bench: Bench, manifest: dict[str, Any]) -> None:
    bench.add("mine", **manifest)
    bench.open().close()
    assert (bench.built, bench.lines) == ([], [])


def test_fp16_is_preferred(bench: Bench) -> None:
    for precision in ("fp32", "fp16", "int8"):
        bench.add(precision, precision=precision)
    assert bench.open().info.precision == "fp16"
    (bench.folder / "fp16.engine").unlink()
    assert bench.open().info.precision == "int8"


# An engine that the user names.


def test_the_named_engine_is_what_runs(bench: Bench) -> None:
    engine = bench.add("mine", weights_sha256="others", export_sha256="of yesterday")
    bench.add("better")
    with Segmenter(str(engine.path)) as segmenter:
        assert segmenter.size_hw == SIZE_HW
        assert segmenter(np.zeros((360, 480, 3), np.uint8)).network_ids.shape == SIZE_HW
        assert segmenter.depth == 2
    assert bench.built == []


def test_a_named_engine_of_another_size(bench: Bench) -> None:
    engine = bench.add("mine")
    segmenter = Segmenter(str(engine.path))
    for refused in (
        lambda: Segmenter(str(engine.path), size_hw=(32, 32)),
        lambda: segmenter.infer(np.zeros((32, 32, 3), np.uint8)),
    ):
        with pytest.raises(UsageError) as caught:
            refused()
        assert str(caught.value) == f"{engine.path} takes 64x96 frames only: use size_hw=(64, 96)"


def test_a_named_engine_that_does_not_fit_is_refused(bench: Bench) -> None:
    engine = bench.add("mine", tensorrt_version="10.3.0", gpu=Gpu("Thing", (7, 5)))
    with pytest.raises(EngineError) as caught:
        bench.open(str(engine.path))
    assert str(caught.value) == (
        f"{engine.path} does not fit: built by tensorrt 10.3.0, and 10.13.0 is here; built on "
        "Thing (7.5), and Simulated GPU (8.9) is here: build it again: 'roadseg build-engine "
        "--model segnet-lite --fp16 --size 64x96 --target tensorrt'"
    )
    assert (bench.built, bench.lines) == ([], [])


def test_a_portable_engine_holds_its_kernels(bench: Bench) -> None:
    engine = bench.add("mine", portable=True, kernels_sha256="of yesterday")
    bench.open(str(engine.path)).close()
    engine = bench.add("mine", kernels_sha256="of yesterday")
    with pytest.raises(EngineError, match="does not fit: roadseg's kernels have changed: build"):
        bench.open(str(engine.path))


def test_a_named_engine_that_is_not_there(bench: Bench) -> None:
    with pytest.raises(EngineError) as caught:
        bench.open("none.engine")
    assert str(caught.value) == ("no engine at none.engine: build one with 'roadseg build-engine'")


# From the command line.


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(9):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((48, 64, 3), index * 28, np.uint8))
    return folder


def run(images: Path, masks: Path, *options: object) -> int:
    words = ["run", "--source", images, "--save-masks", masks, *options]
    return main([str(word) for word in words])


def test_a_run_builds_an_engine_and_labels_every_frame(
    bench: Bench, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = tmp_path / "masks"
    assert run(images, masks, "--backend", "tensorrt", "--size", "64x96") == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [BUILDING, "TensorRT says something"]
    assert captured.out.startswith("9 frames at ")
    assert "(segnet-lite on tensorrt, input 64x96)" in captured.out
    for index in range(9):
        mask = cv2.imread(str(masks / f"{index}.png"), cv2.IMREAD_UNCHANGED)
        assert (mask == index * 28 * 11 // 256).all()
    assert (bench.cuda.live_bytes, bench.cuda.live_objects) == (0, 0)
    assert run(images, tmp_path / "again", "--backend", "tensorrt", "--size", "64x96") == 0
    assert capsys.readouterr().err == "", "it is built once"


def test_a_run_takes_the_engine_that_is_named(
    bench: Bench, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = bench.add("mine", size_hw=(45, 60))
    assert run(images, tmp_path / "masks", "--model", engine.path) == 0
    assert "(segnet-lite on tensorrt, input 45x60)" in capsys.readouterr().out
    assert run(images, tmp_path / "masks", "--model", engine.path, "--size", "32x32") == 2
    assert capsys.readouterr().err == (
        f"error: {engine.path} takes 45x60 frames only: use --size 45x60\n"
    )


def test_a_named_engine_that_does_not_fit_ends_the_run_with_9(
    bench: Bench, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = bench.add("mine")
    engine.path.write_bytes(engine.path.read_bytes()[:-1])
    assert run(images, tmp_path / "masks", "--model", engine.path) == 9
    captured = capsys.readouterr()
    size = engine.manifest.plan_bytes
    assert captured.err == (
        f"error: {engine.path} cannot be used: the file is truncated ({size - 1} of {size} bytes): "
        f"copy it again, or build it again: {engine.manifest.build_command()}\n"
    )


def test_bench_and_eval_build_engines_too(
    bench: Bench, images: Path, tiny_camvid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--backend", "tensorrt", "--size", "64x96"]
    words = ["bench", "--source", str(images), "--frames", "3", "--no-output", *options]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [BUILDING, "TensorRT says something"]
    assert "segnet-lite fp16 on tensorrt" in captured.out
    assert main(["eval", "--data", str(tiny_camvid), *options]) == 0
    assert capsys.readouterr().err == ""
    engine = bench.add("mine", size_hw=(45, 60))
    assert main(["eval", "--data", str(tiny_camvid), "--model", str(engine.path)]) == 0
    assert "input 45x60" in capsys.readouterr().out


# What is said where there is no GPU.


def test_an_explicit_tensorrt_tells_what_is_missing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise BackendError("there is no NVIDIA driver", fix="install one")

    monkeypatch.setattr(tensorrt, "shared_cuda", fail)
    segmenter = Segmenter(backend="tensorrt")
    with pytest.raises(BackendError, match="^there is no NVIDIA driver: install one$"):
        segmenter.prepare((360, 480))


def test_sizes_out_of_range(bench: Bench) -> None:
    with pytest.raises(UsageError) as caught:
        bench.open(size_hw=(31, 64))
    assert str(caught.value) == (
        "network input 31x64: its sides must be 32 to 4096: use for example size_hw=(352, 480)"
    )


def test_a_truncated_engine_is_named_also_without_a_driver(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise BackendError("there is no NVIDIA driver", fix="install one")

    monkeypatch.setattr(tensorrt, "shared_cuda", fail)
    engine = bench.add("mine")
    engine.path.write_bytes(engine.path.read_bytes()[:-1])
    with pytest.raises(EngineError, match=r"cannot be used: the file is truncated \("):
        bench.open(str(engine.path))


def test_an_engine_without_a_driver_is_not_sent_to_a_backend_that_does_not_take_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise no_driver()

    monkeypatch.setattr(tensorrt, "shared_cuda", fail)
    engine = bench.add("mine")
    with pytest.raises(BackendError) as caught:
        bench.open(str(engine.path))
    assert str(caught.value) == (
        f"{engine.path} needs an NVIDIA GPU with TensorRT, and there is no NVIDIA driver (libcuda "
        "cannot be loaded): install it from https://www.nvidia.com/drivers, or run the network "
        'that it is of, on what is there, with model="segnet-lite"'
    )


def test_damaged_manifests_are_told_once(bench: Bench) -> None:
    bad = bench.add("bad")
    manifest_path(bad.path).write_text("{")
    bench.open()
    path = manifest_path(bad.path)
    assert bench.lines[0] == (
        f"{path} is damaged (no JSON): build the engine again with 'roadseg build-engine'"
    )
    assert bench.lines[1] == BUILDING


def test_an_int8_engine_of_another_calibration_is_explained(bench: Bench) -> None:
    now = CalibrationFacts(sha256_of(shipped_calibration("segnet-lite")), (), 0.1, "val.txt", False)
    bench.add("mine", precision="int8", calibration=now)
    assert bench.open().info.precision == "int8"
    assert bench.lines == []
    old = CalibrationFacts("0" * 64, (), 0.1, "val.txt", False)
    engine = bench.add("mine", precision="int8", calibration=old)
    assert bench.open().info.precision == "fp16"
    assert bench.lines[0] == (
        "the engine mine.engine does not fit: the calibration has changed: to build it again: "
        f"{engine.manifest.build_command()}"
    )
    assert bench.lines[1] == BUILDING


def test_an_engine_of_a_calibration_of_the_users_own(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text("{}")
    facts = CalibrationFacts(sha256_of(file), (), 0.1, "val.txt", False, str(file))
    engine = bench.add("mine", precision="int8", calibration=facts)
    assert engine.manifest.build_command().endswith(f" --calibration {file}'")
    assert bench.open().info.precision == "int8"
    file.write_text("{ }")
    bench.open()
    assert "does not fit: the calibration has changed" in bench.lines[0]


def test_a_folder_for_engines_that_cannot_be_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise SinkError(
            "cannot write the engine x (Permission denied)",
            fix="give another folder with --output, or free the space it needs",
        )

    monkeypatch.setattr(tensorrt, "build_engine", fail)
    with pytest.raises(SinkError) as caught:
        bench.open()
    assert str(caught.value) == (
        "cannot write the engine x (Permission denied): make room for it there, or build it "
        "elsewhere with 'roadseg build-engine --output FILE.engine' and use model=\"FILE.engine\""
    )


def test_whether_there_is_an_engine_is_found_out_in_silence(bench: Bench) -> None:
    file = resolve_model("segnet-lite", "tensorrt")
    assert not has_engine("segnet-lite", file, SIZE_HW)
    bench.add("other", size_hw=(32, 32))
    bench.add("stale", weights_sha256="0" * 64)
    assert not has_engine("segnet-lite", file, SIZE_HW)
    bench.add("mine")
    assert has_engine("segnet-lite", file, SIZE_HW)
    assert (bench.built, bench.lines) == ([], [])
