"""What a failed call says, and which library `load_cuda` takes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from roadseg.core import installing
from roadseg.core.errors import BackendError
from roadseg.cuda import failure, load
from roadseg.cuda.bindings import BindingsCuda
from roadseg.cuda.load import load_cuda
from roadseg.cuda.pycuda.context import PycudaCuda
from roadseg.cuda.pycuda.errors import code_of

CPU = 'or use backend="openvino"'
UPDATE = f"update it from https://www.nvidia.com/drivers, {CPU}"
INSTALL = "pip install 'roadseg[tensorrt]'"


@pytest.fixture(autouse=True)
def driver_of_cuda_13(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "driver_cuda", lambda: (13, 0))
    monkeypatch.setattr(installing, "is_jetson", lambda: False)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "CUDA_ERROR_NO_DEVICE",
            "no NVIDIA GPU is visible to this process (CUDA_ERROR_NO_DEVICE): look at 'nvidia-smi' "
            f"and at CUDA_VISIBLE_DEVICES, {CPU}",
        ),
        (
            "CUDA_ERROR_DEVICE_UNAVAILABLE",
            "the GPU is reserved by another program (CUDA_ERROR_DEVICE_UNAVAILABLE): end that "
            f"program ('nvidia-smi' lists it), {CPU}",
        ),
        (
            "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER",
            f"the NVIDIA driver is too old (CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER): {UPDATE}",
        ),
        (
            "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
            "the NVIDIA driver is too old for the CUDA libraries on this GPU "
            f"(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE): {UPDATE}",
        ),
        (
            "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
            "the NVIDIA driver was updated while in use (CUDA_ERROR_SYSTEM_DRIVER_MISMATCH): "
            f"restart the machine, {CPU}",
        ),
        (
            "CUDA_ERROR_SYSTEM_NOT_READY",
            "the GPU system is not ready (CUDA_ERROR_SYSTEM_NOT_READY): start the NVIDIA fabric "
            f"manager (systemctl start nvidia-fabricmanager), {CPU}",
        ),
        (
            "CUDA_ERROR_STUB_LIBRARY",
            "the CUDA driver library is the toolkit's empty stand-in (CUDA_ERROR_STUB_LIBRARY): "
            "take the folder 'stubs' out of LD_LIBRARY_PATH",
        ),
        (
            "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
            "the NVIDIA driver is older than the compiler of the kernels "
            "(CUDA_ERROR_UNSUPPORTED_PTX_VERSION): pip install a nvidia-cuda-nvrtc of the driver's "
            f"CUDA version, {UPDATE}",
        ),
        (
            "CUDA_ERROR_NO_BINARY_FOR_GPU",
            "no kernel that was compiled fits this GPU and its driver "
            "(CUDA_ERROR_NO_BINARY_FOR_GPU): pip install a nvidia-cuda-nvrtc of the driver's CUDA "
            f"version ('roadseg doctor' names it), {CPU}",
        ),
        (
            "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
            "a kernel needs more than this GPU has (CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES): report it "
            'with the GPU\'s name; until then use backend="openvino"',
        ),
        (
            "CUDA_ERROR_LAUNCH_TIMEOUT",
            "a kernel ran so long that the desktop's watchdog stopped it "
            f"(CUDA_ERROR_LAUNCH_TIMEOUT): use a smaller size_hw, {CPU}",
        ),
        (
            "CUDA_ERROR_ECC_UNCORRECTABLE",
            "the GPU's memory is damaged (CUDA_ERROR_ECC_UNCORRECTABLE): restart the machine and "
            f"look at 'nvidia-smi -q -d ECC', {CPU}",
        ),
        (
            "CUDA_ERROR_ILLEGAL_ADDRESS",
            "the GPU crashed while waiting for a stream (CUDA_ERROR_ILLEGAL_ADDRESS): start again, "
            'and if it happens once more report it; until then use backend="openvino"',
        ),
        (
            "CUDA_ERROR_LAUNCH_FAILED",
            "the GPU crashed while waiting for a stream (CUDA_ERROR_LAUNCH_FAILED): start again, "
            'and if it happens once more report it; until then use backend="openvino"',
        ),
        (
            "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
            "a CUDA graph cannot be captured while waiting for a stream "
            '(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED): report it; until then use backend="openvino"',
        ),
        (
            "CUDA_ERROR_UNKNOWN",
            "CUDA failed while waiting for a stream (CUDA_ERROR_UNKNOWN): look at 'nvidia-smi', "
            f"{CPU}",
        ),
    ],
)
def test_every_error_is_one_line_with_advice(code: str, message: str, stand_in_driver: Any) -> None:
    cuda = BindingsCuda(stand_in_driver, "13.5.0")
    stream = cuda.stream()
    stand_in_driver.failures["cuStreamSynchronize"] = code
    with pytest.raises(BackendError) as error:
        stream.synchronize()
    assert str(error.value) == message
    assert "\n" not in message
    assert error.value.exit_code == 6


def test_every_advice_is_tested() -> None:
    (cases,) = [mark.args[1] for mark in test_every_error_is_one_line_with_advice.pytestmark]
    tested = {code for code, _ in cases}
    assert set(failure._ADVICE) <= tested


@pytest.mark.parametrize(
    ("needed", "free", "sizes"),
    [
        (1, 0, "1 MiB needed, 0 MiB free"),
        (3 * 2**20, 2**20, "3 MiB needed, 1 MiB free"),
        (12 * 2**30, 3 * 2**30, "12.0 GiB needed, 3072 MiB free"),
    ],
)
def test_out_of_memory_gives_sizes(needed: int, free: int, sizes: str) -> None:
    assert str(failure.out_of_memory(needed, free)) == (
        f"GPU out of memory ({sizes}): use a smaller size_hw or batch, or close other programs"
    )


def test_several_gpus() -> None:
    assert str(failure.no_such_gpu(4, 4)) == (
        "there is no GPU 4: this process sees GPUs 0 to 3: name one that 'nvidia-smi -L' lists"
    )


def test_no_gpu(stand_in_driver: Any, stand_in_pycuda: Any) -> None:
    stand_in_driver.gpus = stand_in_pycuda.gpus = 0
    messages = []
    with pytest.raises(BackendError) as error:
        BindingsCuda(stand_in_driver, "13.5.0")
    messages.append(str(error.value))
    with pytest.raises(BackendError) as error:
        PycudaCuda(stand_in_pycuda, "2026.1", set_current=stand_in_pycuda.set_current)
    messages.append(str(error.value))
    assert messages == [str(failure.cuda_error("CUDA_ERROR_NO_DEVICE", ""))] * 2


def test_other_gpu(stand_in_driver: Any, stand_in_pycuda: Any) -> None:
    with pytest.raises(BackendError, match="there is no GPU 2: this process sees GPU 0"):
        BindingsCuda(stand_in_driver, "13.5.0", 2)
    with pytest.raises(BackendError, match="there is no GPU 2: this process sees GPU 0"):
        PycudaCuda(stand_in_pycuda, "2026.1", 2, set_current=stand_in_pycuda.set_current)


@pytest.mark.parametrize("kind", ["bindings", "pycuda"])
def test_closing_after_a_crash_is_quiet(
    kind: str, stand_in_driver: Any, stand_in_pycuda: Any
) -> None:
    cuda: Any
    if kind == "bindings":
        cuda = BindingsCuda(stand_in_driver, "13.5.0")
    else:
        cuda = PycudaCuda(stand_in_pycuda, "2026.1", set_current=stand_in_pycuda.set_current)
    cuda.load_kernels(b"// fill", ["fill"])
    stand_in_driver.failures["cuModuleUnload"] = "CUDA_ERROR_ILLEGAL_ADDRESS"
    cuda.close()
    assert (stand_in_driver.retained, stand_in_pycuda.detached) == (
        (0, 0) if kind == "bindings" else (0, 1)
    )


@pytest.mark.parametrize(("number", "dotted"), [(11080, "11.8"), (10020, "10.2")])
def test_old_driver(number: int, dotted: str, stand_in_driver: Any, stand_in_pycuda: Any) -> None:
    stand_in_driver.version = stand_in_pycuda.version = number
    message = (
        f"the NVIDIA driver is too old: it runs CUDA {dotted} and CUDA 12.0 is needed: {UPDATE}"
    )
    with pytest.raises(BackendError) as error:
        BindingsCuda(stand_in_driver, "13.5.0")
    assert str(error.value) == message
    with pytest.raises(BackendError) as error:
        PycudaCuda(stand_in_pycuda, "2026.1", set_current=stand_in_pycuda.set_current)
    assert str(error.value) == message


def test_a_driver_that_lacks_a_function(stand_in_driver: Any) -> None:
    def missing(*args: Any) -> Any:
        raise RuntimeError("function cuMemHostAlloc is not found")

    cuda = BindingsCuda(stand_in_driver, "13.5.0")
    stand_in_driver.cuMemHostAlloc = missing
    with pytest.raises(BackendError) as error:
        cuda.pinned(4)
    assert str(error.value) == (
        "the NVIDIA driver has no cuMemHostAlloc, being older than cuda-bindings: "
        "pip install 'roadseg[tensorrt-cu12]', or update the driver"
    )


def test_no_driver_under_bindings(stand_in_driver: Any) -> None:
    def missing() -> Any:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    stand_in_driver.cuDriverGetVersion = missing
    with pytest.raises(BackendError) as error:
        BindingsCuda(stand_in_driver, "13.5.0")
    assert str(error.value) == str(failure.no_driver())


def test_set_current_fails(stand_in_pycuda: Any) -> None:
    with pytest.raises(BackendError) as error:
        PycudaCuda(stand_in_pycuda, "2026.1", set_current=lambda handle: 201)
    assert str(error.value) == (
        f"CUDA failed while making the context current (error 201): look at 'nvidia-smi', {CPU}"
    )


def test_pycuda_has_neither_graphs_nor_foreign_streams(stand_in_pycuda: Any) -> None:
    cuda = PycudaCuda(stand_in_pycuda, "2026.1", set_current=stand_in_pycuda.set_current)
    assert cuda.name == "pycuda 2026.1"
    assert not cuda.supports_graphs
    stream = cuda.stream()
    for call in (cuda.begin_capture, cuda.end_capture):
        with pytest.raises(BackendError) as error:
            call(stream)
        assert str(error.value) == f"pycuda has no CUDA graphs: {INSTALL}"
    kernel = cuda.load_kernels(b"// fill", ["fill"])["fill"]
    with pytest.raises(BackendError) as error:
        kernel.launch((1, 1, 1), (1, 1, 1), [], 0x1234)
    assert str(error.value) == (
        "pycuda cannot run kernels in a stream of TensorRT or PyTorch: "
        "pip install 'roadseg[tensorrt]'"
    )


def test_pycuda_is_given_back_when_forgotten(stand_in_pycuda: Any) -> None:
    cuda = PycudaCuda(stand_in_pycuda, "2026.1", set_current=stand_in_pycuda.set_current)
    cuda.close()
    cuda.close()
    assert stand_in_pycuda.detached == 1
    assert not any(stand_in_pycuda.pushed.values())
    with pytest.raises(BackendError, match="creating a stream .CUDA_ERROR_CONTEXT_IS_DESTROYED"):
        cuda.stream()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("cuMemAlloc failed: out of memory", "CUDA_ERROR_OUT_OF_MEMORY"),
        (
            "cuModuleLoadDataEx failed: device kernel image is invalid - ptxas says\nmore",
            "CUDA_ERROR_INVALID_IMAGE",
        ),
        ("context::pop failed: invalid device context - cannot pop", "CUDA_ERROR_INVALID_CONTEXT"),
        ("cuStreamCreate failed: some new\nfailure", "some new failure"),
        ("something else", "something else"),
    ],
)
def test_pycudas_messages_become_codes(message: str, code: str) -> None:
    assert code_of(message) == code


class Libraries:
    """Which of the two libraries an import finds, or how it fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: dict[str, Any] = {}
        monkeypatch.setattr(load.importlib, "import_module", self)
        monkeypatch.setattr(load, "shadowing_path", lambda package: None)
        monkeypatch.setattr(load, "driver_cuda", lambda: (13, 0))

    def __call__(self, name: str) -> Any:
        thing = self.found.get(name)
        if thing is None:
            root = name.split(".")[0]
            raise ModuleNotFoundError(f"No module named {root!r}", name=root)
        if isinstance(thing, Exception):
            raise thing
        return thing


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> Libraries:
    return Libraries(monkeypatch)


