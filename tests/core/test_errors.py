from __future__ import annotations

import errno
import inspect
import os
import pickle

import pytest

from roadseg.core import errors

EXIT_CODES = {
    "RoadsegError": 1,
    "UsageError": 2,
    "SourceError": 3,
    "SinkError": 4,
    "ModelError": 5,
    "BackendError": 6,
    "DataError": 7,
    "QualityGateError": 8,
    "EngineError": 9,
}


@pytest.mark.parametrize(("name", "code"), EXIT_CODES.items())
def test_exit_code(name: str, code: int) -> None:
    assert getattr(errors, name).exit_code == code


def test_exit_codes_are_distinct_and_leave_0_and_130_alone() -> None:
    codes = list(EXIT_CODES.values())
    assert len(set(codes)) == len(codes)
    assert not {0, 130} & set(codes)


@pytest.mark.parametrize("name", EXIT_CODES)
def test_every_error_is_caught_by_the_base(name: str) -> None:
    with pytest.raises(errors.RoadsegError, match=r"^what: and what to do$"):
        raise getattr(errors, name)("what", fix="and what to do")


@pytest.mark.parametrize("name", EXIT_CODES)
def test_what_and_fix_are_fields_and_the_text_is_both(name: str) -> None:
    error = getattr(errors, name)("no weights at a.pt", fix="train some")
    assert (error.what, error.fix) == ("no weights at a.pt", "train some")
    assert str(error) == "no weights at a.pt: train some"


def test_without_a_fix_the_text_is_what_alone() -> None:
    error = errors.SinkError("cannot write a.mp4: it was closed before")
    assert (str(error), error.fix) == ("cannot write a.mp4: it was closed before", "")


@pytest.mark.parametrize("fix", ["", "train some"])
def test_an_error_survives_pickling_and_keeps_its_cause(fix: str) -> None:
    with pytest.raises(errors.ModelError) as caught:
        raise errors.ModelError("no weights", fix=fix) from OSError("gone")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), copy.what, copy.fix) == (errors.ModelError, "no weights", fix)
    assert str(copy) == str(caught.value)
    assert str(caught.value.__cause__) == "gone"


def test_the_reason_of_a_system_error_is_without_number_and_path() -> None:
    assert errors.os_reason(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/a")) == (
        os.strerror(errno.ENOSPC)
    )
    assert errors.os_reason(OSError("no JPEG encoder")) == "no JPEG encoder"
    assert errors.os_reason(ValueError("no number")) == "no number"


@pytest.mark.parametrize(
    ("exc", "said"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), "(No such file): check the path"),
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "(Permission denied): change its permissions, or run as somebody who may read it",
        ),
        (IsADirectoryError(errno.EISDIR, "It is one"), "(It is one): give a file, not a folder"),
        (OSError(errno.EIO, "I/O error"), "(I/O error): check it, and copy or write it again"),
        (OSError("no number"), "(no number): check it, and copy or write it again"),
        (
            UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
            "(it is not text): save it as text in UTF-8",
        ),
    ],
)
def test_what_cannot_be_read_says_what_helps(exc: OSError | ValueError, said: str) -> None:
    error = errors.unreadable(errors.DataError, "val.txt", exc)
    assert type(error) is errors.DataError
    assert str(error) == f"cannot read val.txt {said}"


def test_a_librarys_error_is_shortened_to_one_line() -> None:
    error = RuntimeError(" Check failed at a.cpp:1:\n\n the file is damaged \n")
    assert errors.first_line(error) == "Check failed at a.cpp:1:"
    assert errors.last_line(error) == "the file is damaged"
    assert errors.first_line(RuntimeError()) == errors.last_line(RuntimeError()) == "RuntimeError"


def test_all_lists_everything_public_of_the_module() -> None:
    classes = [
        name
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if value.__module__ == errors.__name__
    ]
    assert sorted(classes) == sorted(EXIT_CODES)
    assert sorted(errors.__all__) == sorted(
        [*classes, "first_line", "last_line", "os_reason", "reading", "unreadable"]
    )


def test_the_module_docstring_states_every_exit_code() -> None:
    assert errors.__doc__ is not None
    stated = " ".join(errors.__doc__.split("Exit codes: ")[1].split())
    assert stated == (
        "0 success, 1 an unexpected error (a bug), 2 usage, 3 source, 4 sink, 5 model or weights, "
        "6 backend, 7 data set, 8 a quality gate refused, 9 engine; interrupted: 130 by Ctrl-C, "
        "143 by SIGTERM, 129 by SIGHUP (128 and the signal's number, as shells count). "
        "`roadseg doctor` exits with 1 where `roadseg run` would fail."
    )
