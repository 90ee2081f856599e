from __future__ import annotations

import inspect

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
    with pytest.raises(errors.RoadsegError, match=r"^what and what to do$"):
        raise getattr(errors, name)("what and what to do")


def test_all_lists_every_class_of_the_module() -> None:
    classes = [
        name
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if value.__module__ == errors.__name__
    ]
    assert errors.__all__ == sorted(classes) == sorted(EXIT_CODES)


def test_the_module_docstring_states_every_exit_code() -> None:
    assert errors.__doc__ is not None
    stated = " ".join(errors.__doc__.split("Exit codes: ")[1].split())
    assert stated == (
        "0 success, 1 an unexpected error (a bug), 2 usage, 3 source, 4 sink, 5 model or weights, "
        "6 backend, 7 data set, 8 a quality gate refused, 9 engine; interrupted: 130 by Ctrl-C, "
        "143 by SIGTERM, 129 by SIGHUP (128 and the signal's number, as shells count). "
        "`roadseg doctor` exits with 1 where `roadseg run` would fail."
    )
