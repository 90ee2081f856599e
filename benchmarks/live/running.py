"""`roadseg run` as a process of its own, looked at from outside: its page, memory and processor."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Running:
    """A run that serves the page.

    Attributes:
        url: of the page.
        lines: what it has printed on stderr.
    """

    def __init__(self, process: subprocess.Popen[str], stats: Path) -> None:
        self.url = ""
        self.lines: list[str] = []
        self._process = process
        self._stats = stats
        self._found = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if not self._found.wait(120):
            raise RuntimeError("no page: " + "".join(self.lines))

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)
            found = re.search(r"the page is at (\S+)", line)
            if found:
                self.url = found[1]
                self._found.set()
        self._found.set()

    @property
    def port(self) -> int:
        """Of the page."""
        return int(self.url.rstrip("/").rpartition(":")[2])

    def health(self) -> dict[str, Any]:
        """`/healthz`, by the name of the source."""
        try:
            with urllib.request.urlopen(f"{self.url}healthz", timeout=30) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as exc:
            if exc.code != 503:  # no camera gives pictures
                raise
            found = json.load(exc)
        return {each["name"]: each for each in found["sources"]}

    def metrics(self) -> dict[str, float]:
        """`/metrics`, by name and labels."""
        with urllib.request.urlopen(f"{self.url}metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def rss_mb(self) -> float:
        """Memory."""
        with open(f"/proc/{self._process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def threads(self) -> int:
        """How many."""
        return len(os.listdir(f"/proc/{self._process.pid}/task"))

    def descriptors(self) -> int:
        """How many are open."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def cpu_s(self) -> float:
        """Time of the processor so far."""
        with open(f"/proc/{self._process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> dict[str, Any]:
        """SIGTERM; what `--stats-json` has written."""
        self._process.send_signal(signal.SIGTERM)
        if self._process.wait(120) != 0:
            raise RuntimeError(f"exit {self._process.returncode}: " + "".join(self.lines[-20:]))
        stats: dict[str, Any] = json.loads(self._stats.read_text())
        return stats


@contextmanager
def running(*arguments: str, nice: int = 0) -> Iterator[Running]:
    """`roadseg run --web 0` with more arguments, for the length of the block."""
    with tempfile.TemporaryDirectory() as folder:
        stats = Path(folder) / "stats.json"
        command = [sys.executable, "-m", "roadseg", "run", "--web", "0", "--no-show"]
        process = subprocess.Popen(
            ["nice", "-n", str(nice), *command, "--stats-json", str(stats), *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        try:
            yield Running(process, stats)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