@pytest.mark.parametrize("both", [False, True])
def test_bindings_are_taken_first(
    both: bool, libraries: Libraries, stand_in_driver: Any, stand_in_pycuda: Any
) -> None:
    libraries.found["cuda.bindings.driver"] = stand_in_driver
    if both:
        libraries.found["pycuda.driver"] = stand_in_pycuda
    cuda = load_cuda()
    assert isinstance(cuda, BindingsCuda)
    assert cuda.name.startswith("cuda-bindings ")


@pytest.mark.parametrize("broken", [False, True])
def test_pycuda_is_taken_where_bindings_cannot_be_loaded(
    broken: bool, libraries: Libraries, stand_in_pycuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "_set_current_of_driver", lambda: stand_in_pycuda.set_current)
    libraries.found["pycuda.driver"] = stand_in_pycuda
    if broken:
        libraries.found["cuda.bindings.driver"] = ImportError("undefined symbol: PyLong_Type")
    cuda = load_cuda()
    assert isinstance(cuda, PycudaCuda)
    assert not cuda.supports_graphs


def test_a_broken_pycuda_changes_nothing_beside_bindings(
    libraries: Libraries, stand_in_driver: Any
) -> None:
    libraries.found["pycuda.driver"] = ImportError("numpy.core.multiarray failed to import")
    libraries.found["cuda.bindings.driver"] = stand_in_driver
    assert isinstance(load_cuda(), BindingsCuda)


