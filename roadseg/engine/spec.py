"""What to build: a network, a precision, a size, a batch, and for whom."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from roadseg.core.errors import UsageError
from roadseg.core.size import SizeHW, check_network_size
from roadseg.core.weights_file import is_weights
from roadseg.core.wording import option
from roadseg.engine.runtime import TARGETS, Target
from roadseg.weights.gate import check_drop

Precision = Literal["fp32", "fp16", "int8"]
Lowering = Literal["plugin", "native"]

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")

_MAX_BATCH = 256
_MAX_WORKSPACE_MB = 2**20


@dataclass(frozen=True)
class EngineSpec:
    """An engine that is wanted.

    Attributes:
        model: a shipped model's name, or a file of weights of `roadseg train`.
        precision: `fp32`, `fp16`, or `int8`, whose float layers are FP16.
        size_hw: height and width of the network's input.
        batch: fewest, usual and most frames at a time; the engine is tuned for the usual number.
        target: the TensorRT that is to run it.
        lowering: `plugin` (our kernels; full TensorRT only) or `native`.
        portable: `plugin` with the kernels compiled into the engine, which then needs no Python.
        sm: compute capabilities to build for, 89 for 8.9; TensorRT-RTX only. Empty: every one
            from Ampere on, or the Turing GPU that is here.
        workspace_mb: memory in MiB that a layer may use for scratch; None: all there is.
        calibration: for INT8: what `roadseg calibrate` wrote; None: see `find_calibration`.
        max_drop_points: points (hundredths) of mIoU that INT8 may cost.
        force: build INT8 although it costs more, or its cost is unknown.

    The last three say how an engine is made, not which: specifications that differ in them alone
    are equal.

    Raises:
        UsageError: two of these contradict each other, or one is out of range.
    """

    model: str
    precision: Precision = "fp16"
    size_hw: SizeHW = (352, 480)
    batch: tuple[int, int, int] = (1, 1, 1)
    target: Target = "tensorrt"
    lowering: Lowering = "plugin"
    portable: bool = False
    sm: tuple[int, ...] = ()
    workspace_mb: int | None = None
    calibration: Path | None = field(default=None, compare=False)
    max_drop_points: float = field(default=0.5, compare=False)
    force: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageError(f"unknown precision {self.precision!r}", fix="use fp16, int8 or fp32")
        if self.target not in TARGETS:
            raise UsageError(
                f"unknown target {self.target!r}", fix=f"use {option('--target', *TARGETS)}"
            )
        if self.lowering not in ("plugin", "native"):
            raise UsageError(f"unknown lowering {self.lowering!r}", fix="use plugin or native")
        check_network_size(self.size_hw)
        fewest, usual, most = self.batch
        if not 1 <= fewest <= usual <= most <= _MAX_BATCH:
            raise UsageError(
                f"batch {fewest}-{usual}-{most}: it must be 1 to {_MAX_BATCH}, fewest first",
                fix=f"use for example {_batch(1)} or {_batch(1, 8)}",
            )
        if self.workspace_mb is not None and not 1 <= self.workspace_mb <= _MAX_WORKSPACE_MB:
            raise UsageError(
                f"workspace of {self.workspace_mb} MiB: it must be 1 to {_MAX_WORKSPACE_MB}",
                fix=f"use for example {option('--workspace', 1024)}",
            )
        self._check_target()
        check_drop(self.max_drop_points)

    def _check_target(self) -> None:
        if self.target == "tensorrt":
            if self.sm:
                raise UsageError(
                    "full TensorRT builds for the GPU of this machine",
                    fix=f"leave {option('--sm')} out, or use {option('--target', 'tensorrt-rtx')}, "
                    "whose engines are for several",
                )
        elif self.lowering == "plugin":
            raise UsageError(
                "TensorRT-RTX has no Python plugins",
                fix=f"use the native lowering (without {option('--portable', True)}), or "
                f"{option('--target', 'tensorrt')}",
            )
        if self.portable and self.lowering == "native":
            raise UsageError(
                "the native lowering needs no plugin and is portable as it is",
                fix=f"leave {option('--portable')} out",
            )
        if 75 in self.sm and len(self.sm) > 1:
            raise UsageError(
                "an engine for compute capability 75 (Turing) is for that alone",
                fix=f"build two, one with {_sm(75)} and one with "
                f"{_sm(*(sm for sm in self.sm if sm != 75))}",
            )

    @property
    def model_name(self) -> str:
        """The model's name: `runs/night/best.safetensors` is `best`."""
        return Path(self.model).stem if is_weights(self.model) else self.model

    @property
    def is_dynamic(self) -> bool:
        """Whether the engine takes different numbers of frames."""
        return self.batch[0] != self.batch[2]

    @property
    def batch_text(self) -> str:
        """As `--batch` takes it: `1`, `1-8` or `1-4-8`."""
        fewest, usual, most = self.batch
        if not self.is_dynamic:
            return str(most)
        return f"{fewest}-{most}" if usual == most else f"{fewest}-{usual}-{most}"


def usual_lowering(target: Target, *, portable: bool = False) -> Lowering:
    """How unpooling is done where nothing else is asked for: TensorRT-RTX takes no plugins."""
    return "native" if target == "tensorrt-rtx" and not portable else "plugin"


def parse_batch(text: str) -> tuple[int, int, int]:
    """`"4"` to (4, 4, 4), `"1-8"` to (1, 8, 8), `"1-2-8"` to (1, 2, 8).

    Raises:
        UsageError: it is none of these.
    """
    match = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?(?:-([0-9]{1,4}))?", text.strip())
    if match is None:
        raise UsageError(
            f"batch {text!r} is not a number of frames",
            fix=f"use for example {_batch(1)} or {_batch(1, 8)}",
        )
    numbers = [int(number) for number in match.groups() if number is not None]
    return numbers[0], numbers[len(numbers) // 2], numbers[-1]


def parse_sm(text: str) -> tuple[int, ...]:
    """`"86,89"` to (86, 89): compute capabilities without their point, sorted, each once.

    Raises:
        UsageError: it is not such a list.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{2,3}", part) for part in parts):
        raise UsageError(
            f"compute capability {text!r}",
            fix=f"use for example {_sm(89)}, or {_sm(86, 89)} for both",
        )
    return tuple(sorted({int(part) for part in parts}))


def _batch(fewest: int, most: int | None = None) -> str:
    """How to give a batch, for a message: as its text, or the three numbers."""
    typed = f"--batch {fewest}" if most is None else f"--batch {fewest}-{most}"
    most = most or fewest
    return option(typed, parameter=f"batch=({fewest}, {most}, {most})")


def _sm(*sm: int) -> str:
    """How to give compute capabilities, for a message."""
    return option(f"--sm {','.join(map(str, sm))}", parameter=f"sm={sm}")
