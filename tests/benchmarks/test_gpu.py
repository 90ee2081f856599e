"""The GPU benchmark's machinery, run on the CPU: nothing here says how fast anything is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gpu, gpu_kernels, gpu_latency, gpu_networks, gpu_timing
from benchmarks.gpu_steps import Recorder, Settings, SkippedError, Step, plain, run_here, run_steps
from roadseg.core.errors import ModelError
from roadseg.kernels.kernels import variants
from roadseg.models import build_model
from tests.support import ROOT

DRY = Settings(device="cpu", size_hw=(32, 48), batches=(1, 2))

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

# Runs the whole programme without the libraries that a GPU machine need not have.
WITHOUT = """
import sys
for name in ("openvino", "av", "onnx", "onnxruntime", "typer", "rich", "tensorrt", "cuda"):
    sys.modules[name] = None
from benchmarks import gpu
steps = "machine,kernels,latency,compile,tensorrt"
gpu.steps = lambda steps=gpu.steps(): tuple(
    step for step in steps if ":" not in step.name or step.name.endswith("-lite")
)
code = gpu.main(["--out", sys.argv[1], "--dry-run", "--in-process", "--only", steps])
sys.exit(code)
"""


@needs_compiler
def test_the_whole_programme_without_a_gpu_and_other_peoples_runtimes(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(tmp_path / "new" / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    out = tmp_path / "new" / "out"
    assert sorted(path.name for path in out.iterdir()) == ["gpu.json", "gpu.log", "gpu.md"]
    report = json.loads((out / "gpu.json").read_text(encoding="utf-8"))
    steps = report["steps"]
    assert {name: step["status"] for name, step in steps.items()} == {
        "machine": "ok",
        "kernels": "ok",
        "latency:segnet-lite": "ok",
        "compile:segnet-lite": "ok",
        "tensorrt": "skipped",
    }
    kernels = steps["kernels"]["results"]
    assert kernels["parity"]["kernels"] == {variant.symbol: True for variant in variants()}
    assert len(kernels["bandwidth"]) == len(variants())
    assert all(row["bytes"] > 0 and row["ms"] > 0 for row in kernels["bandwidth"])
    latency = steps["latency:segnet-lite"]["results"]
    assert latency["trained"] is True
    assert latency["gflop"] == pytest.approx(0.12, abs=0.01)
    for key in ("ours:1", "ours:2", "eager:1", "eager:2"):
        assert latency[key]["agreement_fp32"] >= 0.999  # FP32 on the CPU
        assert latency[key]["p95_ms"] >= latency[key]["p50_ms"] > 0
        assert latency[key]["fps"] > 0
    assert latency["ours:2"]["agreement_replayed"] >= 0.999
    assert latency["ours:1"]["pipelined_fps"] > 0
    compiled = steps["compile:segnet-lite"]["results"]
    assert set(compiled) == {"reduce-overhead:1", "reduce-overhead:2", "max-autotune:1"}
    assert {row["result"] for row in report["targets"]} == {"pass"}
    text = (out / "gpu.md").read_text(encoding="utf-8")
    assert text in done.stdout
    assert "**A dry run on the CPU: figures mean nothing.**" in text
    assert "## segnet-lite (shipped weights, 0.12 GFLOP a frame)" in text


def test_one_step_in_a_process_of_its_own(tmp_path, capfd):
    arguments = ["--out", str(tmp_path), "--dry-run", "--quick", "--only", "machine"]
    assert gpu.main(arguments) == 0
    report = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert report["settings"] == {
        "device": "cpu",
        "quick": True,
        "size_hw": [32, 48],
        "batches": [1, 2],
    }
    results = report["steps"]["machine"]["results"]
    assert report["steps"]["machine"]["status"] == "ok"
    assert results["matmul_side"] == 64
    assert results["machine"]["versions"]["torch"] == torch.__version__
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu.json", "gpu.log", "gpu.md"]
    assert "machine (at most 45 s) ..." in capfd.readouterr().out


@pytest.mark.parametrize("only", ["nothing", "machine,nothing"])
def test_an_unknown_step(tmp_path, capsys, only):
    with pytest.raises(SystemExit) as caught:
        gpu.main(["--out", str(tmp_path), "--only", only])
    assert caught.value.code == 2
    assert (
        "argument --only: no step is called 'nothing': use "
        "machine,kernels,latency,compile,tests,tensorrt"
    ) in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert gpu.main(["--out", str(tmp_path / "file"), "--dry-run"]) == 4
    assert capsys.readouterr().out.startswith(f"error: cannot write {tmp_path}/file/gpu.json (")


# Steps.


def ok(recorder):
    recorder.put("answer", 42)
    recorder.put("nothing", float("nan"))


def failing(recorder):
    recorder.put("answer", 42)
    raise ValueError("it broke")


def partly(recorder):
    recorder.attempt("bad", lambda: 1 / 0)
    recorder.attempt("good", lambda: {"ms": 1.0})
    recorder.attempt("not here", not_here)


def not_here():
    raise SkippedError("no such thing")


@pytest.mark.parametrize(
    ("function", "status", "detail", "results"),
    [
        (ok, "ok", "", {"answer": 42, "nothing": None}),
        (failing, "failed", "ValueError: it broke", {"answer": 42}),
        (lambda recorder: not_here(), "skipped", "no such thing", {}),
        (partly, "failed", "a part of it failed: see its error", None),
    ],
)
def test_a_steps_outcome(tmp_path, function, status, detail, results):
    recorder = Recorder(DRY, time.monotonic() + 10, tmp_path / "step.json")
    outcome = run_here(Step("one", 10, function), recorder)
    assert outcome["status"] == status
    assert outcome["detail"].strip().splitlines()[-1:] == ([detail] if detail else [])
    assert json.loads((tmp_path / "step.json").read_text(encoding="utf-8")) == outcome
    if results is not None:
        assert outcome["results"] == results
    else:
        assert outcome["results"]["good"] == {"ms": 1.0}
        assert outcome["results"]["not here"] == {"skipped": "no such thing"}
        assert "ZeroDivisionError" in outcome["results"]["bad"]["error"]


CHILD = """
import json, os, sys, time
name, path, left_s = sys.argv[1:]
print("this is", name, flush=True)
def keep(status):
    outcome = {"status": status, "detail": "", "seconds": 1.0, "results": {"name": name}}
    open(path, "w").write(json.dumps(outcome))
