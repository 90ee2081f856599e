"""The tests with the marker `gpu`, each file in a pytest of its own.

Of its own, because files may need what this machine lacks (OpenVINO, PyAV), and pytest gives up a
whole run for one file, or `conftest.py`, that cannot be imported.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from benchmarks.gpu_steps import Recorder, SkippedError

__all__ = ["files_with_gpu_tests", "gpu_tests", "run_file"]

_ROOT = Path(__file__).resolve().parents[1]
_MARKER = re.compile(r"pytest\.mark\.gpu\b")


def files_with_gpu_tests(folder: Path) -> list[Path]:
    """Test files that use the marker; those of `tests/gpu` first."""
    found = [
        path
        for path in sorted(folder.rglob("test_*.py"))
        if _MARKER.search(path.read_text(encoding="utf-8"))
    ]
    return sorted(found, key=lambda path: (path.parent.name != "gpu", path))


def run_file(path: Path, limit_s: float) -> dict[str, Any]:
    """Counts of what passed, failed and was skipped, with the messages of the latter two."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider"]
        # Libraries here are of other versions than the tests' own: their warnings are no failures.
        command += ["-o", "filterwarnings=default", f"--junitxml={report}", str(path)]
        try:
            done = subprocess.run(
                command, cwd=_ROOT, capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired:
            return {"error": f"stopped after {limit_s:.0f} s"}
        print(done.stdout, done.stderr, flush=True)
        # 5: none was collected, for example because a library is missing.
        if done.returncode not in (0, 1, 5) or not report.is_file():
            tail = (done.stdout + done.stderr).splitlines()[-20:]
            return {"error": "\n".join([*tail, f"pytest ended with {done.returncode}"])}
        return _counts(report)


def _counts(report: Path) -> dict[str, Any]:
    counts: dict[str, Any] = {"passed": 0, "failed": 0, "skipped": 0, "messages": []}
    for case in ET.parse(report).iter("testcase"):
        name = case.get("name")
        failure = case.find("failure") if case.find("failure") is not None else case.find("error")
        skipped = case.find("skipped")
        if failure is not None:
            counts["failed"] += 1
            counts["messages"].append(f"{name}: {failure.get('message')}"[:2000])
        elif skipped is not None:
            counts["skipped"] += 1
            counts["messages"].append(f"{name}: {skipped.get('message')}"[:300])
        else:
            counts["passed"] += 1
    return counts


def gpu_tests(recorder: Recorder) -> None:
    """The step: every file with such tests."""
    if importlib.util.find_spec("pytest") is None:
        raise SkippedError("pytest is not installed: the other steps check the same agreement")
    files = files_with_gpu_tests(_ROOT / "tests")
    if recorder.settings.dry:
        files = [path for path in files if path.parent.name == "gpu"]
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    for path in files:
        key = str(path.relative_to(_ROOT))
        if recorder.left_s < 10:
            recorder.put(key, {"skipped": f"{recorder.left_s:.0f} s left"})
            continue
        counts = run_file(path, min(recorder.left_s - 5, 90))
        recorder.put(key, counts)
        for kind in totals:
            totals[kind] += counts.get(kind, 0)
    recorder.put("totals", totals)
    if totals["failed"]:
        raise AssertionError(f"{totals['failed']} tests failed")
