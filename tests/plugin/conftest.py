"""Fixtures for the plugins: kernels on the CPU, a stand-in of `tensorrt`, its real bindings."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from roadseg.testing.host_kernels import HostKernel, host_kernels

HERE = Path(__file__).resolve().parent


def load(name: str) -> ModuleType:
    """A module of this folder; pytest imports none of them by name."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def standin() -> ModuleType:
    """The stand-in's module: `standin.make("10.3.0")` is a `tensorrt`."""
    return load("tensorrt_standin")


@pytest.fixture(scope="session")
def pytorch() -> ModuleType:
    """Pooling and unpooling by PyTorch."""
    return load("pytorch_pooling")


def package_folder(name: str) -> Path:
    """Where a wheel lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"{name} is not installed: pip install 'roadseg[test]' on Linux x86-64")
    return Path(spec.origin).parent


def build_shims(folder: Path, libraries: Path, major: str) -> None:
    """The three libraries that TensorRT's bindings link to, made of TensorRT-RTX's.

    The bindings need nine C functions. TensorRT-RTX's libraries have eight of them, under other
    names of the libraries; the ninth, which registers TensorRT's own plugins, does nothing here.
    Enough to import the bindings and to use all that is not inside the library, in particular
    the Python side of plugins. Adding such a plugin to a network crashes.
    """
    init = "int initLibNvInferPlugins(void* l, const char* n) { (void)l; (void)n; return 1; }"
    for name, code, linked in (
        ("nvinfer", "", ["libtensorrt_rtx.so.1"]),
        ("nvonnxparser", "", ["libtensorrt_onnxparser_rtx.so.1", "libtensorrt_rtx.so.1"]),
        ("nvinfer_plugin", init, []),
    ):
        soname = f"lib{name}.so.{major}"
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-x", "none", "-o", str(folder / soname)]
            + [f"-Wl,-soname,{soname}", "-Wl,--no-as-needed", f"-L{libraries}"]
            + [f"-l:{library}" for library in linked],
            input=code,
            text=True,
            check=True,
            timeout=60,
        )


@pytest.fixture(scope="session")
def run_with_bindings(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run Python code in a process where `import tensorrt` gives the published bindings.

    The code finds this folder and the project on `sys.path`. Its standard output is returned.
    """
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: it makes the libraries that the bindings link to")
    bindings = package_folder("tensorrt_bindings")
    libraries = package_folder("tensorrt_rtx_libs")
    shims = tmp_path_factory.mktemp("shims")
    named = [info.name for info in bindings.parent.glob("tensorrt_cu*_bindings-*.dist-info")]
    major = named[0].split("-")[1].split(".")[0] if named else "0"
    if int(major) < 11:
        pytest.skip("TensorRT's bindings are older than 11, TensorRT-RTX's libraries do not fit")
    build_shims(shims, libraries, major)
    environment = os.environ | {
        "LD_LIBRARY_PATH": f"{shims}:{libraries}",
        "PYTHONPATH": f"{HERE}:{HERE.parent.parent}",
    }
    # What the `tensorrt` package does: it is the bindings under another name.
    preamble = "import sys, tensorrt_bindings as trt; sys.modules['tensorrt'] = trt\n"

    def run(code: str) -> str:
        result = subprocess.run(
            [sys.executable, "-c", preamble + code],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


@pytest.fixture(scope="session")
def host() -> Mapping[str, HostKernel]:
    """Every kernel by its symbol, compiled for the CPU."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: it compiles the kernels for the CPU")
    return host_kernels()
