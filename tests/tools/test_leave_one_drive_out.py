"""`python -m tools.leave_one_drive_out`: from a cross-validation to the manifest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from roadseg.cli import main
from roadseg.core.errors import DataError, ModelError
from roadseg.training.crossval import RESULT, CrossValidation, Fold
from roadseg.weights import WEIGHTS_DIR, load_manifest
from tools import leave_one_drive_out as module
from tools.leave_one_drive_out import result_of
from tools.manifest import write_leave_one_drive_out


def crossval(folder: Path, *mious: float, **settings: Any) -> Path:
    folds = [Fold(name, 9, 3, 7, miou, {}) for name, miou in zip("abc", mious, strict=False)]
    known: dict[str, Any] = {
        "recipe": {"name": "lite", "epochs": 7},
        "time_budget_s": None,
        "quick": False,
        "extra_frames": 5,
        "seed": 3,
        "drives": ["a", "b"],
    }
    folder.mkdir()
    content = CrossValidation(folds, known | settings).to_json()
    (folder / RESULT).write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_what_the_manifest_says(tmp_path: Path) -> None:
    assert result_of(crossval(tmp_path / "x", 0.5, 0.25)) == {
        "recipe": "lite",
        "quick": False,
        "epochs": 7,
        "rendered_scenes": 5,
        "seed": 3,
        "miou": 0.375,
        "spread": 0.1768,
        "drives": {"a": 0.5, "b": 0.25},
    }
    timed = result_of(crossval(tmp_path / "y", 0.5, 0.25, time_budget_s=90.0, quick=True))
    assert timed["minutes"] == 1.5
    assert timed["quick"]
    assert "epochs" not in timed


def test_a_cross_validation_that_was_cut_off_or_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lacks b"):
        result_of(crossval(tmp_path / "x", 0.5))
    with pytest.raises(DataError, match="cannot read"):
        result_of(tmp_path)
    (tmp_path / RESULT).write_text("{}")
    with pytest.raises(DataError, match="is damaged"):
        result_of(tmp_path)


def test_the_manifest_gets_all_that_are_named_and_keeps_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copyfile(WEIGHTS_DIR / "manifest.json", tmp_path / "manifest.json")
    before = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    monkeypatch.setattr(
        module,
        "write_leave_one_drive_out",
        lambda name, results: write_leave_one_drive_out(name, results, directory=tmp_path),
    )
    runs = [str(crossval(tmp_path / name, 0.5, 0.25)) for name in ("x", "y")]
    arguments = [*runs, "--model", "segnet-lite"]
    assert main(arguments, module.program, "leave_one_drive_out") == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        "segnet-lite: 0.375 by lite on drives left out"
    )
    entry = load_manifest(tmp_path)["segnet-lite"]
    assert [each["miou"] for each in entry.leave_one_drive_out] == [0.375, 0.375]
    after = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    del after["models"]["segnet-lite"]["leave_one_drive_out"]
    before["models"]["segnet-lite"].pop("leave_one_drive_out", None)
    assert after == before
    with pytest.raises(ModelError, match="no model 'other'"):
        write_leave_one_drive_out("other", [], directory=tmp_path)
