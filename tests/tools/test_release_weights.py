"""`python -m tools.release_weights`, whose work `test_release.py` checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roadseg.cli import main
from tests.support import ROOT
from tools import release, release_weights
from tools.release import Release

SAMPLES = ROOT / "samples"


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the steps, in the order in which they were taken."""
    taken: list[str] = []

    def step(name: str) -> Any:
        def take(*_: Any, **__: Any) -> Release:
            taken.append(name)
            return Release("segnet", {})

        return take

    monkeypatch.setattr(release, "release", step("release"))
    monkeypatch.setattr(release, "requantize", step("requantize"))
    monkeypatch.setattr(release_weights, "_refresh", step("refresh"))
    return taken


def test_the_documents_follow_what_was_released(tmp_path: Path, steps: list[str]) -> None:
    data = ["--run", str(tmp_path), "--data", str(tmp_path), "--samples", str(SAMPLES)]
    assert main(data, release_weights.program) == 0
    assert steps == ["release", "refresh"]


def test_a_shipped_model_is_quantised_again(tmp_path: Path, steps: list[str]) -> None:
    data = ["--model", "segnet-lite", "--data", str(tmp_path), "--samples", str(SAMPLES)]
    assert main(data, release_weights.program) == 0
    assert steps == ["requantize", "refresh"]


@pytest.mark.parametrize(
    "what", [[], ["--run", "a", "--model", "segnet"], ["--model", "segnet", "--no-int8"]]
)
def test_what_to_release_is_one_of_two(
    what: list[str], tmp_path: Path, steps: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*what, "--data", str(tmp_path)], release_weights.program) == 2
    assert capsys.readouterr().err == (
        "error: what to release is not clear: use either --run DIR or --model NAME with INT8\n"
    )
    assert steps == []


def test_an_impossible_drop_is_refused_first(
    tmp_path: Path, steps: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--run", str(tmp_path), "--data", str(tmp_path)]
    assert main([*data, "--max-drop", "nan"], release_weights.program) == 2
    assert capsys.readouterr().err == (
        "error: a drop of nan points: use for example --max-drop 0.5\n"
    )
    assert steps == []
