"""Targets and tables from what the steps measured; steps that did not run leave gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["tables", "verdicts"]

# At 360x480, FP16, batch 1, frame upload and label download included.
_LATENCY_MS = {"segnet": 1.0, "segnet-lite": 0.3}
_OF_COPY = 0.80
_OF_COMPILE = 1.5
_AGREEMENT = 0.99
# Random weights leave more pixels on the edge between two classes than trained ones.
_BELOW_EAGER = 0.005

_Outcomes = Mapping[str, Any]


def _results(outcomes: _Outcomes, step: str) -> dict[str, Any]:
    found: dict[str, Any] = outcomes.get(step, {}).get("results", {})
    return found


def _models(outcomes: _Outcomes) -> list[str]:
    return [name.partition(":")[2] for name in outcomes if name.startswith("latency:")]


def _p50(results: Mapping[str, Any], key: str) -> float | None:
    value = results.get(key, {}).get("p50_ms")
    return None if value is None else float(value)


def _best_compiled(outcomes: _Outcomes, model: str, batch: int) -> float | None:
    """The faster mode's median: the comparison is with the better of them."""
    results = _results(outcomes, f"compile:{model}")
    times = [_p50(results, key) for key in results if key.endswith(f":{batch}")]
    return min((ms for ms in times if ms is not None), default=None)


def _verdict(target: str, measured: float | None, good: bool | None) -> dict[str, Any]:
    result = "not measured" if measured is None or good is None else "pass" if good else "FAIL"
    return {"target": target, "measured": measured, "result": result}


def verdicts(outcomes: _Outcomes, dry: bool) -> list[dict[str, Any]]:
    """Each target with what was measured: `pass`, `FAIL` or `not measured`.

    A dry run measures nothing but agreement.
    """
    rows: list[dict[str, Any]] = []
    parity = _results(outcomes, "kernels").get("parity", {}).get("kernels", {})
    right = sum(parity.values()) / len(parity) if parity else None
    rows.append(_verdict("kernels equal to PyTorch, share of variants = 1", right, right == 1))
    rows += [row for model in _models(outcomes) for row in _agreements(outcomes, model)]
    if dry:
        return rows
    for op in ("pool", "unpool"):
        bandwidth = _results(outcomes, "kernels").get("bandwidth", [])
        shares = [row["of_copy"] for row in bandwidth if row["op"] == op and _is_networks(row)]
        lowest = min(shares, default=None)
        rows.append(
            _verdict(
                f"{op} kernel, 64 channels of 360x480 and larger, of copy bandwidth >= {_OF_COPY}",
                lowest,
                lowest is not None and lowest >= _OF_COPY,
            )
        )
    for model, limit_ms in _LATENCY_MS.items():
        ours = _p50(_results(outcomes, f"latency:{model}"), "ours:1")
        good = ours is not None and ours < limit_ms
        rows.append(_verdict(f"{model}, batch 1, p50 ms < {limit_ms}", ours, good))
    for model in _models(outcomes):
        ours = _p50(_results(outcomes, f"latency:{model}"), "ours:1")
        compiled = _best_compiled(outcomes, model, 1)
        ratio = None if ours is None or compiled is None else round(compiled / ours, 2)
        good = ratio is not None and ratio >= _OF_COMPILE
        rows.append(
            _verdict(f"{model}, batch 1, times torch.compile's speed >= {_OF_COMPILE}", ratio, good)
        )
    return rows


def _is_networks(row: Mapping[str, Any]) -> bool:
    """The variant that the networks use, on maps that are bound by memory rather than launches."""
    channels, height, width = row["nchw"][1:]
    large = channels * height * width >= 64 * 360 * 480
    return large and str(row["variant"]).endswith("fp16_hwc8_hwc16")


def _agreements(outcomes: _Outcomes, model: str) -> list[dict[str, Any]]:
    results = _results(outcomes, f"latency:{model}")
    rows = []
    for key in (key for key in results if key.startswith("ours:")):
        ours = results[key].get("agreement_fp32")
        replayed = results[key].get("agreement_replayed")
        eager = results.get(key.replace("ours", "eager"), {}).get("agreement_fp32")
        limit = _AGREEMENT
        if not results.get("trained", True) and eager is not None:
            limit = min(limit, round(eager - _BELOW_EAGER, 5))
        lowest = None if ours is None or replayed is None else min(ours, replayed)
        text = f"{model}, batch {key.partition(':')[2]}, labels as in FP32 >= {limit}"
        rows.append(_verdict(text, lowest, lowest is not None and lowest >= limit))
    return rows


def tables(report: Mapping[str, Any]) -> str:
    """The whole report in Markdown."""
    outcomes: _Outcomes = report["steps"]
    lines = ["# roadseg on a GPU", "", *_head(report), ""]
    lines += _table(
        ("target", "measured", "result"),
        [(row["target"], _number(row["measured"]), row["result"]) for row in report["targets"]],
    )
    for model in _models(outcomes):
        lines += _model(outcomes, model)
    lines += _kernels(outcomes)
    lines += _tests(outcomes)
    lines += ["## Steps", ""]
    rows = []
    for name, outcome in outcomes.items():
        last = (outcome["detail"].strip().splitlines() or [""])[-1]
        rows.append((name, outcome["status"], f"{outcome['seconds']:.1f}", last.replace("|", "/")))
    lines += _table(("step", "status", "s", "detail"), rows)
    return "\n".join(lines).rstrip() + "\n"


