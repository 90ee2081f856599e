"""Reports are refused early, written whole, or not at all."""

from __future__ import annotations

import json
import os

import pytest

from roadseg.core.errors import SinkError
from roadseg.core.json_file import claim_json, write_json


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "folder" / "run.json"
    claim_json(path)
    assert not path.exists()
    write_json(path, {"fps": 25.5, "size_hw": (352, 480)})
    assert json.loads(path.read_text()) == {"fps": 25.5, "size_hw": [352, 480]}
    assert os.listdir(path.parent) == ["run.json"]


def test_claiming_leaves_an_older_file_alone(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")
    claim_json(path)
    assert path.read_text() == "old"


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(SinkError) as caught:
        claim_json(tmp_path)
    assert str(caught.value) == (
        f"cannot write {tmp_path}: it is a folder; give a file such as {tmp_path}/run.json"
    )


def test_a_file_where_a_folder_should_be_is_refused(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "run.json"
    with pytest.raises(SinkError, match=f"^cannot write {path}: "):
        claim_json(path)


def test_a_name_that_is_too_long_is_refused_at_once(tmp_path):
    for path in (tmp_path / f"{'x' * 251}.json", tmp_path / ("x" * 256) / "run.json"):
        with pytest.raises(SinkError, match="^cannot write .*ile name too long"):
            claim_json(path)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    path.write_text("old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(SinkError) as caught:
        write_json(path, {})
    assert str(caught.value) == (
        f"cannot write {path}: No space left on device; "
        "give another name or free the space it needs"
    )
    assert os.listdir(tmp_path) == ["run.json"]
    assert path.read_text() == "old"
