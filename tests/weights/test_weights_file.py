"""Which file's checksum stands for the weights of a score."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from roadseg.core.errors import ModelError
from roadseg.weights import resolve_model


@pytest.mark.parametrize(
    ("model", "runtime", "holder"),
    [
        ("net.xml", "openvino", "net.bin"),
        ("net.onnx", "openvino", "net.onnx"),
        ("best.safetensors", "torch", "best.safetensors"),
        ("best.safetensors", "tensorrt", "best.safetensors"),
    ],
)
def test_the_file_that_holds_the_weights(
    tmp_path: Path, model: str, runtime: str, holder: str
) -> None:
    for name in {model, holder}:
        (tmp_path / name).write_bytes(name.encode())
    expected = hashlib.sha256(holder.encode()).hexdigest()
    assert resolve_model(str(tmp_path / model), runtime).weights() == (holder, expected)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file at"):
        resolve_model(str(tmp_path / "best.safetensors"), "torch").weights()
