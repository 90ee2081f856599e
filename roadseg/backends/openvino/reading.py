"""Reads the file of a network, now or in a thread meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from roadseg.core.errors import BackendError, ModelError
from roadseg.core.installing import upgrade
from roadseg.core.openvino import import_openvino, openvino_failure


class ReadAhead:
    """Reads a network in a thread of its own, which begins at once.

    OpenVINO is loaded there, too. So it costs a start hardly any time if there is something else to
    do: a video to open, for example.

    Args:
        path: a `.xml` or `.onnx` file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[Any, Any] | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="roadseg-read")
        self._thread.start()

    def take(self, path: Path) -> tuple[Any, Any] | None:
        """An `openvino.Core` and the `openvino.Model` that it read, for one taker alone.

        Returns:
            None where another file was read, or another has taken it.

        Raises:
            BackendError, ModelError: see `open_core` and `read_network`.
        """
        self.wait()
        if path != self._path:
            return None
        if self._error is not None:
            raise self._error
        read, self._read = self._read, None
        return read

    def wait(self) -> None:
        """Until the thread has ended: reading cannot be broken off."""
        self._thread.join()

    def _work(self) -> None:
        try:
            core = open_core()
            self._read = core, read_network(core, self._path)
        except Exception as exc:  # noqa: BLE001  (kept, and raised by `take`)
            self._error = exc


def open_core() -> Any:
    """An `openvino.Core` whose CPU plugin is loaded.

    Raises:
        BackendError: OpenVINO is missing, or cannot use the CPU.
    """
    core = import_openvino().Core()
    _load_cpu_plugin(core)
    return core


def _load_cpu_plugin(core: Any) -> None:
    """Load the CPU plugin on a thread of its own.

    Where the processor has AMX, the plugin gives the thread that loads it a stack for signal
    handlers. That stack is too small for what Ctrl-C does in Python (a signal frame with AMX
    state takes 11 kB of its 20), and the process would die of a segmentation fault instead of
    finishing its file. Signals are handled on the main thread: keep the stack away from it.
    """
    errors: list[RuntimeError] = []

    def load() -> None:
        try:
            core.get_property("CPU", "FULL_DEVICE_NAME")
        except RuntimeError as exc:
            errors.append(exc)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    if errors:
        raise openvino_failure(
            errors[0], "OpenVINO cannot use the CPU", upgrade("openvino"), BackendError
        ) from errors[0]


def read_network(core: Any, path: Path) -> Any:
    """An `openvino.Model`.

    Raises:
        ModelError: the file is damaged, or no model.
    """
    try:
        return core.read_model(str(path))
    except RuntimeError as exc:
        raise openvino_failure(
            exc,
            f"{path} is damaged or no model for OpenVINO",
            "copy it again or write it with 'roadseg export'",
            ModelError,
        ) from exc
