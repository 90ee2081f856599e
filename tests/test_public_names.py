"""What Python programs import from roadseg."""

from __future__ import annotations

import importlib
import sys

import pytest

import roadseg
from roadseg import errors


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


@pytest.mark.parametrize("name", ["compare", "cross_validate", "train"])
def test_without_pytorch_training_names_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(errors.BackendError, match="needs PyTorch, which is") as caught:
        getattr(roadseg, name)
    assert caught.value.fix == "pip install 'roadseg[train]'"
