"""Every finding of the doctor: level, whole text, fix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadseg.doctor.checkup import Surroundings, judge
from roadseg.doctor.probing import Probe
from roadseg.doctor.processor import check_processor, check_speed
from roadseg.doctor.report import Finding
from roadseg.loading.ladder.kept import Kept, keep, this_machine
from roadseg.loading.ladder.rungs import Rung

Machine = Callable[..., Surroundings]

DRIVERS = "update it from https://www.nvidia.com/drivers, or use --backend openvino"
REINSTALL = "pip install --force-reinstall --no-deps roadseg"
CRASHED = Probe(kind="crashed", error="ends Python with SIGSEGV")
HUNG = Probe(kind="hung", error="does not answer within 30 s")


def missing(module: str) -> Probe:
    return Probe(
        kind="missing", error=f"ModuleNotFoundError: No module named {module!r}", module=module
    )


def failed(error: str) -> Probe:
    return Probe(kind="failed", error=error)


def gpu_facts(**changes: Any) -> Probe:
    facts = {
        "library": True,
        "error": None,
        "driver": "580.65.06",
        "cuda": [13, 0],
        "gpus": [{"name": "RTX 4090", "compute_capability": [8, 9], "bytes": 24 * 2**30}],
    }
    return Probe(facts | changes)


def of(check: str, around: Surroundings) -> list[tuple[str, str, str | None]]:
    return [(f.level.value, f.text, f.fix) for f in judge(around).findings if f.check == check]


@pytest.mark.parametrize(
    ("probe", "found"),
    [
        (Probe({"version": "2026.4.1", "devices": ["CPU"]}), ("ok", "2026.4.1 on CPU", None)),
        (
            Probe({"version": "2026.4.1", "devices": ["CPU", "GPU"]}),
            ("ok", "2026.4.1 on CPU, GPU", None),
        ),
        (
            Probe({"version": "2026.4.1", "devices": ["GPU"]}),
            (
                "problem",
                "2026.4.1 finds no CPU to run on",
                "pip install --force-reinstall openvino",
            ),
        ),
        (missing("openvino"), ("problem", "not installed", "pip install roadseg")),
        (
            missing("numpy"),
            ("problem", "needs numpy, which is not installed", "pip install roadseg"),
        ),
        (
            failed("ImportError: libtbb.so.12: cannot open shared object file"),
            (
                "problem",
                "cannot be loaded (ImportError: libtbb.so.12: cannot open shared object file)",
                "pip install --force-reinstall openvino",
            ),
        ),
        (
            CRASHED,
            (
                "problem",
                "cannot be loaded: it ends Python with SIGSEGV",
                "pip install --force-reinstall openvino",
            ),
        ),
        (
            HUNG,
            (
                "problem",
                "cannot be loaded: it does not answer within 30 s",
                "pip install --force-reinstall openvino",
            ),
        ),
    ],
)
def test_openvino(machine: Machine, gpu_machine: Machine, probe: Probe, found: Any) -> None:
    assert of("openvino", machine(openvino=probe)) == [found]
    # Where the GPU does the work, it is not needed.
    level = "note" if found[0] == "problem" else found[0]
    assert of("openvino", gpu_machine(openvino=probe)) == [(level, *found[1:])]


@pytest.mark.parametrize(
    ("probe", "found"),
    [
        (
            Probe({"version": "4.12.0", "gui": "QT5", "obstacle": None}),
            ("ok", "4.12.0 with windows (QT5)", None),
        ),
        (
            Probe({"version": "4.12.0", "gui": None, "obstacle": "no"}),
            (
                "note",
                "4.12.0 was built without windows: only --output shows the result",
                "pip uninstall -y opencv-python-headless opencv-python; pip install opencv-python",
            ),
        ),
        (missing("cv2"), ("problem", "not installed", "pip install roadseg")),
        (
            failed("ImportError: libGL.so.1: cannot open shared object file: No such file"),
            (
                "problem",
                "OpenCV cannot load (libGL.so.1 is missing)",
                "apt install libgl1 libglib2.0-0, or pip uninstall opencv-python and pip install "
                "opencv-python-headless (no window, everything else works)",
            ),
        ),
        (
            failed("AttributeError: _ARRAY_API not found"),
            (
                "problem",
                "cannot be loaded (AttributeError: _ARRAY_API not found)",
                "pip install --force-reinstall opencv-python",
            ),
        ),
    ],
)
def test_opencv(machine: Machine, probe: Probe, found: Any) -> None:
    assert of("opencv", machine(opencv=probe)) == [found]


@pytest.mark.parametrize(
    ("gui", "obstacle", "found"),
    [
        ("QT5", None, ("ok", "windows can be shown", None)),
        (
            "QT5",
            "there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set",
            (
                "note",
                "no window, only --output shows the result: there is no display: neither DISPLAY "
                "nor WAYLAND_DISPLAY is set",
                None,
            ),
        ),
        (
            "QT5",
            "the display :9 does not answer",
            (
                "note",
                "no window, only --output shows the result: the display :9 does not answer",
                "unset DISPLAY, or log in again with ssh -X",
            ),
        ),
        (
            None,
            "this OpenCV was built without windows (opencv-python-headless)",
            (
                "note",
                "no window, only --output shows the result: this OpenCV was built without windows "
                "(opencv-python-headless)",
                None,
            ),
        ),
    ],
)
def test_display(machine: Machine, gui: Any, obstacle: Any, found: Any) -> None:
    probe = Probe({"version": "4.12.0", "gui": gui, "obstacle": obstacle})
    assert of("display", machine(opencv=probe)) == [found]


def test_display_without_opencv(machine: Machine) -> None:
    assert of("display", machine(opencv=CRASHED)) == [
        ("note", "not known: OpenCV does not load", None)
    ]


@pytest.mark.parametrize(
    ("probe", "found"),
    [
        (
            Probe({"version": "17.0", "encoder": "libx264"}),
            ("ok", "PyAV 17.0 writes H.264 with x264", None),
        ),
        (
            Probe({"version": "17.0", "encoder": "libopenh264"}),
            (
                "note",
                "PyAV 17.0 has no x264: OpenH264 makes larger files",
                "pip install --force-reinstall av",
            ),
        ),
        (
            Probe({"version": "17.0", "encoder": "mpeg4"}),
            (
                "note",
                "PyAV 17.0 has no H.264 encoder: browsers do not play its MPEG-4 part 2",
                "pip install --force-reinstall av",
            ),
        ),
        (
            Probe({"version": "17.0", "encoder": None}),
            (
                "problem",
                "PyAV 17.0 has no encoder for .mp4 files",
                "pip install --force-reinstall av",
            ),
        ),
        (missing("av"), ("problem", "PyAV: not installed", "pip install roadseg")),
    ],
)
def test_video(machine: Machine, probe: Probe, found: Any) -> None:
    assert of("video", machine(video=probe)) == [found]


NO_LIBRARY = {"library": False, "driver": None, "cuda": None, "gpus": []}


@pytest.mark.parametrize(
    ("probe", "around", "found"),
    [
        (
            gpu_facts(),
            {},
            ("ok", "RTX 4090 (compute 8.9, 24 GiB), driver 580.65.06, CUDA 13.0", None),
        ),
        (
            gpu_facts(
                driver=None,
                cuda=[12, 6],
                gpus=[{"name": "Orin", "compute_capability": [8, 7], "bytes": 8 * 2**30}] * 2,
            ),
            {},
            ("ok", "Orin (compute 8.7, 8 GiB); Orin (compute 8.7, 8 GiB), CUDA 12.6", None),
        ),
        (gpu_facts(**NO_LIBRARY), {}, ("note", "no NVIDIA GPU: frames run on the CPU", None)),
        (
            gpu_facts(**NO_LIBRARY),
            {"nvidia_hardware": True},
            (
                "note",
                "an NVIDIA GPU without its driver (libcuda cannot be loaded)",
                "install it from https://www.nvidia.com/drivers",
            ),
        ),
        (
            gpu_facts(**NO_LIBRARY),
            {"nvidia_hardware": True, "in_container": True},
            (
                "note",
                "an NVIDIA GPU, which this container may not use",
                "start the container with --gpus all",
            ),
        ),
        (
            gpu_facts(cuda=[11, 4]),
            {},
            (
                "note",
                "the NVIDIA driver is too old: it runs CUDA 11.4 and CUDA 12.0 is needed",
                DRIVERS,
            ),
        ),
        (
            gpu_facts(error="CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", gpus=[]),
            {},
            (
                "note",
                "the NVIDIA driver was updated while in use (CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)",
                "restart the machine, or use --backend openvino",
            ),
        ),
        (
            gpu_facts(gpus=[]),
            {},
            (
                "note",
                "no NVIDIA GPU is visible to this process (CUDA_ERROR_NO_DEVICE)",
                "look at 'nvidia-smi' and at CUDA_VISIBLE_DEVICES, or use --backend openvino",
            ),
        ),
        (
            HUNG,
            {},
            (
                "note",
                "the NVIDIA driver cannot be asked: it does not answer within 30 s",
                "nvidia-smi",
            ),
        ),
    ],
)
def test_gpu(machine: Machine, probe: Probe, around: dict[str, Any], found: Any) -> None:
    assert of("gpu", machine(gpu=probe, **around)) == [found]


@pytest.mark.parametrize("check", ["cuda", "nvrtc"])
@pytest.mark.parametrize(
    "gpu", [gpu_facts(**NO_LIBRARY), gpu_facts(cuda=[11, 4]), gpu_facts(error="x"), CRASHED]
)
def test_without_a_gpu_its_libraries_do_not_matter(
    machine: Machine, check: str, gpu: Probe
) -> None:
    assert of(check, machine(gpu=gpu)) == [("note", "not used: there is no GPU", None)]


@pytest.mark.parametrize(
    ("probe", "found"),
    [
        (
            Probe({"name": "cuda-bindings 13.5.0", "graphs": True}),
            ("ok", "cuda-bindings 13.5.0", None),
        ),
        (
            Probe({"name": "pycuda 2026.1", "graphs": False}),
            (
                "note",
                "pycuda 2026.1 has no CUDA graphs: frames take longer",
                "pip install 'roadseg[tensorrt]'",
            ),
        ),
        (
            Probe(
                kind="explained",
                error="the CUDA library for Python is not installed",
                fix="pip install 'roadseg[x]'",
            ),
            (
                "note",
                "the CUDA library for Python is not installed",
                "pip install 'roadseg[x]'",
            ),
        ),
        (
            CRASHED,
            (
                "note",
                "cannot be loaded: it ends Python with SIGSEGV",
                "pip install --force-reinstall cuda-bindings",
            ),
        ),
    ],
)
def test_cuda(gpu_machine: Machine, probe: Probe, found: Any) -> None:
    assert of("cuda", gpu_machine(cuda=probe)) == [found]


@pytest.mark.parametrize(
    ("probe", "cuda", "found"),
    [
        (Probe({"version": "13.0"}), [13, 2], ("ok", "NVRTC 13.0", None)),
        (Probe({"version": "13.5"}), [13, 0], ("ok", "NVRTC 13.5", None)),
        (
            Probe({"version": "13.5"}),
            [12, 4],
            (
                "problem",
                "NVRTC 13.5 is newer than the driver, which runs CUDA 12.4",
                "pip install 'roadseg[tensorrt-cu12]', or update the driver",
            ),
        ),
        (
            missing("cuda"),
            [13, 0],
            (
                "problem",
                "NVRTC: not installed",
                "pip install 'roadseg[tensorrt]'",
            ),
        ),
        (
            failed("RuntimeError: libnvrtc.so.12 not found"),
            [12, 6],
            (
                "problem",
                "NVRTC: cannot be loaded (RuntimeError: libnvrtc.so.12 not found)",
                "pip install 'roadseg[tensorrt-cu12]'",
            ),
        ),
    ],
)
def test_nvrtc(gpu_machine: Machine, probe: Probe, cuda: list[int], found: Any) -> None:
    gpu = gpu_facts(cuda=cuda)
    assert of("nvrtc", gpu_machine(nvrtc=probe, gpu=gpu)) == [found]
    # TensorRT-RTX and the other backends run without our kernels.
    softer = ("note", *found[1:]) if found[0] == "problem" else found
    rtx = Probe({"target": "tensorrt-rtx", "version": "1.7.1"})
    assert of("nvrtc", gpu_machine(nvrtc=probe, gpu=gpu, tensorrt=rtx)) == [softer]
    torch = Probe({"backend": "torch", "torch": True, "onnx": True})
    assert of("nvrtc", gpu_machine(nvrtc=probe, gpu=gpu, backend=torch)) == [softer]


@pytest.mark.parametrize(
    ("probe", "with_gpu", "without"),
    [
        (
            Probe({"target": "tensorrt", "version": "10.13.0.35"}),
            ("ok", "TensorRT 10.13.0.35", None),
            ("note", "TensorRT 10.13.0.35, not used: there is no GPU", None),
        ),
        (
            Probe({"target": "tensorrt-rtx", "version": "1.7.1.116"}),
            ("ok", "TensorRT-RTX 1.7.1.116", None),
            ("note", "TensorRT-RTX 1.7.1.116, for building alone: there is no GPU", None),
        ),
        (
            Probe(kind="explained", error="TensorRT is not installed", fix="pip install tensorrt"),
            ("note", "TensorRT is not installed", "pip install tensorrt"),
            ("note", "not used: there is no GPU", None),
        ),
        (
            CRASHED,
            (
                "note",
                "cannot be loaded: it ends Python with SIGSEGV",
                "pip install --force-reinstall tensorrt",
            ),
            ("note", "not used: there is no GPU", None),
        ),
    ],
)
def test_tensorrt(
    machine: Machine, gpu_machine: Machine, probe: Probe, with_gpu: Any, without: Any
) -> None:
    assert of("tensorrt", gpu_machine(tensorrt=probe)) == [with_gpu]
    assert of("tensorrt", machine(tensorrt=probe)) == [without]


@pytest.mark.parametrize(
    ("backend", "with_gpu", "without"),
    [
        (
            "openvino",
            ("note", "auto is openvino, which leaves the GPU unused: see below", None),
            ("ok", "auto is openvino", None),
        ),
        (
            "torch",
            ("note", "auto is torch, which is slower on a GPU than TensorRT: see below", None),
            ("ok", "auto is torch", None),
        ),
        ("tensorrt", ("ok", "auto is tensorrt", None), ("ok", "auto is tensorrt", None)),
    ],
)
def test_backend(
    machine: Machine, gpu_machine: Machine, backend: str, with_gpu: Any, without: Any
) -> None:
    probe = Probe({"backend": backend, "torch": True, "onnx": True})
    assert of("backend", gpu_machine(backend=probe)) == [with_gpu]
    assert of("backend", machine(backend=probe)) == [without]


def test_no_backend(machine: Machine) -> None:
    assert of("backend", machine(backend=CRASHED)) == [
        (
            "problem",
            "auto does not work (ends Python with SIGSEGV)",
            "roadseg run --backend openvino",
        )
    ]


def test_the_builder_without_a_gpu(machine: Machine) -> None:
    complete = Probe({"backend": "openvino", "torch": True, "onnx": True})
    rtx = Probe({"target": "tensorrt-rtx", "version": "1.7.1"})
    full = Probe({"target": "tensorrt", "version": "10.13"})
    unused = "not used: there is no GPU, and no TensorRT-RTX, which builds without one"
    able = "PyTorch and ONNX are installed: engines for RTX cards can be built here"
    assert of("builder", machine(backend=complete)) == [("note", unused, None)]
    assert of("builder", machine(backend=complete, tensorrt=full)) == [("note", unused, None)]
    assert of("builder", machine(backend=complete, tensorrt=rtx)) == [("ok", able, None)]
    assert of("builder", machine(tensorrt=rtx)) == [
        (
            "note",
            "torch and onnx not installed: engines cannot be built",
            "pip install 'roadseg[export]'",
        )
    ]


@pytest.mark.parametrize(
    ("flags", "machine_name", "found"),
    [
        (
            "flags : fpu avx2 avx512_vnni amx_int8",
            "x86_64",
            ("ok", "AVX2 and VNNI and AMX: INT8 is as fast as it gets on a CPU"),
        ),
        (
            "flags : avx2 avx_vnni",
            "x86_64",
            ("ok", "AVX2 and VNNI, no AMX: INT8 runs on instructions of its own"),
        ),
        (
            "processor : 0\nflags : avx2",
            "x86_64",
            (
                "ok",
                "AVX2, no VNNI and no AMX: INT8 takes several instructions for one, and is still "
                "faster than FP32",
            ),
        ),
        (
            "flags : sse2",
            "x86_64",
            ("note", "x86_64, no AVX2 and no VNNI and no AMX: INT8 and FP32 both run slowly"),
        ),
        (
            "Features : fp asimddp",
            "aarch64",
            ("ok", "dot product, no I8MM: INT8 runs on instructions of its own"),
        ),
        (
            "",
            "arm64",
            ("note", "arm64; which instructions for INT8 it has is not known on this system"),
        ),
    ],
)
def test_processor(flags: str, machine_name: str, found: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    if flags:
        path.write_text(flags)
    finding = check_processor(path, machine_name)
    assert (finding.level.value, finding.text) == found


def test_what_holds_the_network_to_older_instructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("flags : avx2 avx_vnni")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    finding = check_processor(tmp_path / "cpuinfo", "x86_64")
    assert finding.text.endswith("; ONEDNN_MAX_CPU_ISA holds the network to AVX2")
    assert finding.facts["limit"] == "AVX2"


def test_how_fast_networks_are(own_cache: Path) -> None:
    finding = check_speed()
    assert (finding.level.value, finding.text, finding.fix) == (
        "note",
        "not timed yet: 'roadseg run' does so once, in at most 3 seconds",
        None,
    )
    rungs = {Rung("segnet-lite", 90112, 0.7): 11.2, Rung("segnet-lite", 168960, 0.73): 20.6}
    kept = Kept(this_machine("openvino", None)).adding(rungs, (360, 480), {})
    assert keep(kept)
    finding = check_speed()
    assert (finding.level.value, finding.text) == (
        "ok",
        "segnet-lite 352x480 21 ms, segnet-lite 256x352 11 ms a frame, the network alone",
    )
    assert finding.facts["times"][1] == {"model": "segnet-lite", "size_hw": [256, 352], "ms": 11.2}


@pytest.mark.parametrize(
    ("facts", "text", "fix"),
    [
        (
            {"torch": False, "onnx": True},
            "torch not installed: engines cannot be built",
            "pip install 'roadseg[export]'",
        ),
        (
            {"torch": False, "onnx": False},
            "torch and onnx not installed: engines cannot be built",
            "pip install 'roadseg[export]'",
        ),
    ],
)
def test_builder(gpu_machine: Machine, facts: dict[str, bool], text: str, fix: str | None) -> None:
    complete = Probe({"backend": "tensorrt", "torch": True, "onnx": True})
    assert of("builder", gpu_machine(backend=complete)) == [
        ("ok", "PyTorch and ONNX are installed", None)
    ]
    for backend, level in (("tensorrt", "problem"), ("openvino", "note")):
        probe = Probe({"backend": backend, **facts})
        assert of("builder", gpu_machine(backend=probe)) == [(level, text, fix)]


def test_weights(machine: Machine) -> None:
    assert of("weights", machine()) == [("ok", "segnet-lite (openvino int8, torch fp16)", None)]


def test_damaged_weights(machine: Machine, gpu_machine: Machine, weights_dir: Path) -> None:
    (weights_dir / "lite.bin").write_text("other")
    broken = "segnet-lite for openvino: lite.bin is damaged (wrong checksum)"
    rest = ("ok", "segnet-lite (torch fp16)", None)
    assert of("weights", machine()) == [("problem", broken, REINSTALL), rest]
    # Engines are built from PyTorch's.
    assert of("weights", gpu_machine()) == [("note", broken, REINSTALL), rest]


def test_missing_weights(machine: Machine, gpu_machine: Machine, weights_dir: Path) -> None:
    (weights_dir / "lite.safetensors").unlink()
    broken = "segnet-lite for torch: lite.safetensors is missing"
    rest = ("ok", "segnet-lite (openvino int8)", None)
    assert of("weights", machine()) == [("note", broken, REINSTALL), rest]
    assert of("weights", gpu_machine()) == [("problem", broken, REINSTALL), rest]


def test_unreadable_weights(machine: Machine, weights_dir: Path) -> None:
    (weights_dir / "lite.safetensors").unlink()
    (weights_dir / "lite.safetensors").mkdir()
    assert of("weights", machine())[0] == (
        "note",
        "segnet-lite for torch: lite.safetensors cannot be read (Is a directory)",
        REINSTALL,
    )


def test_no_weights_at_all(machine: Machine, tmp_path: Path) -> None:
    assert of("weights", machine(weights_dir=lambda: tmp_path / "nothing")) == [
        (
            "problem",
            f"segnet-lite is not here: {tmp_path}/nothing lists no openvino file of it",
            REINSTALL,
        )
    ]


def test_damaged_manifest(machine: Machine, weights_dir: Path) -> None:
    (weights_dir / "manifest.json").write_text("{")
    ((level, text, fix),) = of("weights", machine())
    assert (level, fix) == ("problem", REINSTALL)
    assert text.startswith(f"{weights_dir}/manifest.json is damaged (no JSON)")


def test_no_shadows(machine: Machine) -> None:
    assert of("shadows", machine()) == [("ok", "none hides a package", None)]


def test_a_file_that_would_be_in_the_way_of_scripts(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "tensorrt.py").write_text("")
    assert of("shadows", machine()) == [
        (
            "note",
            f"{tmp_path}/tensorrt.py hides the package tensorrt from 'python -m roadseg' and your "
            "scripts",
            f"mv {tmp_path}/tensorrt.py {tmp_path}/my_tensorrt.py",
        )
    ]


def test_a_package_that_would_be_in_the_way(machine: Machine, tmp_path: Path) -> None:
    folder = tmp_path / "with space" / "cuda"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    ((_, text, fix),) = of("shadows", machine(working_dir=tmp_path / "with space"))
    assert text.startswith(f"{folder}/__init__.py hides the package cuda from")
    assert fix == f"mv '{folder}' '{tmp_path}/with space/my_cuda'"


@pytest.mark.parametrize(
    ("package", "level"),
    [
        ("onnx", "note"),
        ("openvino", "problem"),
        ("pycuda", "note"),
        ("tensorrt_rtx_bindings", "note"),
    ],
)
def test_a_file_that_is_in_the_way(
    package: str,
    level: str,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "mine" / f"{package}.py"
    path.parent.mkdir()
    path.write_text("")
    monkeypatch.setattr(
        "roadseg.doctor.files.shadowing_path",
        lambda name: path if name == package else None,
    )
    assert of("shadows", machine()) == [
        (
            level,
            f"{path} hides the package {package}",
            f"mv {path} {tmp_path}/mine/my_{package}.py",
        )
    ]


FOLDERS = [
    (
        "cache",
        "cache_dir",
        "kernels are compiled anew at every start",
        "set ROADSEG_CACHE to a folder of yours",
        "note",
    ),
    (
        "engines-folder",
        "engines_dir",
        "engines cannot be built",
        "use --backend torch or openvino",
        "problem",
    ),
]


@pytest.mark.parametrize(("check", "argument", "consequence", "remedy", "on_gpu"), FOLDERS)
def test_folders(
    machine: Machine,
    gpu_machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    check: str,
    argument: str,
    consequence: str,
    remedy: str,
    on_gpu: str,
) -> None:
    folder = tmp_path / "a" / "b"
    around: dict[str, Any] = {argument: folder if check == "cache" else lambda: folder}
    assert of(check, machine(**around)) == [("ok", str(folder), None)]
    assert not folder.exists()
    (tmp_path / "a").write_text("")
    blocked = (
        f"{tmp_path}/a is a file, not a folder: {consequence}",
        f"mv {tmp_path}/a {tmp_path}/a.old, or {remedy}",
    )
    assert of(check, machine(**around)) == [("note", *blocked)]
    assert of(check, gpu_machine(**around)) == [(on_gpu, *blocked)]
    (tmp_path / "a").unlink()

    def refuse(**_: Any) -> Any:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("roadseg.doctor.files.tempfile.TemporaryFile", refuse)
    read_only = (
        f"{tmp_path} cannot be written (Read-only file system): {consequence}",
        f"chmod u+rwx {tmp_path}, or {remedy}",
    )
    assert of(check, machine(**around)) == [("note", *read_only)]
    assert of(check, gpu_machine(**around)) == [(on_gpu, *read_only)]


def test_a_check_that_fails_is_a_finding(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Finding:
        raise ZeroDivisionError("odd\nmachine")

    monkeypatch.setattr("roadseg.doctor.checkup.check_video", fail)
    around = machine()
    assert of("video", around) == [
        ("note", "could not be checked (ZeroDivisionError: odd machine)", "report it")
    ]
    assert len(judge(around).findings) >= 14


def test_a_check_that_lacks_a_library_leaves_it_to_the_others(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Finding:
        raise ImportError("numpy is broken:\n reinstall")

    monkeypatch.setattr("roadseg.doctor.checkup.check_video", fail)
    assert of("video", machine()) == [("note", "not known: numpy is broken: reinstall", None)]
