"""From a name to a backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.backends.openvino import OpenVinoBackend
from roadseg.backends.select import BACKEND_NAMES, create_backend, input_multiple
from roadseg.backends.torch import TorchBackend
from roadseg.errors import UsageError


def test_names_and_types(xml_file: Path, pt_file: Path) -> None:
    assert BACKEND_NAMES == ("auto", "openvino", "torch", "fake")
    assert isinstance(create_backend(str(xml_file), "auto", (32, 32)), OpenVinoBackend)
    assert isinstance(create_backend(str(xml_file), "openvino", (32, 32)), OpenVinoBackend)
    assert isinstance(create_backend(str(pt_file), "torch", (32, 32)), TorchBackend)
    assert isinstance(create_backend("anything", "fake", (32, 32)), FakeBackend)


def test_model_threads_and_size_are_passed_on(xml_file: Path) -> None:
    backend = create_backend(str(xml_file), "auto", (32, 64), threads=1)
    assert backend.network_hw == (32, 64)
    assert backend.info.model == "lite"
    assert backend.info.precision == "fp32"
    assert backend.info.device == "CPU (1 thread)"


@pytest.mark.parametrize("backend", ["auto", "openvino", "torch", "fake"])
def test_input_multiple(backend: str, xml_file: Path, pt_file: Path) -> None:
    model = pt_file if backend == "torch" else xml_file
    assert input_multiple(str(model), backend) == 32


def test_unknown_backend() -> None:
    for call in (lambda: create_backend("x", "x", (32, 32)), lambda: input_multiple("x", "x")):
        with pytest.raises(UsageError) as caught:
            call()
        assert str(caught.value) == "unknown backend 'x': use --backend auto|openvino|torch|fake"


def test_the_wrong_file_for_the_backend(xml_file: Path, pt_file: Path) -> None:
    with pytest.raises(UsageError) as caught:
        create_backend(str(pt_file), "auto", (32, 32))
    assert str(caught.value) == (
        f"the openvino backend does not take .pt files ({pt_file}): use --backend torch, or "
        f"'roadseg export --model {pt_file} --output lite.onnx'"
    )
    with pytest.raises(UsageError) as caught:
        input_multiple(str(xml_file), "torch")
    assert str(caught.value) == (
        f"the torch backend does not take .xml files ({xml_file}): use --backend openvino"
    )
