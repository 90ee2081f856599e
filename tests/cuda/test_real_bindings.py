"""The contract again, over the real cuda-bindings and a driver without a GPU, compiled from C."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import roadseg.cuda
from tests.support import ROOT
from tests.support.cuda import FAKE_DRIVER

SOURCES = sorted(Path(roadseg.cuda.__file__).parent.rglob("*.py"))


def names_of_the_driver() -> set[str]:
    """What `roadseg.cuda` takes from `cuda.bindings.driver`: functions, enumerations, members."""
    found = set()
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and re.fullmatch(r"cu[A-Z]\w*", str(node.value)):
                found.add(str(node.value))
            if isinstance(node, ast.Attribute) and node.attr.startswith("CU"):
                found.add(node.attr)
    return found


def test_all_names_exist_in_the_real_bindings() -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings")
    members = {
        member
        for name in ("CUevent_flags", "CUstream_flags", "CUstreamCaptureMode")
        for member in getattr(driver, name).__members__
    }
    names = names_of_the_driver()
    assert {"cuMemAlloc", "cuGraphInstantiate", "CUevent_flags", "CU_EVENT_DEFAULT"} <= names
    assert len(names) >= 30
    assert [
        name for name in sorted(names) if name not in members and not hasattr(driver, name)
    ] == []
    for which in ("MAJOR", "MINOR"):
        name = f"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_{which}"
        assert name in driver.CUdevice_attribute.__members__


def test_all_error_names_exist_in_the_real_bindings() -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings")
    known = set(driver.CUresult.__members__)
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and str(node.value).startswith("CUDA_ERROR_"):
                assert node.value in known, f"{source.name}: {node.value}"


def test_the_stand_in_takes_what_the_real_bindings_take(stand_in_driver: Any) -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings")
    functions = {name for name in dir(type(stand_in_driver)) if name.startswith("cu")}
    functions = {name for name in functions if name[2].isupper()}
    assert functions == {name for name in names_of_the_driver() if name.startswith("cu")}
    for name in functions:
        real = list(inspect.signature(getattr(driver, name)).parameters)
        assert list(inspect.signature(getattr(stand_in_driver, name)).parameters) == real, name


@pytest.fixture(scope="module")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with libcuda.so.1."""
    pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings")
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs gcc on Linux")
    folder = tmp_path_factory.mktemp("driver")
    subprocess.run(
        [
            *(compiler, "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"),
            *("-Wl,-soname,libcuda.so.1", "-o", str(folder / "libcuda.so.1")),
            *(str(FAKE_DRIVER), "-ldl"),
        ],
        check=True,
        timeout=60,
    )
    return folder


def run(fake_driver: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"LD_LIBRARY_PATH": str(fake_driver)} | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_contract_over_the_real_bindings(fake_driver: Path) -> None:
    contract = "tests/cuda/test_contract.py"
    result = run(
        fake_driver,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", contract),
        ROADSEG_TEST_FAKE_LIBCUDA="1",
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "skipped" not in result.stdout


LOAD = (
    "from roadseg.cuda.load import load_cuda\n"
    "from roadseg.core.errors import BackendError\n"
    "try:\n"
    "    print(load_cuda({index}).name)\n"
    "except BackendError as exc:\n"
    "    print(exc)\n"
)


@pytest.mark.parametrize(
    ("index", "version", "message"),
    [
        (0, "12000", "cuda-bindings"),
        (
            1,
            "13000",
            "there is no GPU 1: this process sees GPU 0: name one that 'nvidia-smi -L' lists",
        ),
        (
            -1,
            "13000",
            "there is no GPU -1: this process sees GPU 0: name one that 'nvidia-smi -L' lists",
        ),
        (
            0,
            "11080",
            "the NVIDIA driver is too old: it runs CUDA 11.8 and CUDA 12.0 is needed: update it "
            'from https://www.nvidia.com/drivers, or use backend="openvino"',
        ),
    ],
)
def test_loading_over_the_real_bindings(
    fake_driver: Path, index: int, version: str, message: str
) -> None:
    result = run(fake_driver, "-c", LOAD.format(index=index), FAKE_CUDA_VERSION=version)
    assert result.returncode == 0, result.stderr
    if message == "cuda-bindings":
        assert result.stdout.startswith("cuda-bindings ")
    else:
        assert result.stdout == f"{message}\n"


def test_a_machine_without_a_driver(tmp_path: Path) -> None:
    pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings")
    # A folder searched first whose libcuda is not one, as where only the toolkit's stub is.
    (tmp_path / "libcuda.so.1").write_bytes(b"nothing")
    result = run(tmp_path, "-c", LOAD.format(index=0))
    assert result.returncode == 0, result.stderr
    assert result.stdout == (
        "there is no NVIDIA driver (libcuda cannot be loaded): install it from "
        'https://www.nvidia.com/drivers, or use backend="openvino"\n'
    )
