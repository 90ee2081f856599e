"""docs/reference.md says what the code says."""

from __future__ import annotations

import roadseg
from roadseg.cli import app
from tools.reference import PAGE, reference


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run python -m tools.reference"


def test_it_names_every_command_error_and_public_name() -> None:
    text = reference()
    for command in app.registered_commands:
        assert f"### roadseg {command.name}\n" in text
    for name in roadseg.errors.__all__:
        assert not name.endswith("Error") or f"`{name}`" in text or f".{name}`" in text
    for name in roadseg.__all__:
        assert name == "__version__" or f"### roadseg.{name}\n" in text
