"""One small network as files for both runtimes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from roadseg.export.ir import finish_ir, from_onnx, save_ir
from roadseg.export.onnx import build_onnx, save_onnx
from roadseg.models import build_model, save_weights


@pytest.fixture(scope="session")
def network() -> nn.Module:
    torch.manual_seed(5)
    return build_model("segnet-lite").eval()


@pytest.fixture(scope="session")
def pt_file(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "lite.pt"
    save_weights(path, network, "segnet-lite", epoch=1)
    return path


@pytest.fixture(scope="session")
def xml_file(pt_file: Path) -> Path:
    from roadseg.models import load_weights

    # From the stored weights, which are FP16: the same network as the torch backend's.
    model = from_onnx(build_onnx(load_weights(pt_file)[0], "segnet-lite"))
    finish_ir(model)
    path = pt_file.with_suffix(".xml")
    save_ir(model, path, precision="fp32")
    return path


@pytest.fixture(scope="session")
def fixed_onnx_file(network: nn.Module, pt_file: Path) -> Path:
    path = pt_file.with_name("fixed.onnx")
    save_onnx(build_onnx(network, "segnet-lite", size_hw=(45, 60)), path)
    return path
