"""Rows of a comparison on disk, so that what was measured once is not measured again."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadseg.core.errors import UsageError
from roadseg.core.files import claim_file, write_json
from roadseg.core.wording import option

ROWS = "rows.json"
"""Name of the file in the folder of a comparison."""


@dataclass(frozen=True)
class Row:
    """What was measured of one network; None where undefined.

    Attributes:
        model: its name for `build_model`.
        global_accuracy, class_accuracy, miou, bf: in percent, on `images` frames.
        parameters_m: trained numbers, in millions.
        forward_ms, backward_ms: medians, one image at a time.
        training_mb, inference_mb: peaks of tensor memory; see `Cost`.
        model_mb: size of the weights' file in FP32.
        memory_by: how memory was measured: `cuda` or `tensors`.
        images: frames that were scored.
        origin: where the weights come from, in words: a recipe and its epochs, or a file.
        training_minutes: of training; None for weights that were loaded.
        quick: why this is no result, in words; empty for a result.
    """

    model: str
    global_accuracy: float | None
    class_accuracy: float | None
    miou: float | None
    bf: float | None
    parameters_m: float
    forward_ms: float
    backward_ms: float
    training_mb: float
    inference_mb: float
    model_mb: float
    memory_by: str
    images: int
    origin: str
    training_minutes: float | None
    quick: str


class RowFile:
    """`rows.json`: the data, and a row per network with how it came about.

    Args:
        folder: of the comparison.
        data: folder of the labelled frames, the same for all rows and runs.

    Raises:
        UsageError: the file is damaged, or about other data.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        self._path = folder / ROWS
        self._data = str(data.resolve())
        self._entries: dict[str, tuple[dict[str, Any], Row]] = {}
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            there = str(stored["data"])
            for entry in stored["rows"]:
                row = Row(**entry["row"])
                self._entries[row.model] = entry["configuration"], row
        except (FileNotFoundError, NotADirectoryError):
            there = self._data
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise UsageError(
                f"{self._path} is damaged",
                fix=f"delete it, or choose another {option('--output', parameter='folder')}",
            ) from exc
        if there != self._data:
            raise UsageError(
                f"{folder} compares networks on {there}",
                fix=f"give that as {option('--data')}, or choose another "
                f"{option('--output', parameter='folder')}",
            )

    def claim(self) -> None:
        """Create the folder and write the file, before anything is measured.

        From then on the runs beside it, which know nothing of their data, are runs on this data.

        Raises:
            SinkError: they cannot be written.
        """
        claim_file(self._path)
        self._write()

    def find(self, model: str, configuration: dict[str, Any]) -> Row | None:
        """The row of a network that was measured in just this way; None if there is none."""
        before, row = self._entries.get(model, ({}, None))
        return row if before == _as_json(configuration) else None

    def keep(self, row: Row, configuration: dict[str, Any]) -> None:
        """Add a row, or replace that network's, and write the file.

        Raises:
            SinkError: it cannot be written; the one before is intact.
        """
        self._entries[row.model] = _as_json(configuration), row
        self._write()

    def _write(self) -> None:
        rows = [
            {"configuration": configuration, "row": dataclasses.asdict(row)}
            for configuration, row in self._entries.values()
        ]
        write_json(self._path, {"data": self._data, "rows": rows})


def _as_json(value: dict[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(value))
    return copy