keep("running")
if name == "wild":
    os.abort()
if name == "half":
    sys.exit(0)
if name == "slow":
    time.sleep(60)
keep("ok")
"""


def test_children_that_end_badly_cost_only_themselves(tmp_path):
    names = ("wild", "slow", "half", "fine")
    steps = [Step(name, 6.0 if name == "slow" else 30.0, ok) for name in names]
    seen = []
    outcomes = run_steps(
        steps,
        DRY,
        folder=tmp_path,
        budget_s=100,
        command=[sys.executable, "-c", CHILD],
        done=lambda so_far: seen.append(list(so_far)),
    )
    assert {name: outcome["status"] for name, outcome in outcomes.items()} == {
        "wild": "crashed",
        "slow": "timeout",
        "half": "crashed",
        "fine": "ok",
    }
    # What each had put before it ended is kept.
    assert all(outcomes[name]["results"] == {"name": name} for name in names)
    assert outcomes["wild"]["detail"].splitlines()[0] == "this is wild"
    assert outcomes["wild"]["detail"].splitlines()[-1] == "exit code -6"
    assert outcomes["slow"]["detail"] == "killed after 6 s"
    assert outcomes["half"]["detail"].splitlines()[-1] == "exit code 0"
    assert seen == [list(names[: end + 1]) for end in range(4)]
    assert [path.name for path in tmp_path.iterdir()] == ["gpu.log"]


def test_steps_without_time_say_so(tmp_path):
    outcomes = run_steps(
        [Step("group:one", 30, ok)],
        DRY,
        folder=tmp_path,
        budget_s=1,
        command=["never"],
        done=lambda _: None,
    )
    assert outcomes["group:one"]["status"] == "skipped"
    assert outcomes["group:one"]["detail"] == ("no time left of the 1 s: run it with --only group")


def test_json_has_no_nan():
    value = {"a": [float("nan"), 1.5], 2: (float("inf"), "x", None)}
    assert plain(value) == {"a": [None, 1.5], "2": [None, "x", None]}


def test_the_limits_leave_room():
    names = [step.name for step in gpu.steps()]
    assert names[:3] == ["machine", "kernels", "latency:segnet"]
    assert len(set(names)) == len(names) == 10
    assert gpu._BUDGET_S + 15 <= 8 * 60


# What is measured.


def test_percentiles_are_values_that_occurred():
    values = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert gpu_timing.percentile(values, 50) == 3.0
    assert gpu_timing.percentile(values, 95) == 5.0
    assert gpu_timing.percentile(values, 0) == 1.0
    assert gpu_timing.percentile([7.0], 95) == 7.0


def test_latency_calls_at_least_and_at_most():
    calls = []
    options = {"warm_up_s": 0.0, "time_s": 0.0}
    latency = gpu_timing.host_latency(lambda: calls.append(1), **options, least=3)
    assert (latency.calls, len(calls)) == (3, 4)  # one warms up
    assert gpu_timing.host_latency(list, warm_up_s=0.0, time_s=60, calls=7).calls == 7


def test_segnet_is_213_gflop():
    assert gpu_networks.gflop(build_model("segnet"), (360, 480)) == pytest.approx(213.4, abs=0.1)


def test_arithmetic_is_counted_by_hand():
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),  # 2 * 27 * 8 * 100 positions
        torch.nn.ConvTranspose2d(8, 4, 2, stride=2),  # 2 * 8 * 16 * 100
    )
    want = (2 * 27 * 8 * 100 + 2 * 8 * 16 * 100) / 1e9
    assert gpu_networks.gflop(model, (10, 10)) == pytest.approx(want)


def test_frames_are_the_clips_or_smooth_noise(monkeypatch):
    clip = gpu_networks.frames_bgr(2, (24, 32))
    monkeypatch.setattr(gpu_networks, "_CLIP", Path("absent.mp4"))
    noise = gpu_networks.frames_bgr(2, (24, 32))
    for frames in (clip, noise):
        assert frames.shape == (2, 24, 32, 3)
        assert frames.dtype == np.uint8
        assert frames.std() > 10
    assert (clip != noise).any()


def test_random_networks_have_plausible_statistics(monkeypatch):
    assert gpu_networks.load("segnet-basic", DRY).trained

    def none_ship(name, runtime):
        raise ModelError("none ship")

    monkeypatch.setattr(gpu_networks, "resolve_model", none_ship)
    network = gpu_networks.load("segnet-basic", DRY)
    assert not network.trained
    assert not network.module.training
    frames = torch.from_numpy(gpu_networks.frames_bgr(1, DRY.size_hw))
    with torch.no_grad():
        scores = network.module(frames.permute(0, 3, 1, 2).float() / 255)
    # Neither vanished nor exploded, and not one class for all pixels.
    assert 0.05 < float(scores.std()) < 50
    assert len(scores.argmax(1).unique()) > 2


def test_eager_baseline_is_the_network():
    network = gpu_networks.load("segnet-lite", DRY)
    frames = gpu_networks.frames_bgr(2, DRY.size_hw)
    reference = gpu_latency.reference_labels(network, frames, "cpu")
    staged = gpu_latency.Staged(gpu_latency.half_network(network, "cpu"), frames, "cpu")
    assert gpu_latency.agreement(staged.run(), reference) >= 0.999
    assert gpu_latency.agreement(reference, (reference + 1) % 11) == 0.0


@needs_compiler
@pytest.mark.parametrize("op", ["pool", "unpool"])
def test_the_parity_check_sees_a_wrong_kernel(op):
    operations = gpu_kernels.load_operations("cpu")
    check = {"pool": gpu_kernels.check_pool, "unpool": gpu_kernels.check_unpool}[op]
    variant = next(v for v in variants() if v.op == op and v.dtype == "fp16")
    assert check(operations, variant, (1, 8, 5, 6), "cpu")
    real = operations.launch

    def with_one_wrong_byte(call, like):
        real(call, like)
        result = call.args[-2 if op == "pool" else -1].value
        import ctypes

        ctypes.c_uint8.from_address(result + 1).value ^= 1

    operations.launch = with_one_wrong_byte
    assert not check(operations, variant, (1, 8, 5, 6), "cpu")
    # One that does nothing leaves the poison.
    operations.launch = lambda call, like: None
    assert not check(operations, variant, (1, 8, 5, 6), "cpu")


def test_bytes_of_a_kernel():
    variant = next(v for v in variants() if v.symbol == "roadseg_pool_fp16_hwc8_hwc16")
    large, small, index = gpu_kernels._traffic(variant, (1, 64, 360, 480))
    assert large == 64 * 360 * 480 * 2
    assert small == large // 4
    assert index == 64 * 180 * 240


def test_every_size_is_timed_and_the_networks_first():
    plan = gpu_kernels._plan(Settings())
    ours = [nchw for variant, nchw in plan if variant.symbol.endswith("hwc8_hwc16")]
    assert {(1, 64, 360, 480), (8, 512, 23, 30), (4, 64, 1024, 2048)} <= set(ours)
    assert {variant for variant, _ in plan} == set(variants())
    assert plan[0][0].dtype == "fp16"
    assert len(gpu_kernels._plan(Settings(quick=True))) < len(plan)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(tmp_path, capsys):
    assert gpu.main(["--out", str(tmp_path / "out")]) == 6
    assert capsys.readouterr().out == (
        "error: PyTorch sees no NVIDIA GPU: run it on a machine with one, or add --dry-run\n"
    )
    assert not (tmp_path / "out").exists()
