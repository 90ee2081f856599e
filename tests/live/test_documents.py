"""docs/live.md and deploy/ say what the program does."""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest
import typer.main

from roadseg.cli import app
from roadseg.live.events import CameraState, LossReason
from roadseg.live.toml import parse_config
from tests.support import ROOT

PAGE = (ROOT / "docs" / "live.md").read_text(encoding="utf-8")


def options() -> set[str]:
    command = typer.main.get_command(app).get_command(None, "run")  # type: ignore[attr-defined]
    return {name for each in command.params for name in (*each.opts, *each.secondary_opts)}


@pytest.mark.parametrize(
    "name",
    ["docs/live.md", "deploy/roadseg.service", "deploy/Dockerfile", "deploy/Dockerfile.jetson"],
)
def test_options_of_run_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = re.findall(r'(?:roadseg run|"roadseg", "run"|roadseg", "run").*|^CMD .*', text, re.M)
    named = {option for line in lines for option in re.findall(r"--[a-z][a-z-]*", line)}
    assert named
    assert named <= options()


def test_the_example_of_a_configuration_is_one() -> None:
    block = PAGE[PAGE.index('    model = "auto"') : PAGE.index("Then\n\n    roadseg run --config")]
    config = parse_config(textwrap.dedent(block), "docs/live.md")
    assert [each.name for each in config.source] == ["front", "rear", "left", "gate"]
    assert config.source[1].health.frozen_s == 5.0
    assert config.record is not None
    assert config.event[0].name == "walker"


def test_every_state_and_reason_is_explained() -> None:
    for state in CameraState:
        assert f"| {state.value} |" in PAGE
    for reason in LossReason:
        assert reason.value in PAGE


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "roadseg.service").read_text(encoding="utf-8")
    program = "/opt/roadseg/.venv/bin/roadseg"
    assert f"ExecStart={program} run" in text
    unit = tmp_path / "roadseg.service"
    unit.write_text(text.replace(program, "/bin/true"))
    found = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert [line for line in found.stderr.splitlines() if "roadseg.service" in line] == []


def test_the_images_run_what_the_commands_need() -> None:
    for name in ("Dockerfile", "Dockerfile.jetson"):
        text = (ROOT / "deploy" / name).read_text(encoding="utf-8")
        assert "STOPSIGNAL SIGTERM" in text
        assert "[web" in text
