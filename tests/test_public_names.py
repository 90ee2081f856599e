"""What Python programs import from roadseg."""

from __future__ import annotations

import importlib

import pytest

import roadseg


@pytest.mark.parametrize("name", ["errors", "labels"])
def test_modules_have_a_short_public_name(name: str) -> None:
    public = importlib.import_module(f"roadseg.{name}")
    home = importlib.import_module(f"roadseg.core.{name}")
    assert getattr(roadseg, name) is public
    for each in public.__all__:
        assert getattr(public, each) is getattr(home, each)


def test_every_public_name_is_there() -> None:
    assert set(roadseg.__all__) <= set(dir(roadseg))
    for name in roadseg.__all__:
        assert getattr(roadseg, name) is not None
