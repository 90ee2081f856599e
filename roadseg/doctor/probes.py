"""What is tried in a process of its own: libraries that may be missing, hang, or crash Python.

Each probe gives plain values; what it raises becomes the text of a finding.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from roadseg.core.errors import RoadsegError
from roadseg.core.wording import naming_options

DEFAULT_MODEL = "segnet-lite"
"""What a run takes where there is nothing to choose from."""

MARK = "roadseg-probe "
"""What the line with a probe's result begins with; libraries print lines of their own."""


def _openvino() -> dict[str, Any]:
    import openvino

    devices = openvino.Core().available_devices
    return {"version": openvino.__version__.split("-")[0], "devices": list(devices)}


def _opencv() -> dict[str, Any]:
    import cv2

    from roadseg.media.sources.gstreamer import GST_LAUNCH, opencv_has_gstreamer
    from roadseg.video.display import display_available

    gui = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    return {
        "version": cv2.__version__,
        "gui": None if gui is None or gui[1].upper() == "NONE" else gui[1],
        "obstacle": display_available(),
        "gstreamer": "OpenCV"
        if opencv_has_gstreamer()
        else GST_LAUNCH
        if shutil.which(GST_LAUNCH)
        else None,
    }


def _video() -> dict[str, Any]:
    import av

    from roadseg.media.sinks.encoder import best_encoder

    return {"version": av.__version__, "encoder": best_encoder()}


def _gpu() -> dict[str, Any]:
    from roadseg.doctor.gpu_probe import look_at_gpus

    return look_at_gpus()


def _cuda() -> dict[str, Any]:
    from roadseg.cuda.load import load_cuda

    cuda = load_cuda()
    facts = {"name": cuda.name, "graphs": cuda.supports_graphs}
    cuda.close()
    return facts


def _nvrtc() -> dict[str, Any]:
    from cuda.bindings import nvrtc

    result, major, minor = nvrtc.nvrtcVersion()
    if int(result) != 0:
        raise OSError(f"nvrtcVersion gives {result}")
    return {"version": f"{major}.{minor}"}


def _tensorrt() -> dict[str, Any]:
    from roadseg.engine.runtime import load_runtime

    runtime = load_runtime()
    return {"target": runtime.target, "version": runtime.version_text}


def _backend() -> dict[str, Any]:
    from roadseg.loading.choice import choose_backend

    # Whether they are there, not whether they work: PyTorch takes seconds to load.
    facts: dict[str, Any] = {name: find_spec(name) is not None for name in ("torch", "onnx")}
    return facts | {"backend": choose_backend(DEFAULT_MODEL)}


PROBES: dict[str, Callable[[], dict[str, Any]]] = {
    "openvino": _openvino,
    "opencv": _opencv,
    "video": _video,
    "gpu": _gpu,
    "cuda": _cuda,
    "nvrtc": _nvrtc,
    "tensorrt": _tensorrt,
    "backend": _backend,
}
"""By name."""


def main(name: str) -> None:
    """Run one probe and print its result as a line of JSON."""
    try:
        with naming_options():  # `roadseg doctor` shows it
            answer: dict[str, Any] = {"facts": PROBES[name]()}
    except RoadsegError as exc:
        answer = {"error": exc.what, "fix": exc.fix, "kind": "explained"}
    except ModuleNotFoundError as exc:
        answer = {"error": _one_line(exc), "kind": "missing", "module": exc.name}
    except Exception as exc:  # noqa: BLE001
        # Whatever a broken library raises is what this is here to report.
        answer = {"error": _one_line(exc), "kind": "failed"}
    print(f"\n{MARK}{json.dumps(answer)}", flush=True)  # noqa: T201


def _one_line(exc: Exception) -> str:
    text = " ".join(str(exc).split())
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


if __name__ == "__main__":
    main(sys.argv[1])
