"""Which TensorRT is loaded, and what is said of one that cannot be."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from roadseg.core import installing
from roadseg.core.errors import BackendError, UsageError
from roadseg.engine import runtime
from roadseg.engine.runtime import load_runtime

pytestmark = pytest.mark.usefixtures("as_typed")

FAKE = "__version__ = {version!r}\nclass Builder: pass\nclass Runtime: pass\n"
NAMES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Write packages into a `site-packages` of the test's own; the real ones are not there."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(installing, "driver_cuda", lambda: None)
    monkeypatch.setattr(installing, "is_jetson", lambda: False)
    site = tmp_path / "site-packages"
    site.mkdir()
    for name in [m for m in sys.modules if m.split(".")[0] in NAMES]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(site)])
    monkeypatch.setattr(sys, "path_importer_cache", {})

    def write(name: str, code: str) -> Path:
        package = site / name
        package.mkdir()
        (package / "__init__.py").write_text(code)
        for loaded in NAMES:
            monkeypatch.setitem(sys.modules, loaded, None)
            monkeypatch.delitem(sys.modules, loaded)
        return package

    return write


def refused(target: str) -> str:
    with pytest.raises(BackendError) as caught:
        load_runtime(target)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_is_installed(install: Callable[[str, str], Path]) -> None:
    assert refused("tensorrt") == "TensorRT is not installed: pip install 'roadseg[tensorrt]'"
    rtx = "pip install 'roadseg[tensorrt-rtx]'"
    assert refused("tensorrt-rtx") == f"TensorRT-RTX is not installed: {rtx}"
    # One command, for the machine that this is: here, one without a driver.
    assert refused("auto") == f"TensorRT is not installed: {rtx}"


def test_full_tensorrt_is_preferred(install: Callable[[str, str], Path]) -> None:
    install("tensorrt_rtx", FAKE.format(version="1.7.1.116"))
    assert load_runtime("auto").target == "tensorrt-rtx"
    install("tensorrt", FAKE.format(version="10.13.0.35"))
    found = load_runtime("auto")
    assert (found.target, found.version, found.version_text) == (
        "tensorrt",
        (10, 13, 0, 35),
        "10.13.0.35",
    )
    assert found.name == "TensorRT 10.13.0.35"
    assert load_runtime("tensorrt-rtx").name == "TensorRT-RTX 1.7.1.116"


@pytest.mark.parametrize("name", ["tensorrt_rtx", "tensorrt_rtx_bindings"])
def test_both_names_of_the_rtx_edition(install: Callable[[str, str], Path], name: str) -> None:
    install(name, FAKE.format(version="1.7.1.116"))
    assert load_runtime("tensorrt-rtx").trt.__name__ == name


@pytest.mark.parametrize(
    ("target", "name", "version", "oldest"),
    [
        ("tensorrt", "TensorRT", "8.6.1", "10.3"),
        ("tensorrt", "TensorRT", "10.0.0b6", "10.3"),
        ("tensorrt-rtx", "TensorRT-RTX", "1.6.0.1", "1.7"),
    ],
)
def test_too_old(
    install: Callable[[str, str], Path], target: str, name: str, version: str, oldest: str
) -> None:
    install(target.replace("-", "_"), FAKE.format(version=version))
    assert refused(target) == (
        f"{name} {version} is too old: {oldest} or newer is needed: pip install --upgrade {target}"
    )
    assert refused("auto") == refused(target)


def test_its_libraries_cannot_be_loaded(install: Callable[[str, str], Path]) -> None:
    install(
        "tensorrt",
        "raise ImportError('libnvinfer.so.10: cannot open shared object file: No such file')",
    )
    line = (
        "TensorRT is installed and cannot be loaded (libnvinfer.so.10: cannot open shared object "
        "file: No such file): pip install --force-reinstall tensorrt, or put the folder of its "
        "libraries on LD_LIBRARY_PATH"
    )
    assert refused("tensorrt") == line
    # Not "nothing is installed", and not a word about the other one.
    assert refused("auto") == line
    install("tensorrt_rtx", FAKE.format(version="1.7.1.116"))
    assert load_runtime("auto").target == "tensorrt-rtx"


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("import tensorrt_bindings_of_old", "No module named 'tensorrt_bindings_of_old'"),
        ("raise FileNotFoundError('Could not find: nvinfer_10.dll.\\nNote')", "Could not find:"),
        ("raise RuntimeError", "RuntimeError"),
    ],
)
def test_other_ways_to_fail(install: Callable[[str, str], Path], code: str, detail: str) -> None:
    install("tensorrt", code)
    assert refused("tensorrt").startswith(f"TensorRT is installed and cannot be loaded ({detail}")


def test_a_file_of_the_users(
    install: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("tensorrt", FAKE.format(version="10.13.0.35"))
    work = tmp_path / "work"
    work.mkdir()
    (work / "tensorrt.py").write_text("raise SystemExit('ran the file of the user')")
    monkeypatch.setattr(sys, "path", [str(work), *sys.path])
    line = f"{work / 'tensorrt.py'} hides the Python package tensorrt: rename it"
    assert refused("tensorrt") == line
    assert refused("auto") == line


def test_a_folder_without_code_hides_nothing(
    install: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert refused("tensorrt").startswith("TensorRT is not installed: ")
    install("tensorrt", FAKE.format(version="10.13.0.35"))
    assert load_runtime("tensorrt").version[:2] == (10, 13)


def test_another_package_of_that_name(install: Callable[[str, str], Path]) -> None:
    package = install("tensorrt", "__version__ = '10.9'")
    assert refused("tensorrt") == (
        f"{package / '__init__.py'} is not TensorRT: remove it, then "
        "pip install 'roadseg[tensorrt]'"
    )


def test_unknown_target() -> None:
    with pytest.raises(UsageError) as caught:
        load_runtime("trt")
    assert str(caught.value) == "unknown target 'trt': use --target auto|tensorrt|tensorrt-rtx"


def test_a_jetson_with_an_old_jetpack(
    install: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("tensorrt", FAKE.format(version="8.6.2.3"))
    monkeypatch.setattr(runtime, "is_jetson", lambda: True)
    assert refused("tensorrt") == (
        "TensorRT 8.6.2.3 is too old: 10.3 or newer is needed: update to JetPack 6.1 or newer"
    )
