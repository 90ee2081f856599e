"""Runs probes in processes of their own, all at once, so that none can take the doctor along."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO, Any

from roadseg.core.errors import os_reason
from roadseg.doctor.probes import MARK

# The parent's search path: a file of the user's that the parent sees, the child must see too.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from roadseg.doctor.probes import main; main(sys.argv[2])"
)


@dataclass(frozen=True, slots=True)
class Probe:
    """How a probe went.

    Attributes:
        facts: what it gave; empty where it failed.
        kind: None where it did not fail; `explained`: `error` is an error of roadseg's own;
            `missing`: there is no module `module`; `failed`: it raised; `crashed`: its process
            ended; `hung`: it did not end.
        error: one line; None where it did not fail.
        module: what is missing.
        fix: what an error of roadseg's own advises; empty where there is none.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    kind: str | None = None
    error: str | None = None
    module: str | None = None
    fix: str = ""

    @property
    def message(self) -> str | None:
        """The error with its fix, in one line."""
        return f"{self.error}: {self.fix}" if self.fix else self.error

    @property
    def failed(self) -> bool:
        """Whether there are no facts."""
        return self.kind is not None


def run_probes(names: Iterable[str], *, timeout_s: float = 30.0) -> dict[str, Probe]:
    """Run probes side by side.

    Args:
        names: of `roadseg.doctor.probes.PROBES`.
        timeout_s: how long all of them together may take.

    Returns:
        By name, how each went.
    """
    deadline_s = time.monotonic() + timeout_s
    running = {name: _attempt(name) for name in names}
    return {
        name: started
        if isinstance(started, Probe)
        else _finish(*started, deadline_s=deadline_s, timeout_s=timeout_s)
        for name, started in running.items()
    }


def _attempt(name: str) -> Probe | tuple[subprocess.Popen[str], IO[str], IO[str]]:
    try:
        return _start(name)
    except OSError as exc:
        return Probe(kind="failed", error=f"cannot be looked at ({os_reason(exc)})")


def _scratch() -> IO[str]:
    """A file without a name: in memory where that can be, for disks that are full or read-only."""
    create = getattr(os, "memfd_create", None)  # Pythons built for an old glibc lack it
    if create is not None:
        with contextlib.suppress(OSError):
            file = create("roadseg-doctor")
            return os.fdopen(file, "w+", encoding="utf-8", errors="replace")
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")


def _start(name: str) -> tuple[subprocess.Popen[str], IO[str], IO[str]]:
    # Files, because a full pipe would stop a talkative library.
    out, err = _scratch(), _scratch()
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps([str(place) for place in sys.path]), name],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        text=True,
    )
    return process, out, err


def _finish(
    process: subprocess.Popen[str],
    out: IO[str],
    err: IO[str],
    *,
    deadline_s: float,
    timeout_s: float,
) -> Probe:
    try:
        code = process.wait(max(0.0, deadline_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        code = None
    with out, err:
        out.seek(0)
        err.seek(0)
        printed, complaint = out.read(), err.read()
    if code is None:
        return Probe(kind="hung", error=f"does not answer within {timeout_s:g} s")
    answers = [line[len(MARK) :] for line in printed.splitlines() if line.startswith(MARK)]
    if answers:
        # A library that crashes only when the process ends has done its work by then.
        answer = json.loads(answers[-1])
        return Probe(
            answer.get("facts", {}),
            answer.get("kind"),
            answer.get("error"),
            answer.get("module"),
            answer.get("fix", ""),
        )
    last_words = [line for line in complaint.splitlines() if line.strip()][-1:]
    how = f"ends Python with {_signal_name(-code)}" if code < 0 else f"ends Python with code {code}"
    return Probe(kind="crashed", error=": ".join([how, *last_words]))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
