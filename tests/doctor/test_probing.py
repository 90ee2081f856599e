"""Probes in processes of their own: whatever a library does, the doctor goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from roadseg.doctor import gpu_probe, probes, probing
from roadseg.doctor.probing import Probe, run_probes
from tests.support.cuda import FAKE_DRIVER


@pytest.fixture
def instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts modules of the given text before all others."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)

    return write


def test_the_libraries_that_are_here() -> None:
    found = run_probes(["openvino", "opencv", "video", "backend"])
    assert list(found) == ["openvino", "opencv", "video", "backend"]
    assert not [probe.error for probe in found.values() if probe.failed]
    assert "CPU" in found["openvino"].facts["devices"]
    assert set(found["opencv"].facts) == {"version", "gui", "obstacle", "gstreamer"}
    assert found["video"].facts["encoder"] in ("libx264", "libopenh264", "mpeg4")
    assert found["backend"].facts.keys() == {"torch", "onnx", "backend"}
    assert found["backend"].facts["torch"] is True


def test_a_library_that_is_not_there(instead: Any) -> None:
    instead(
        "openvino",
        "raise ModuleNotFoundError(\"No module named 'openvino'\", name='openvino')",
    )
    assert run_probes(["openvino"])["openvino"] == Probe(
        {}, "missing", "ModuleNotFoundError: No module named 'openvino'", "openvino"
    )


def test_a_library_that_raises(instead: Any) -> None:
    instead("openvino", "raise ImportError('libtbb.so:\\n  not found')")
    assert run_probes(["openvino"])["openvino"] == Probe(
        {}, "failed", "ImportError: libtbb.so: not found"
    )


def test_a_library_that_raises_nothing_to_read(instead: Any) -> None:
    instead("openvino", "raise OSError")
    assert run_probes(["openvino"])["openvino"] == Probe({}, "failed", "OSError")


def test_an_error_of_roadsegs_own(instead: Any) -> None:
    instead("cuda", "")
    error = run_probes(["cuda"])["cuda"]
    assert error.kind == "explained"
    assert error.error is not None
    assert error.error.endswith("/cuda.py hides the Python package cuda")
    assert error.fix == "rename it"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_library_that_crashes(instead: Any) -> None:
    instead("openvino", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert run_probes(["openvino"])["openvino"] == Probe({}, "crashed", "ends Python with SIGSEGV")


def test_a_library_that_exits_with_a_word(instead: Any) -> None:
    instead(
        "openvino", "import os, sys; print('no licence', file=sys.stderr, flush=True)\nos._exit(3)"
    )
    assert run_probes(["openvino"])["openvino"] == Probe(
        {}, "crashed", "ends Python with code 3: no licence"
    )


def test_a_library_that_hangs(instead: Any) -> None:
    instead("openvino", "import time; time.sleep(60)")
    assert run_probes(["openvino"], timeout_s=0.2)["openvino"] == Probe(
        {}, "hung", "does not answer within 0.2 s"
    )


def test_a_library_that_talks(instead: Any) -> None:
    instead(
        "openvino",
        "print('hello\\n' * 100_000)\n"
        "__version__ = '1-2'\n"
        "class Core: available_devices = ['CPU']\n",
    )
    assert run_probes(["openvino"])["openvino"] == Probe({"version": "1", "devices": ["CPU"]})


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_a_library_that_crashes_at_the_end_has_done_its_work(instead: Any) -> None:
    instead(
        "openvino",
        "import atexit, os, signal\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGSEGV))\n"
        "__version__ = '1'\n"
        "class Core: available_devices = ['CPU']\n",
    )
    assert run_probes(["openvino"])["openvino"] == Probe({"version": "1", "devices": ["CPU"]})


def test_one_that_crashes_does_not_take_the_others_along(instead: Any) -> None:
    instead("openvino", "import os; os._exit(1)")
    found = run_probes(["openvino", "video"])
    assert found["openvino"].error == "ends Python with code 1"
    assert not found["video"].failed


def test_unknown_signals_have_numbers() -> None:
    assert probing._signal_name(11) == "SIGSEGV"
    assert probing._signal_name(64 + 60) == "signal 124"


def test_the_kernel_compiler(instead: Any) -> None:
    pytest.importorskip("cuda.bindings.nvrtc", reason="needs cuda-bindings")
    found = probes.PROBES["nvrtc"]()
    assert found.keys() == {"version"}
    major, minor = found["version"].split(".")
    assert int(major) >= 12
    assert int(minor) >= 0


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_probe, "LIBCUDA", "no-such-libcuda.so.1")
    assert gpu_probe.look_at_gpus() == {
        "library": False,
        "error": None,
        "driver": None,
        "cuda": None,
        "gpus": [],
    }


class FakeCuda:
    """libcuda, called as ctypes calls it."""

    def __init__(self, error: int = 0, name: bytes | None = b"CUDA_ERROR_NO_DEVICE") -> None:
        self.error = error
        self.name = name

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 12060
        return 0

    def cuInit(self, flags: int) -> int:
        return self.error

    def cuGetErrorName(self, error: int, name: Any) -> int:
        name._obj.value = self.name
        return 0 if self.name else 1

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = 2
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:
        device._obj.value = index
        return 0

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:
        name.value = f"GPU {device.value}".encode()
        return 0

    def cuDeviceTotalMem_v2(self, nbytes: Any, device: Any) -> int:
        nbytes._obj.value = 3 * 2**30
        return 0

    def cuDeviceGetAttribute(self, value: Any, which: int, device: Any) -> int:
        value._obj.value = {75: 8, 76: 7}[which]
        return 0


class FakeNvml:
    def __init__(self, fails: str = "") -> None:
        self.fails = fails

    def nvmlInit_v2(self) -> int:
        return int(self.fails == "init")

    def nvmlSystemGetDriverVersion(self, text: Any, length: int) -> int:
        text.value = b"560.35.03"
        return int(self.fails == "version")

    def nvmlShutdown(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("fails", "driver"), [("", "560.35.03"), ("init", None), ("version", None)]
)
def test_gpus(fails: str, driver: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = {gpu_probe.LIBCUDA: FakeCuda(), gpu_probe._LIBNVML: FakeNvml(fails)}
    monkeypatch.setattr(gpu_probe.ctypes, "CDLL", libraries.__getitem__)
    gpu = {"compute_capability": [8, 7], "bytes": 3 * 2**30}
    assert gpu_probe.look_at_gpus() == {
        "library": True,
        "error": None,
        "driver": driver,
        "cuda": [12, 6],
        "gpus": [{"name": "GPU 0"} | gpu, {"name": "GPU 1"} | gpu],
    }


@pytest.mark.parametrize(
    ("name", "error"), [(b"CUDA_ERROR_NO_DEVICE", "CUDA_ERROR_NO_DEVICE"), (None, "error 100")]
)
def test_a_driver_that_does_not_start(
    name: bytes | None, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(library: str) -> Any:
        if library == gpu_probe.LIBCUDA:
            return FakeCuda(100, name)
        raise OSError(library)

    monkeypatch.setattr(gpu_probe.ctypes, "CDLL", load)
    facts = gpu_probe.look_at_gpus()
    assert (facts["error"], facts["driver"], facts["gpus"]) == (error, None, [])


def test_a_driver_written_in_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs gcc on Linux")
    library = tmp_path / "libcuda.so.1"
    subprocess.run(
        [
            *(compiler, "-shared", "-fPIC", "-DcuDeviceTotalMem=cuDeviceTotalMem_v2"),
            *("-o", str(library), str(FAKE_DRIVER), "-ldl"),
        ],
        check=True,
        timeout=60,
    )
    monkeypatch.setattr(gpu_probe, "LIBCUDA", str(library))
    monkeypatch.setattr(gpu_probe, "_LIBNVML", "no-such-libnvidia-ml.so.1")
    assert gpu_probe.look_at_gpus() == {
        "library": True,
        "error": None,
        "driver": None,
        "cuda": [13, 0],
        "gpus": [{"name": "Fake GPU", "compute_capability": [8, 9], "bytes": 64 * 2**20}],
    }


def test_without_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(probing.tempfile, "TemporaryFile", none)
    if hasattr(os, "memfd_create"):
        assert "backend" in run_probes(["backend"])["backend"].facts

        def refuse(*_: object) -> None:
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(probing.os, "memfd_create", refuse)
    failed = Probe(kind="failed", error="cannot be looked at (No usable temporary directory found)")
    assert run_probes(["backend"])["backend"] == failed
    monkeypatch.delattr(probing.os, "memfd_create", raising=False)
    assert run_probes(["backend"])["backend"] == failed
