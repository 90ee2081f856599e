"""Every error that roadseg raises on purpose: one tree, one exit code per branch.

Each holds two things: `what` is wrong, and the `fix`: what to do about it. Its text is the two in
one line, which the command line prints to stderr as it is; it exits with `exit_code`. Errors of
OpenCV, FFmpeg, OpenVINO and the like are translated into this tree where they occur (`from exc`).

Exit codes: 0 success, 1 an unexpected error (a bug), 2 usage, 3 source, 4 sink,
5 model or weights, 6 backend, 7 data set, 8 a quality gate refused, 9 engine; interrupted:
130 by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP (128 and the signal's number, as shells count).
`roadseg doctor` exits with 1 where `roadseg run` would fail.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = [
    "BackendError",
    "DataError",
    "EngineError",
    "ModelError",
    "QualityGateError",
    "RoadsegError",
    "SinkError",
    "SourceError",
    "UsageError",
    "first_line",
    "last_line",
    "os_reason",
    "reading",
    "unreadable",
]


class RoadsegError(Exception):
    """Base of the tree; catch it to catch everything that roadseg raises on purpose.

    Attributes:
        what: is wrong, for people who read it on one line: `no weights at a.pt`.
        fix: what to type, give, copy or install, as an order in lower case without a full stop:
            `train some with 'roadseg train'`.

    >>> str(ModelError("no weights at a.pt", fix="train some with 'roadseg train'"))
    "no weights at a.pt: train some with 'roadseg train'"
    """

    exit_code = 1

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what, fix)  # both, for pickle to make it from
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}: {self.fix}" if self.fix else self.what


class UsageError(RoadsegError):
    """An argument that names nothing or contradicts another: unknown model, backend, palette."""

    exit_code = 2


class SourceError(RoadsegError):
    """Frames cannot be read: missing file, not a video, a camera or URL that does not answer."""

    exit_code = 3


class SinkError(RoadsegError):
    """Results cannot be written: unwritable folder, full disk, no encoder."""

    exit_code = 4


class ModelError(RoadsegError):
    """A model or its weights cannot be used: wrong checksum, wrong classes, damaged file."""

    exit_code = 5


class BackendError(RoadsegError):
    """A runtime is missing, cannot be loaded, or failed while inferring."""

    exit_code = 6


class DataError(RoadsegError):
    """A data set is missing, mis-paired or damaged."""

    exit_code = 7


class QualityGateError(RoadsegError):
    """A model was produced and refused, because it lost more accuracy than allowed."""

    exit_code = 8


class EngineError(RoadsegError):
    """An engine cannot be built, or does not fit this GPU or TensorRT, or its file is damaged."""

    exit_code = 9


E = TypeVar("E", bound=RoadsegError)

# What helps where something cannot be read.
_NO_SUCH_PLACE = "check the path"
_NOT_ALLOWED = "change its permissions, or run as somebody who may read it"
_CURES = {
    errno.ENOENT: _NO_SUCH_PLACE,
    errno.ENOTDIR: _NO_SUCH_PLACE,
    errno.ENAMETOOLONG: _NO_SUCH_PLACE,
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EISDIR: "give a file, not a folder",
}


def unreadable(kind: type[E], what: object, exc: BaseException, reason: str = "") -> E:
    """The error to raise where the system cannot read something, or it is not text.

    Args:
        kind: of the error.
        what: cannot be read: a path, with what it is where that is not plain.
        exc: what the system says, or what is wrong with the file's text.
        reason: what it says in other words.

    >>> str(unreadable(DataError, "val.txt", FileNotFoundError(errno.ENOENT, "No such file")))
    'cannot read val.txt (No such file): check the path'
    """
    if isinstance(exc, UnicodeDecodeError):
        return kind(f"cannot read {what} (it is not text)", fix="save it as text in UTF-8")
    cure = _CURES.get(getattr(exc, "errno", None) or 0, "check it, and copy or write it again")
    return kind(f"cannot read {what} ({reason or os_reason(exc)})", fix=cure)


@contextmanager
def reading(kind: type[E], what: object) -> Iterator[None]:
    """Around a look at a path: what the system refuses is an error of this kind.

    `Path.is_file` and its like raise where a folder may not be looked into, or a name is too long.

    Raises:
        E: see `unreadable`.

    >>> with reading(DataError, "val"):
    ...     raise PermissionError(errno.EACCES, "Permission denied", "val/images")
    Traceback (most recent call last):
    roadseg.core.errors.DataError: cannot read val/images (Permission denied): change its \
permissions, or run as somebody who may read it
    """
    try:
        yield
    except OSError as exc:
        raise unreadable(kind, exc.filename or what, exc) from exc


def os_reason(exc: BaseException) -> str:
    """Why a file cannot be read or written, without number and path: `No space left on device`.

    Args:
        exc: what the system says, or what is wrong with the file's text.
    """
    return (isinstance(exc, OSError) and exc.strerror) or str(exc)


def first_line(exc: BaseException) -> str:
    """What a library says first, which is what happened; its kind where it says nothing."""
    return (_lines(exc) or [type(exc).__name__])[0]


def last_line(exc: BaseException) -> str:
    """What a library says last, for those that begin with the places in their own source."""
    return (_lines(exc) or [type(exc).__name__])[-1]


def _lines(exc: BaseException) -> list[str]:
    return [line.strip() for line in str(exc).splitlines() if line.strip()]
