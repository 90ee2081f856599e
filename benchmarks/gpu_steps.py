"""Steps of a long measurement: each in a process of its own, with a time limit, kept when it ends.

A wild kernel ends all CUDA work of its process and a compiler can hang; neither may cost the
figures of the other steps. So a step writes what it has so far to a file, the parent kills what
runs too long, and a step that fails is recorded with its traceback.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadseg.core.files import write_json

__all__ = ["MODELS", "Recorder", "Settings", "SkippedError", "Step", "run_here", "run_steps"]

MODELS = ("segnet", "segnet-lite", "segnet-basic")
"""The networks, by worth; here, so that the parent process needs nothing of PyTorch."""

_TAIL_LINES = 40


class SkippedError(Exception):
    """A step cannot run here, for a reason that is no failure."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the steps are told.

    Attributes:
        device: `cuda`, or `cpu` for a dry run of the same programme at tiny sizes.
        quick: fewer repetitions and sizes.
        size_hw: height and width of the frames.
        batches: batch sizes, the one that targets are for first.
    """

    device: str = "cuda"
    quick: bool = False
    size_hw: tuple[int, int] = (360, 480)
    batches: tuple[int, ...] = (1, 8)

    @property
    def dry(self) -> bool:
        """Whether figures mean nothing."""
        return self.device == "cpu"


@dataclass
class Recorder:
    """Where a step puts its results; every `put` reaches the disk.

    Attributes:
        settings: what to measure.
        deadline_s: on `time.monotonic`; a step with a choice stops before it.
        path: the file; None keeps results in memory.
        results: so far.
    """

    settings: Settings
    deadline_s: float
    path: Path | None = None
    results: dict[str, Any] = field(default_factory=dict)

    def put(self, key: str, value: Any) -> None:
        """Keep one result."""
        self.results[key] = value
        if self.path is not None:
            write_json(self.path, plain({"status": "running", "results": self.results}))

    def attempt(self, key: str, measure: Callable[[], Any]) -> Any:
        """Keep the result of `measure`, or its traceback; the step goes on either way."""
        try:
            value = measure()
        except SkippedError as exc:
            value = {"skipped": str(exc)}
        except Exception:  # noqa: BLE001 - recorded, and the rest is worth having
            value = {"error": traceback.format_exc()}
            print(value["error"], file=sys.stderr, flush=True)
        self.put(key, value)
        return value

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline_s - time.monotonic()


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        name: as `--only` takes it, up to a colon: `compile:segnet` is one of `compile`.
        limit_s: seconds after which it is killed.
        run: does it.
    """

    name: str
    limit_s: float
    run: Callable[[Recorder], None]

    @property
    def group(self) -> str:
        """The part of the name before the colon."""
        return self.name.partition(":")[0]


def plain(value: Any) -> Any:
    """`value` without what JSON does not have: NaN and infinities become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


def run_here(step: Step, recorder: Recorder) -> dict[str, Any]:
    """Run a step in this process; what it raised is in the result."""
    started_s = time.monotonic()
    status, detail = "ok", ""
    try:
        step.run(recorder)
    except SkippedError as exc:
        status, detail = "skipped", str(exc)
    except Exception:  # noqa: BLE001 - recorded, and the other steps go on
        status, detail = "failed", traceback.format_exc()
        print(detail, file=sys.stderr, flush=True)
    if status == "ok" and any("error" in part for part in _parts(recorder.results)):
        status, detail = "failed", "a part of it failed: see its error"
    outcome = {
        "status": status,
        "detail": detail,
        "seconds": round(time.monotonic() - started_s, 1),
        "results": plain(recorder.results),
    }
    if recorder.path is not None:
        write_json(recorder.path, outcome)
    return outcome


def _parts(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [part for part in results.values() if isinstance(part, Mapping)]


def run_steps(
    steps: Sequence[Step],
    settings: Settings,
    *,
    folder: Path,
    budget_s: float,
    command: Sequence[str] | None,
    done: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Run steps one after another.

    Args:
        steps: in the order of their worth: the budget may end before they do.
        settings: passed on.
        folder: for the log and the running step's file.
        budget_s: seconds for all.
        command: runs one step as `command + [name, file, seconds left]`; None: in this process.
        done: is given all outcomes after each step.

    Returns:
        Outcomes by name: `status` (ok, failed, skipped, timeout, crashed), `detail`, `seconds` and
        `results`.
    """
    deadline_s = time.monotonic() + budget_s
    outcomes: dict[str, Any] = {}
    for step in steps:
        limit_s = min(step.limit_s, deadline_s - time.monotonic())
        print(f"{step.name} (at most {max(limit_s, 0):.0f} s) ...", flush=True)
        if limit_s < 5 and command is not None:
            outcome: dict[str, Any] = {
                "status": "skipped",
                "detail": f"no time left of the {budget_s:.0f} s: run it with --only {step.group}",
                "seconds": 0.0,
                "results": {},
            }
        elif command is None:
            recorder = Recorder(settings, time.monotonic() + limit_s)
            outcome = run_here(step, recorder)
        else:
            outcome = _run_there(step, [*command], folder, limit_s)
        first = outcome["detail"].strip().splitlines()[-1:] or [""]
        print(f"  {outcome['status']} in {outcome['seconds']:.1f} s  {first[0]}", flush=True)
        outcomes[step.name] = outcome
        done(outcomes)
    return outcomes


def _run_there(step: Step, command: list[str], folder: Path, limit_s: float) -> dict[str, Any]:
    path = folder / f".{step.name.replace(':', '-')}.json"
    log = folder / "gpu.log"
    started_s = time.monotonic()
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"==== {step.name}\n")
        stream.flush()
        begin = stream.tell()
        # A session of its own, so that the step's helpers (compilers) end with it.
        process = subprocess.Popen(
            [*command, step.name, str(path), f"{limit_s - 2:.1f}"],
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    outcome = _read(path)
    if code is None:
        outcome |= {"status": "timeout", "detail": f"killed after {limit_s:.0f} s"}
    elif code != 0 or outcome["status"] == "running":
        lines = log.read_bytes()[begin:].decode(errors="replace").splitlines()
        detail = "\n".join([*lines[-_TAIL_LINES:], f"exit code {code}"])
        outcome |= {"status": "crashed", "detail": detail}
    outcome["seconds"] = round(time.monotonic() - started_s, 1)
    path.unlink(missing_ok=True)
    return outcome


def _read(path: Path) -> dict[str, Any]:
    empty: dict[str, Any] = {"status": "running", "detail": "", "seconds": 0.0, "results": {}}
    with contextlib.suppress(OSError, ValueError):
        empty |= json.loads(path.read_text(encoding="utf-8"))
    return empty