@pytest.mark.parametrize(
    ("pycuda", "bindings", "message"),
    [
        (None, None, f"the CUDA library for Python is not installed: {INSTALL}"),
        (
            ImportError("numpy.core.multiarray failed to import"),
            None,
            "the CUDA library for Python cannot be loaded (numpy.core.multiarray failed to "
            f"import): {INSTALL}",
        ),
        (
            None,
            ModuleNotFoundError("No module named 'cuda.pathfinder'", name="cuda.pathfinder"),
            "the CUDA library for Python cannot be loaded (No module named 'cuda.pathfinder'): "
            f"{INSTALL}",
        ),
        (
            ImportError("libcuda.so.1: cannot open shared object file: No such file or directory"),
            None,
            "there is no NVIDIA driver (libcuda cannot be loaded): install it from "
            f"https://www.nvidia.com/drivers, {CPU}",
        ),
    ],
)
def test_libraries_that_are_not_there(
    pycuda: Any, bindings: Any, message: str, libraries: Libraries
) -> None:
    libraries.found = {"pycuda.driver": pycuda, "cuda.bindings.driver": bindings}
    with pytest.raises(BackendError) as error:
        load_cuda()
    assert str(error.value) == message


@pytest.mark.parametrize("bindings", [None, ImportError("undefined symbol: PyLong_Type")])
def test_without_a_driver_no_package_is_asked_for(
    bindings: Any, libraries: Libraries, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries.found["cuda.bindings.driver"] = bindings
    monkeypatch.setattr(load, "driver_cuda", lambda: None)
    with pytest.raises(BackendError) as error:
        load_cuda()
    assert str(error.value) == str(failure.no_driver())


def test_no_driver_under_pycuda(libraries: Libraries, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    libraries.found["pycuda.driver"] = ModuleType("pycuda.driver")
    monkeypatch.setattr(load.ctypes, "CDLL", no_library)
    with pytest.raises(BackendError) as error:
        load_cuda()
    assert str(error.value) == str(failure.no_driver())


@pytest.mark.parametrize("package", ["pycuda", "cuda"])
def test_a_file_of_the_users_in_the_way(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{package}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package, raising=False)
    with pytest.raises(BackendError) as error:
        load_cuda()
    assert str(error.value) == (
        f"{tmp_path}/{package}.py hides the Python package {package}: rename it"
    )
