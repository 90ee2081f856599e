"""The TensorRT backend, on simulated CUDA and a stand-in of TensorRT.

The simulated streams do nothing before the host waits for them, and new memory holds rubbish: a
missing wait, or memory that two batches share, shows as wrong labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.tensorrt.bench import Bench


@pytest.fixture
def bench(rig: Any, tmp_path: Path, own_cache: Path) -> Bench:
    return Bench(rig, tmp_path)
