"""The published bindings of TensorRT."""

from __future__ import annotations

import pytest

from tests.support.tensorrt.bindings import Bindings


@pytest.fixture(scope="session")
def run_with_bindings(tmp_path_factory: pytest.TempPathFactory) -> Bindings:
    """`run_with_bindings("import tensorrt ...")` returns what the code prints."""
    return Bindings(tmp_path_factory.mktemp("shims"))
