"""The stand-in of TensorRT has what the published bindings have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def test_the_standin_is_like_tensorrt_rtx(rig: Any) -> None:
    trt = pytest.importorskip("tensorrt_rtx_bindings", exc_type=ImportError)
    assert rig.differences(trt) == []


_COMPARE = """
from tests.support.tensorrt.runtime import differences
rtx_only = ("IRuntimeConfig", "IRuntimeCache", "CudaGraphStrategy")
print(differences(trt, absent=rtx_only))
"""


def test_the_standin_is_like_tensorrt(run_with_bindings: Callable[..., str]) -> None:
    assert run_with_bindings(_COMPARE) == "[]\n"