def _head(report: Mapping[str, Any]) -> list[str]:
    results = _results(report["steps"], "machine")
    machine, gpu = results.get("machine", {}), results.get("gpu", {})
    height, width = report["settings"]["size_hw"]
    versions = machine.get("versions", {}) | machine.get("packages", {})
    lines = [
        f"{gpu.get('name', machine.get('cpu', 'unknown machine'))}, {machine.get('date', '')}; "
        f"CUDA {gpu.get('torch_cuda', '-')}, cuDNN {gpu.get('cudnn', '-')}, "
        + ", ".join(f"{name} {version}" for name, version in versions.items()),
        "",
        f"Frames {height}x{width}, FP16, upload and download included.",
    ]
    if report["settings"]["device"] == "cpu":
        lines = ["**A dry run on the CPU: figures mean nothing.**", "", *lines]
    if "matmul_tflops" in results:
        side = results["matmul_side"]
        copy = max(results.get("copy", {"": 0.0}).values())
        lines.append(
            f"Ceilings measured here: {results['matmul_tflops']} TFLOP/s "
            f"({side}x{side}x{side} FP16 product), {copy:.1f} GB/s (copy, read and written)."
        )
    return lines


def _model(outcomes: _Outcomes, model: str) -> list[str]:
    results = _results(outcomes, f"latency:{model}")
    rate = _results(outcomes, "machine").get("matmul_tflops")
    gflop = results.get("gflop")
    batches = [int(key.partition(":")[2]) for key in results if key.startswith("ours:")]
    weights = "shipped weights" if results.get("trained") else "random weights"
    lines = ["", f"## {model} ({weights}, {gflop} GFLOP a frame)", ""]
    for note in results.get("notes", []):
        lines += [f"Note: {note}", ""]
    rows = []
    for batch in batches:
        ours = _p50(results, f"ours:{batch}")
        kinds = [("roadseg, CUDA graph", results.get(f"ours:{batch}", {}))]
        kinds += [("PyTorch eager, channels-last", results.get(f"eager:{batch}", {}))]
        compiled = _results(outcomes, f"compile:{model}")
        for key, values in compiled.items():
            if key.endswith(f":{batch}"):
                kinds.append((f"torch.compile {key.partition(':')[0]}", values))
        engine = _results(outcomes, "tensorrt")
        if f"{model}:{batch}" in engine:
            kinds.append((str(engine.get("runtime")), engine[f"{model}:{batch}"]))
        for kind, values in kinds:
            p50 = values.get("p50_ms")
            ratio = None if ours is None or p50 is None else round(p50 / ours, 2)
            cells = [values.get(key) for key in ("p50_ms", "p95_ms", "fps", "peak_mb")]
            state = "skipped" if "skipped" in values else "failed" if "error" in values else ""
            rows.append(
                (
                    str(batch),
                    f"{kind} {state}".strip(),
                    *(_number(cell) for cell in cells),
                    _number(ratio),
                    _number(values.get("agreement_fp32")),
                )
            )
        if rate and gflop:
            floor_ms = round(gflop * batch / rate, 4)
            ratio = None if ours is None else round(floor_ms / ours, 2)
            floor = ("arithmetic at the measured rate", _number(floor_ms), "", "", "")
            rows.append((str(batch), *floor, _number(ratio), ""))
    heads = ("batch", "what", "p50 ms", "p95 ms", "FPS", "peak MB", "over ours", "labels as FP32")
    lines += _table(heads, rows)
    if "prepare_s:1" in results:
        lines.append(
            f"Ready after {results['prepare_s:1']} s (algorithms measured, graphs captured)."
        )
    for batch in batches:
        ours_all = results.get(f"ours:{batch}", {})
        if "infer_p50_ms" in ours_all:
            lines.append(
                f"Batch {batch} from NumPy to NumPy (`infer`): {ours_all['infer_p50_ms']} ms p50; "
                f"two batches in flight: {ours_all.get('pipelined_fps')} FPS."
            )
    return lines


def _kernels(outcomes: _Outcomes) -> list[str]:
    rows = [
        (
            str(row["variant"]),
            "x".join(str(side) for side in row["nchw"]),
            _number(row["ms"]),
            _number(row["gb_s"]),
            _number(round(max(row["copy"].values()), 1)),
            _number(row["of_copy"]),
        )
        for row in _results(outcomes, "kernels").get("bandwidth", [])
    ]
    heads = ("kernel", "large map", "ms", "GB/s", "copy GB/s", "of copy")
    return ["", "## Kernels", "", *_table(heads, rows)]


def _tests(outcomes: _Outcomes) -> list[str]:
    results = _results(outcomes, "tests")
    rows = []
    for path, counts in results.items():
        if path == "totals":
            continue
        numbers = [str(counts.get(kind, "")) for kind in ("passed", "failed", "skipped")]
        rows.append((path, *numbers, "did not run" if "error" in counts else ""))
    return ["", "## Tests", "", *_table(("file", "passed", "failed", "skipped", ""), rows)]


def _number(value: Any) -> str:
    return "-" if value is None else f"{value}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return ["Not measured.", ""]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return [*lines, ""]
