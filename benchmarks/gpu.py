"""What a GPU proves and measures, in one command:

    python -m benchmarks.gpu --out DIR

Within 8 minutes on one data-centre GPU, with PyTorch and this folder alone: the kernels' agreement
with PyTorch and their bandwidth against a copy; latency, rate and memory of the networks against
PyTorch eager and torch.compile, and against the time that their arithmetic takes at the measured
rate of a matrix product; TensorRT if it is installed; the tests with the marker `gpu`. Results are
checked before they are timed. Writes DIR/gpu.json, which is complete after every step, DIR/gpu.md
and DIR/gpu.log, and prints the tables.

Every step runs in a process of its own with a time limit, so that one that fails costs no other.
`--dry-run` runs the same programme on the CPU at tiny sizes: figures mean nothing then.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu_report import tables, verdicts
from benchmarks.gpu_steps import MODELS, Recorder, Settings, Step, plain, run_here, run_steps
from roadseg.core.errors import BackendError, RoadsegError
from roadseg.core.files import claim_file, write_json
from roadseg.core.installing import install

__all__ = ["main", "steps"]

_BUDGET_S = 465.0


def steps() -> tuple[Step, ...]:
    """All steps, those first that the others are read against or that nothing else replaces."""

    def late(module: str, function: str, *args: str) -> Callable[[Recorder], None]:
        # A step that cannot be imported is a failed step, not a failed run.
        def run(recorder: Recorder) -> None:
            import importlib

            getattr(importlib.import_module(f"benchmarks.{module}"), function)(recorder, *args)

        return run

    latency = [
        Step(f"latency:{name}", 100, late("gpu_latency", "latency", name)) for name in MODELS
    ]
    compiled = [
        Step(f"compile:{name}", 90, late("gpu_compile", "compiled", name)) for name in MODELS
    ]
    return (
        Step("machine", 45, late("gpu_machine", "machine")),
        Step("kernels", 75, late("gpu_kernels", "kernels")),
        *latency,
        compiled[0],
        Step("tests", 90, late("gpu_tests", "gpu_tests")),
        *compiled[1:],
        Step("tensorrt", 150, late("gpu_tensorrt", "tensorrt")),
    )


def main(argv: list[str] | None = None) -> int:
    """Run; 0 if all steps that could run are right, 1 otherwise. Missed targets are no error."""
    arguments = _parse(argv)
    settings = _settings(arguments)
    if arguments.step is not None:
        return _one_step(settings, *arguments.step)
    chosen = [
        step
        for step in steps()
        if not arguments.only or {step.group, step.name} & {*arguments.only}
    ]
    out: Path = arguments.out
    try:
        _check_device(settings)
        claim_file(out / "gpu.json")
    except RoadsegError as exc:
        print(f"error: {exc}")
        return exc.exit_code
    (out / "gpu.log").write_text("", encoding="utf-8")
    command = None if arguments.in_process else _command(arguments)
    started_s = time.monotonic()

    def keep(outcomes: dict[str, Any]) -> None:
        seconds = round(time.monotonic() - started_s, 1)
        head = {"settings": _described(settings), "seconds": seconds}
        report = plain(head | {"steps": outcomes, "targets": verdicts(outcomes, settings.dry)})
        write_json(out / "gpu.json", report)
        (out / "gpu.md").write_text(tables(report), encoding="utf-8")

    outcomes = run_steps(
        chosen, settings, folder=out, budget_s=arguments.time_budget, command=command, done=keep
    )
    print()
    print((out / "gpu.md").read_text(encoding="utf-8"))
    print(f"written to {out / 'gpu.json'} in {time.monotonic() - started_s:.0f} s")
    return int(any(each["status"] not in ("ok", "skipped") for each in outcomes.values()))


def _check_device(settings: Settings) -> None:
    if settings.dry:
        return
    try:
        import torch
    except ImportError as exc:
        raise BackendError(f"PyTorch cannot be loaded ({exc})", fix=install("train")) from exc
    if not torch.cuda.is_available():
        raise BackendError(
            "PyTorch sees no NVIDIA GPU", fix="run it on a machine with one, or add --dry-run"
        )


def _one_step(settings: Settings, name: str, path: str, left_s: str) -> int:
    (step,) = (step for step in steps() if step.name == name)
    recorder = Recorder(settings, time.monotonic() + float(left_s), Path(path))
    run_here(step, recorder)
    sys.stdout.flush()
    sys.stderr.flush()
    # A context that a kernel has ruined can hang while it is torn down; all is written already.
    os._exit(0)


def _command(arguments: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.gpu", "--out", str(arguments.out)]
    command += ["--size", arguments.size] if arguments.size else []
    command += ["--quick"] if arguments.quick else []
    command += ["--dry-run"] if arguments.dry_run else []
    return [*command, "--step"]


def _settings(arguments: argparse.Namespace) -> Settings:
    size = arguments.size or ("32x48" if arguments.dry_run else "360x480")
    height, _, width = size.partition("x")
    return Settings(
        device="cpu" if arguments.dry_run else "cuda",
        quick=arguments.quick,
        size_hw=(int(height), int(width)),
        batches=(1, 2) if arguments.dry_run else (1, 8),
    )


def _described(settings: Settings) -> dict[str, Any]:
    return {
        "device": settings.device,
        "quick": settings.quick,
        "size_hw": settings.size_hw,
        "batches": settings.batches,
    }


def _parse(argv: list[str] | None) -> argparse.Namespace:
    description, _, epilog = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    groups = list(dict.fromkeys(step.group for step in steps()))
    known = [*groups, *(step.name for step in steps())]
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the results")
    parser.add_argument(
        "--only",
        type=partial(_groups, known=known),
        metavar="STEPS",
        help=f"only these, with commas: {','.join(groups)}; or latency:segnet and the like",
    )
    parser.add_argument("--quick", action="store_true", help="fewer sizes and repetitions")
    parser.add_argument("--size", metavar="HxW", help="frames; default 360x480")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, at tiny sizes")
    parser.add_argument("--in-process", action="store_true", help="all steps in this process")
    parser.add_argument("--time-budget", type=float, default=_BUDGET_S, metavar="SECONDS")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _groups(text: str, known: list[str]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown:
        groups = ",".join(dict.fromkeys(name.partition(":")[0] for name in known))
        raise argparse.ArgumentTypeError(f"no step is called {unknown[0]!r}: use {groups}")
    return names


if __name__ == "__main__":
    sys.exit(main())
