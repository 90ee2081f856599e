"""What is said where a package is missing: one command, the right one for the machine."""

from __future__ import annotations

import ast
import platform
import re
import sys

import pytest

from roadseg.core import installing
from roadseg.core.errors import BackendError
from roadseg.core.installing import (
    cuda_extra,
    gpu_extra,
    install,
    install_tensorrt,
    is_installed,
    no_tensorrt_here,
    require,
)
from tests.support import ROOT

pytestmark = pytest.mark.usefixtures("as_typed")

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = ROOT / "roadseg"

MACHINES = [
    # platform, processor, Jetson, CUDA of the driver: extra, command
    ("linux", "x86_64", False, (13, 0), "tensorrt", "pip install 'roadseg[tensorrt]'"),
    ("linux", "x86_64", False, (12, 4), "tensorrt-cu12", "pip install 'roadseg[tensorrt-cu12]'"),
    ("linux", "x86_64", False, None, "tensorrt-rtx", "pip install 'roadseg[tensorrt-rtx]'"),
    ("win32", "AMD64", False, (14, 1), "tensorrt", "pip install 'roadseg[tensorrt]'"),
    ("linux", "aarch64", False, (13, 0), "tensorrt", "pip install 'roadseg[tensorrt]'"),
    ("linux", "aarch64", False, None, "tensorrt", "pip install 'roadseg[tensorrt]'"),
    ("linux", "aarch64", True, (12, 6), "jetson",
     "sudo apt install python3-libnvinfer && pip install 'roadseg[jetson]' (in a virtual "
     "environment made with --system-site-packages)"),
    ("darwin", "arm64", False, None, "tensorrt", "use --backend openvino"),
]  # fmt: skip


@pytest.mark.parametrize(("system", "processor", "jetson", "cuda", "extra", "command"), MACHINES)
def test_one_command_for_the_machine(
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    processor: str,
    jetson: bool,
    cuda: tuple[int, int] | None,
    extra: str,
    command: str,
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: processor)
    monkeypatch.setattr(installing, "is_jetson", lambda: jetson)
    monkeypatch.setattr(installing, "driver_cuda", lambda: cuda)
    assert gpu_extra() == extra
    assert install_tensorrt() == command
    assert no_tensorrt_here() == ("there is none for macOS" if system == "darwin" else "")
    # TensorRT-RTX has no compiler of kernels.
    assert cuda_extra() == ("tensorrt" if extra == "tensorrt-rtx" else extra)
    if extra == "tensorrt-rtx":
        assert install_tensorrt("tensorrt") == "pip install 'roadseg[tensorrt]'"
    if system == "linux" and processor == "aarch64":
        assert no_tensorrt_here("tensorrt-rtx") == "there is none for this processor"
        assert install_tensorrt("tensorrt-rtx") == "use --target tensorrt"


def test_what_is_missing_is_named_with_the_extra_that_brings_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require("reading", ("json",), "export")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not is_installed("torch")
    with pytest.raises(BackendError) as caught:
        require("quantising", ("json", "torch"), "export")
    assert str(caught.value) == (
        "quantising needs PyTorch, which is not installed: pip install 'roadseg[export]'"
    )
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(BackendError, match="needs ONNX and PyTorch, which are not installed"):
        require("quantising", ("onnx", "torch"), "export")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BackendError, match="needs ONNX, PyTorch and Matplotlib, which are not"):
        require("training", ("onnx", "torch", "matplotlib"), "train")


def extras() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, list[str]] = project["optional-dependencies"]
    return {
        name: [re.split("[<>=; ]", requirement)[0] for requirement in requirements]
        for name, requirements in found.items()
    }


def test_extras_bring_all_they_need() -> None:
    found = extras()
    builders = {"torch", "onnx"}
    assert {"tensorrt", "cuda-bindings", "nvidia-cuda-nvrtc", *builders} == set(found["tensorrt"])
    assert {"tensorrt-cu12", "cuda-bindings", "nvidia-cuda-nvrtc-cu12", *builders} == set(
        found["tensorrt-cu12"]
    )
    assert {"cuda-bindings", "nvidia-cuda-nvrtc", *builders} <= set(found["jetson"])
    assert "tensorrt" not in found["jetson"]
    assert {"tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs", *builders} <= set(
        found["tensorrt-rtx"]
    )
    assert found["pycuda"] == ["pycuda"]
    assert {"torch", "onnx"} == set(found["export"])
    # The tests build with what needs no NVIDIA wheel of gigabytes.
    assert "tensorrt" not in found["test"]


def test_every_extra_that_is_named_exists() -> None:
    named = set()
    for path in [*PACKAGE.rglob("*.py"), ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"(?:roadseg|\.)\[([a-z][a-z0-9-]*)\]'", text))
        if path.suffix == ".py":
            named |= set(re.findall(r"\binstall\(\"([a-z0-9-]+)\"\)", text))
    assert {"export", "train", "jetson"} <= named
    assert named <= set(extras())


def test_there_is_one_place_for_what_to_install() -> None:
    """`pip install x` for a missing package stands in `roadseg/core/installing.py` alone.

    To repair what is installed, by force or another variant, is another matter.
    """
    for path in PACKAGE.rglob("*.py"):
        if path.name == "installing.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Expr):  # a docstring
                continue
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.Constant) and isinstance(child.value, str):
                    found = re.findall(r"pip install (?!--|an? |opencv-python|$)", child.value)
                    is_docstring = isinstance(node, ast.Expr)
                    assert is_docstring or not found, (path, child.value)


def test_install_names_the_project_without_an_extra() -> None:
    assert install() == "pip install roadseg"
    assert install("export") == "pip install 'roadseg[export]'"
