"""The IPluginV3 plugins, played by a stand-in of TensorRT, with the kernels on a simulated GPU."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from roadseg.backends.tensorrt import index_ops
from roadseg.backends.tensorrt.plugin import last_plugin_error
from roadseg.testing.cuda import SimulatedCuda
from roadseg.testing.host_kernels import host_kernels


@pytest.fixture
def cuda() -> SimulatedCuda:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: it compiles the kernels for the CPU")
    return SimulatedCuda(host_kernels())


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    """The plugins of one process share a GPU and an error: not so the tests."""
    before = index_ops.STATE.kernels
    last_plugin_error()
    yield
    index_ops.STATE.kernels = before
    last_plugin_error()
