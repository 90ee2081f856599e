"""Files of the user's that hide an installed package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from roadseg.core.shadowing import local_shadow, shadowing_path

# No such package exists, so nothing else is found under this name.
NAME = "roadseg_shadow_probe"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_what_is_not_there_is_not_hidden(folder: Path) -> None:
    assert shadowing_path(NAME) is None


@pytest.mark.parametrize("package", ["numpy", "pytest"])
def test_installed_packages_are_not_hidden(package: str) -> None:
    assert shadowing_path(package) is None


def test_a_file(folder: Path) -> None:
    (folder / f"{NAME}.py").write_text("")
    assert shadowing_path(NAME) == folder / f"{NAME}.py"


def test_a_package(folder: Path) -> None:
    (folder / NAME).mkdir()
    (folder / NAME / "__init__.py").write_text("")
    assert shadowing_path(NAME) == folder / NAME


def test_a_plain_folder_hides_nothing(folder: Path) -> None:
    (folder / NAME).mkdir()
    (folder / NAME / "module.py").write_text("")
    assert shadowing_path(NAME) is None


def test_a_package_installed_elsewhere(folder: Path) -> None:
    (folder / NAME).mkdir()
    (folder / NAME / "__init__.py").write_text("")
    (folder / f"{NAME}-1.0.dist-info").mkdir()
    assert shadowing_path(NAME) is None


@pytest.mark.parametrize("name", ["site-packages", "dist-packages"])
def test_a_package_of_the_system(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / f"{NAME}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / name)
    assert shadowing_path(NAME) is None


def test_a_module_without_a_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, NAME, type(sys)(NAME))
    assert shadowing_path(NAME) is None


def test_the_working_folder(tmp_path: Path) -> None:
    assert local_shadow("tensorrt", tmp_path) is None
    (tmp_path / "tensorrt").mkdir()
    assert local_shadow("tensorrt", tmp_path) is None
    (tmp_path / "tensorrt.py").write_text("")
    assert local_shadow("tensorrt", tmp_path) == tmp_path / "tensorrt.py"
    (tmp_path / "tensorrt" / "__init__.py").write_text("")
    assert local_shadow("tensorrt", tmp_path) == tmp_path / "tensorrt" / "__init__.py"
