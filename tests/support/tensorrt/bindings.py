"""The bindings of full TensorRT that NVIDIA publishes, over TensorRT-RTX's libraries."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support import ROOT


def _package_folder(name: str) -> Path:
    """Where a wheel lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"{name} is not installed: pip install 'roadseg[test]' on Linux x86-64")
    return Path(spec.origin).parent


def _build_shims(folder: Path, libraries: Path, major: str) -> None:
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


class Bindings:
    """Runs Python code in processes where `import tensorrt` gives the published bindings.

    Attributes:
        version: the bindings'.
    """

    # What the `tensorrt` package does: it is the bindings under another name.
    _PREAMBLE = "import sys, tensorrt_bindings as trt; sys.modules['tensorrt'] = trt\n"

    def __init__(self, shims: Path) -> None:
        if shutil.which("gcc") is None:
            pytest.skip("gcc is not installed: it makes the libraries that the bindings link to")
        bindings = _package_folder("tensorrt_bindings")
        libraries = _package_folder("tensorrt_rtx_libs")
        named = [info.stem for info in bindings.parent.glob("tensorrt_cu*_bindings-*.dist-info")]
        self.version = named[0].split("-")[1] if named else "0"
        major = self.version.split(".")[0]
        if int(major) < 11:
            pytest.skip(
                "TensorRT's bindings are older than 11: TensorRT-RTX's libraries do not fit"
            )
        _build_shims(shims, libraries, major)
        self._environment = os.environ | {"LD_LIBRARY_PATH": f"{shims}:{libraries}"}

    def __call__(self, code: str, *arguments: str, options: Sequence[str] = ()) -> str:
        """The standard output of `code`, which finds the project on `sys.path`."""
        result = subprocess.run(
            [sys.executable, *options, "-c", self._PREAMBLE + code, *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout
