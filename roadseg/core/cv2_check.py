"""OpenCV's manners: what to install where it cannot load, and how to keep it from talking."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from roadseg.core.errors import BackendError
from roadseg.core.installing import install

# Which Debian package holds the shared libraries that the opencv-python wheel does not bring.
_PACKAGES = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libxcb.so.1": "libxcb1",
    "libSM.so.6": "libsm6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
}

_MISSING_LIBRARY = re.compile(r"(?P<library>lib[\w.+-]+\.so[\w.]*): cannot open shared object file")


def explain_import_error(exc: ImportError) -> BackendError | None:
    """What is missing and how to install it; None for other import errors.

    >>> str(explain_import_error(ImportError("libGL.so.1: cannot open shared object file: ...")))
    'OpenCV cannot load (libGL.so.1 is missing): apt install libgl1 libglib2.0-0, or ...'
    """
    if isinstance(exc, ModuleNotFoundError) and exc.name == "cv2":
        return BackendError("OpenCV is not installed", fix=install())
    found = _MISSING_LIBRARY.search(str(exc))
    if found is None or found["library"] not in _PACKAGES:
        return None
    library = found["library"]
    # A bare server lacks both of the first two; naming both saves a second failure.
    packages = list(dict.fromkeys([_PACKAGES[library], "libgl1", "libglib2.0-0"]))
    if _PACKAGES[library] == "libglib2.0-0":
        packages = ["libgl1", "libglib2.0-0"]
    return BackendError(
        f"OpenCV cannot load ({library} is missing)",
        fix=f"apt install {' '.join(packages)}, or pip uninstall opencv-python and pip install "
        "opencv-python-headless (no window, everything else works)",
    )


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV writes its own opinions to stderr when a device fails; the caller says it better."""
    import cv2

    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
