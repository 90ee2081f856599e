"""What the doctor finds of the GPU and its libraries: level, whole text, fix."""

from __future__ import annotations

from typing import Any

import pytest

from roadseg.doctor.probing import Probe
from tests.support.doctor import (
    CRASHED,
    DRIVERS,
    HUNG,
    Machine,
    failed,
    gpu_facts,
    missing,
    of,
)

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
