"""What a network computes on processors without VNNI, which add 8-bit products in 16 bits.

oneDNN, which OpenVINO computes with, can be held to older instructions, and decides once in a
process. So this takes a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.core.errors import BackendError
from roadseg.core.size import SizeHW
from roadseg.core.types import Labels

OLDER = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
"""The environment that makes a processor compute as one without VNNI does."""

_PROGRAM = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from roadseg.quantize.without_vnni import predict_file
predict_file(*sys.argv[2:4], int(sys.argv[4]) or None)
"""


def predict_without_vnni(
    network: Path | Any,
    batches: Sequence[npt.NDArray[np.uint8]],
    network_hw: SizeHW,
    *,
    threads: int | None = None,
) -> list[Labels]:
    """(h, w) uint8 labels of each frame, as `accuracy.predict` gives them on an older processor.

    Args:
        network: an `onnx.ModelProto`, or a file that OpenVINO reads.
        batches: see `accuracy.predict`, as for all else.

    Raises:
        BackendError: OpenVINO failed there.
    """
    with tempfile.TemporaryDirectory(prefix="roadseg-") as folder:
        path = network
        if not isinstance(network, Path):
            path = Path(folder) / "network.onnx"
            path.write_bytes(network.SerializeToString())
        frames = np.concatenate([np.empty((0, *network_hw, 3), np.uint8), *batches])
        np.save(Path(folder) / "frames.npy", frames)
        places = json.dumps([str(place) for place in sys.path])
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, places, str(path), folder, str(threads or 0)],
            env=os.environ | OLDER,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode:
            last_words = (done.stderr.strip() or f"code {done.returncode}").splitlines()[-1]
            raise BackendError(
                f"the network cannot be run as on a processor without VNNI ({last_words})",
                fix="see 'roadseg doctor', and free some memory",
            )
        return list(np.load(Path(folder) / "labels.npy"))


def predict_file(network: str, folder: str, threads: int | None) -> None:
    """What the process does: `frames.npy` in a folder becomes `labels.npy`."""
    frames = np.load(Path(folder) / "frames.npy")
    backend = OpenVinoBackend(
        Path(network), frames.shape[1:3], name="", precision="", threads=threads
    )
    np.save(Path(folder) / "labels.npy", backend.infer(frames))
    backend.close()
