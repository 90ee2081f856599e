"""Checks that fail are findings, too."""

from __future__ import annotations

from typing import Any

import pytest

from roadseg.doctor.checkup import judge
from roadseg.doctor.report import Finding
from tests.support.doctor import (
    Machine,
    of,
)


def test_a_check_that_fails_is_a_finding(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Finding:
        raise ZeroDivisionError("odd\nmachine")

    monkeypatch.setattr("roadseg.doctor.checkup.check_video", fail)
    around = machine()
    assert of("video", around) == [
        ("note", "could not be checked (ZeroDivisionError: odd machine)", "report it")
    ]
    assert len(judge(around).findings) >= 14


def test_a_check_that_lacks_a_library_leaves_it_to_the_others(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Finding:
        raise ImportError("numpy is broken:\n reinstall")

    monkeypatch.setattr("roadseg.doctor.checkup.check_video", fail)
    assert of("video", machine()) == [("note", "not known: numpy is broken: reinstall", None)]
