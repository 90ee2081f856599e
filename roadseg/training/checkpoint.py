"""Checkpoints that survive any interruption, and the averaged weights they carry."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from roadseg.core.errors import ModelError, first_line
from roadseg.core.files import whole_file
from roadseg.core.labels import CAMVID, ClassSet, known_class_set
from roadseg.core.wording import option


class AveragedWeights:
    """Exponential moving average of a network's weights and batch statistics.

    Args:
        model: the network to follow; its state is copied.
        decay: share of the old average kept at each update. Early on, when the average would
            still be mostly the initialisation, less is kept: (1 + n) / (10 + n).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = self.even_updates = 0
        self.state = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, *, evenly: bool = False) -> None:
        """Move the average towards the network's present weights.

        Args:
            model: the network.
            evenly: from the first of such updates in a row on, weigh all states since then alike
                (stochastic weight averaging, Izmailov et al. 2018), not the recent ones more.
        """
        self.updates += 1
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        if evenly:
            keep = self.even_updates / (1 + self.even_updates)
        # A run that goes on behind its end averages evenly once more, at its new end.
        self.even_updates = self.even_updates + 1 if evenly else 0
        average, current = [], []
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                average.append(self.state[key])
                current.append(value)
            else:
                self.state[key].copy_(value)
        torch._foreach_lerp_(average, current, 1 - keep)


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint in one step: a crash or a full disk leaves the previous one intact.

    Raises:
        SinkError: the disk is full or the folder not writable.
    """
    fix = "free some space and start again"
    if path.exists():
        fix = (
            f"the previous one is intact; free some space and go on with {option('--resume', True)}"
        )
    with whole_file(path, fix=fix) as part, part.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as exc:
            # PyTorch's writer turns Ctrl-C and a full disk into a complaint about the position in
            # the file.
            if isinstance(exc.__context__, (KeyboardInterrupt, OSError)):
                raise exc.__context__ from None
            raise OSError(first_line(exc)) from exc


class CheckpointWriter:
    """Writes checkpoints while training goes on: segnet's may take longer than an epoch on a GPU.

    Nobody waits for a disk. While one is being written the newest of those that came since waits,
    for each file; older ones are dropped. Once one has failed, all that follows fails. As a context
    manager it writes what is left, whatever ends the run.

    Args:
        path: of the file, replaced by each of them in one step.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._worker = ThreadPoolExecutor(1, "checkpoint")
        self._lock = Lock()
        self._waiting: dict[Path, _Copy] = {}
        self._writing = False
        self._written: Future[None] | None = None

    def write(self, content: dict[str, Any], before: Path | None = None) -> None:
        """Copy what is to be kept, and see to it that it is written.

        Args:
            content: of the checkpoint.
            before: another file that is to hold it, too, and is written first.

        Raises:
            SinkError: an earlier one could not be written.
        """
        if self._written is not None and self._written.done():
            self._written.result()
        copy = _Copy(content)
        with self._lock:
            for path in (self.path,) if before is None else (before, self.path):
                self._waiting.pop(path, None)  # the order is that of the newest
                self._waiting[path] = copy
            if not self._writing:
                self._writing = True
                self._written = self._worker.submit(self._write_all)

    def finish(self) -> None:
        """Wait until all is written.

        Raises:
            SinkError: it could not be.
        """
        if self._written is not None:
            self._written.result()

    def _write_all(self) -> None:
        while (found := self._next()) is not None:
            path, copy = found
            save_checkpoint(path, copy.on_host())

    def _next(self) -> tuple[Path, _Copy] | None:
        with self._lock:
            self._writing = bool(self._waiting)
            if not self._waiting:
                return None
            path = next(iter(self._waiting))
            return path, self._waiting.pop(path)

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(
        self, _kind: object, exc: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._worker.shutdown()
        if exc is None:  # else what ended the run is the news
            self.finish()


class _Copy:
    """A checkpoint in memory of its own, since training goes on in the old one."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = _copied(content)
        self._copied: torch.cuda.Event | None = None
        if torch.cuda.is_available():
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def on_host(self) -> dict[str, Any]:
        """The content, once a GPU has come to copying it."""
        if self._copied is not None:
            self._copied.synchronize()
        content: dict[str, Any] = self._content
        return content


def _copied(content: Any) -> Any:
    if isinstance(content, Tensor):
        # From a GPU into pinned memory, which PyTorch keeps for the next time; nobody waits for it.
        return content.detach().to("cpu", non_blocking=True, copy=True)
    if isinstance(content, dict):
        return {key: _copied(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return type(content)(_copied(value) for value in content)
    return content


def load_checkpoint(path: Path, model_name: str, classes: ClassSet = CAMVID) -> dict[str, Any]:
    """Read a checkpoint of `model_name` for `classes`.

    Raises:
        ModelError: it is missing, damaged, or of another network or other classes.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = content["model_name"]
        # Those of the first versions, which knew CamVid only, do not say.
        own = known_class_set(tuple(content.get("classes", CAMVID.names)))
    except FileNotFoundError:
        raise ModelError(
            f"no checkpoint at {path}", fix=f"start without {option('--resume', True)}"
        ) from None
    except Exception as exc:
        raise ModelError(
            f"{path} is damaged",
            fix="remove it and start again, or choose another "
            f"{option('--output', parameter='folder')}",
        ) from exc
    if found != model_name:
        raise ModelError(
            f"{path} is a checkpoint of {found}",
            fix=f"use {option('--model', found, parameter='model_name')}",
        )
    if not own.same_classes(classes):
        raise ModelError(
            f"{path} is a checkpoint for {own.brief}, not {classes}",
            fix=f"give the {option('--data')} it was trained on",
        )
    return content


@contextmanager
def fit_explained(path: Path, model_name: str) -> Iterator[None]:
    """Turns what PyTorch says of a checkpoint that does not fit into what to do about it.

    Raises:
        ModelError: it does not fit.
    """
    try:
        yield
    except (RuntimeError, KeyError, ValueError) as exc:
        raise ModelError(
            f"{path} does not fit {model_name} as it is now",
            fix=f"start again with another {option('--output')}",
        ) from exc
