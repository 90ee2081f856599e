"""What is said when OpenCV cannot load."""

from __future__ import annotations

import pytest

from roadseg.core.cv2_check import explain_import_error

HEADLESS = (
    "or pip uninstall opencv-python and pip install opencv-python-headless "
    "(no window, everything else works)"
)


@pytest.mark.parametrize(
    ("library", "packages"),
    [
        ("libGL.so.1", "libgl1 libglib2.0-0"),
        ("libgthread-2.0.so.0", "libgl1 libglib2.0-0"),
        ("libglib-2.0.so.0", "libgl1 libglib2.0-0"),
        ("libxcb.so.1", "libxcb1 libgl1 libglib2.0-0"),
    ],
)
def test_missing_libraries_name_their_packages(library, packages):
    exc = ImportError(f"{library}: cannot open shared object file: No such file or directory")
    assert str(explain_import_error(exc)) == (
        f"OpenCV cannot load ({library} is missing): apt install {packages}, {HEADLESS}"
    )


def test_opencv_not_installed():
    exc = ModuleNotFoundError("No module named 'cv2'", name="cv2")
    assert str(explain_import_error(exc)) == "OpenCV is not installed: pip install roadseg"


@pytest.mark.parametrize(
    "exc",
    [
        ModuleNotFoundError("No module named 'onnx'", name="onnx"),
        ImportError("libcudart.so.12: cannot open shared object file: No such file or directory"),
        ImportError("cannot import name 'x' from 'y'"),
    ],
)
def test_other_import_errors_are_not_explained(exc):
    assert explain_import_error(exc) is None
