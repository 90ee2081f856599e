"""Both forms of the plugins, built and run by TensorRT on a GPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
import torch

from roadseg.backends.tensorrt.portable import ARGUMENT_ORDERS
from tests.support import ROOT

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt") is None,
        reason="needs TensorRT (pip install tensorrt)",
    ),
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.support.tensorrt.on_gpu", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("layout", ["LINEAR", "HWC8"])
@pytest.mark.parametrize("flavour", ["plain", "portable"])
def test_pool_and_unpool_equal_pytorch(flavour: str, layout: str) -> None:
    """Directly and through a CUDA graph; exact."""
    result = run(flavour, layout)
    if "has no ahead-of-time plugins" in result.stderr:
        pytest.skip("needs TensorRT 10.9")
    reason = result.stdout + result.stderr
    if flavour == "portable" and result.returncode != 0:
        other = run(flavour, layout, ARGUMENT_ORDERS[1]).returncode == 0
        reason += f"\nwith the order {ARGUMENT_ORDERS[1]!r}: {'equal' if other else 'fails, too'}"
    assert result.returncode == 0, reason
    assert f"{flavour} {layout} equals PyTorch" in result.stdout
