"""The kernels on the CPU."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import pytest

from roadseg.testing.host_kernels import HostKernel, host_kernels


@pytest.fixture(scope="session")
def host() -> Mapping[str, HostKernel]:
    """Every kernel by its symbol, compiled for the CPU."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed: it compiles the kernels for the CPU")
    return host_kernels()
