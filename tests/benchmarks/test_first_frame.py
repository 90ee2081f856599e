"""The time to the first frame, from before the process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.first_frame import main
from tests.support.clips import write_clip


def test_it_starts_roadseg_and_times_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=4)
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    # Nobody writes bytecode where tests run.
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "bytecode"))
    assert main(["--source", "clip.mp4", "--rounds", "1", "--", "--backend", "fake"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    found = re.fullmatch(r"this: ([0-9.]+) s \(\1 to \1\), \d+ MiB", first)
    assert found is not None
    assert float(found[1]) > 0
    assert last.startswith("on ")
    assert {path.name for path in set(tmp_path.iterdir()) - before} <= {"bytecode"}
    assert clip.exists()
