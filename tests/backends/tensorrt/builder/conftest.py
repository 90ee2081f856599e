"""Small networks as files, and TensorRT without TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from roadseg.models import build_model, save_weights
from tests.support.tensorrt.workshop import Workshop


@pytest.fixture(autouse=True)
def _not_the_users_cache(own_cache: Path) -> None:
    """Builds keep their timings there."""


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A `.safetensors` file of each network, with random weights."""
    folder = tmp_path_factory.mktemp("weights")

    def file(architecture: str) -> Path:
        path = folder / f"my {architecture}.safetensors"
        if not path.exists():
            torch.manual_seed(0)
            save_weights(path, build_model(architecture).eval(), architecture)
        return path

    return file


@pytest.fixture
def workshop() -> Callable[..., Workshop]:
    def make(version: str = "10.13.0.35", target: str = "tensorrt") -> Workshop:
        return Workshop(version, target)

    return make
