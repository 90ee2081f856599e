"""Networks with random weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from roadseg.models import build_model
from tests.support.torch_cuda import with_statistics


@pytest.fixture(scope="module", params=["segnet", "segnet-basic", "segnet-lite"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(1)
    return with_statistics(build_model(request.param))


@pytest.fixture(scope="module")
def lite() -> nn.Module:
    torch.manual_seed(2)
    return with_statistics(build_model("segnet-lite"))
