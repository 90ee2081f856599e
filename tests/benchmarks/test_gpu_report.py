"""Targets and tables of the GPU benchmark, from figures that are made up here."""

from __future__ import annotations

from benchmarks.gpu_report import tables, verdicts


def outcomes_of(ours_ms, compiled_ms, of_copy, agreement=0.995, eager=0.99, trained=True):
    def outcome(**results):
        return {"status": "ok", "detail": "", "seconds": 1.0, "results": results}

    latency = {
        "trained": trained,
        "gflop": 213.4,
        "ours:1": {
            "p50_ms": ours_ms,
            "p95_ms": ours_ms,
            "fps": 1000.0,
            "agreement_fp32": agreement,
            "agreement_replayed": agreement,
        },
        "eager:1": {"p50_ms": 3.0, "p95_ms": 3.1, "fps": 333.0, "agreement_fp32": eager},
    }
    compiled = {
        "reduce-overhead:1": {"p50_ms": compiled_ms, "agreement_fp32": 0.99},
        "max-autotune:1": {"p50_ms": compiled_ms + 1},
    }
    rows = [
        {
            "op": op,
            "variant": f"roadseg_{op}_fp16_hwc8_hwc16",
            "nchw": [1, 64, height, 480],
            "ms": 0.01,
            "gb_s": 4000.0,
            "copy": {"driver_gb_s": 4500.0, "kernel_gb_s": 4400.0},
            "of_copy": share,
        }
        for op in ("pool", "unpool")
        for height, share in ((360, of_copy), (45, 0.1))
    ]
    return {
        "machine": outcome(matmul_tflops=790.0, matmul_side=8192, copy={"driver_gb_s": 4300.0}),
        "kernels": outcome(parity={"kernels": {"one": True, "two": True}}, bandwidth=rows),
        "latency:segnet": outcome(**latency),
        "compile:segnet": outcome(**compiled),
        "tests": outcome(totals={}, **{"tests/gpu/test_a.py": {"passed": 3, "failed": 0}}),
    }


def results_of(*arguments, **options):
    return {
        row["target"]: row["result"] for row in verdicts(outcomes_of(*arguments, **options), False)
    }


def test_targets_that_are_met():
    results = results_of(0.9, 1.4, 0.85)
    assert results == {
        "kernels equal to PyTorch, share of variants = 1": "pass",
        "segnet, batch 1, labels as in FP32 >= 0.99": "pass",
        "pool kernel, 64 channels of 360x480 and larger, of copy bandwidth >= 0.8": "pass",
        "unpool kernel, 64 channels of 360x480 and larger, of copy bandwidth >= 0.8": "pass",
        "segnet, batch 1, p50 ms < 1.0": "pass",
        "segnet-lite, batch 1, p50 ms < 0.3": "not measured",
        "segnet, batch 1, times torch.compile's speed >= 1.5": "pass",
    }


def test_targets_that_are_missed():
    results = results_of(1.1, 1.2, 0.5, agreement=0.98)
    assert sorted(results.values()) == ["FAIL"] * 5 + ["not measured", "pass"]


def test_random_weights_are_held_to_what_eager_reaches():
    results = results_of(0.9, 1.4, 0.85, agreement=0.97, eager=0.974, trained=False)
    assert results["segnet, batch 1, labels as in FP32 >= 0.969"] == "pass"


def test_no_figures_at_all():
    rows = verdicts({}, False)
    assert {row["result"] for row in rows} == {"not measured"}
    settings = {"device": "cuda", "size_hw": [360, 480]}
    text = tables({"settings": settings, "targets": rows, "steps": {}})
    assert "Not measured." in text


def test_the_tables():
    outcomes = outcomes_of(0.9, 1.44, 0.85)
    settings = {"device": "cuda", "size_hw": [360, 480]}
    text = tables({"settings": settings, "targets": verdicts(outcomes, False), "steps": outcomes})
    assert (
        "Ceilings measured here: 790.0 TFLOP/s (8192x8192x8192 FP16 product), 4300.0 GB/s" in text
    )
    assert "| 1 | roadseg, CUDA graph | 0.9 | 0.9 | 1000.0 | - | 1.0 | 0.995 |" in text
    assert "| 1 | torch.compile reduce-overhead | 1.44 | - | - | - | 1.6 | 0.99 |" in text
    assert "| 1 | arithmetic at the measured rate | 0.2701 |  |  |  | 0.3 |  |" in text
    assert "| roadseg_pool_fp16_hwc8_hwc16 | 1x64x360x480 | 0.01 | 4000.0 | 4500.0 | 0.85 |" in text
    assert "| tests/gpu/test_a.py | 3 | 0 |  |  |" in text
