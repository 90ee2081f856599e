"""What can be asked for, and what is said of what cannot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from roadseg.core.errors import UsageError
from roadseg.engine.spec import EngineSpec, parse_batch, parse_sm

pytestmark = pytest.mark.usefixtures("as_typed")

TENSORRT = EngineSpec("segnet-lite", "fp16", (352, 480), (1, 1, 1), "tensorrt", "plugin")
RTX = EngineSpec("segnet-lite", "fp16", (352, 480), (1, 1, 1), "tensorrt-rtx", "native")


@pytest.mark.parametrize(
    ("text", "batch", "shown"),
    [
        ("1", (1, 1, 1), "1"),
        ("4", (4, 4, 4), "4"),
        ("1-8", (1, 8, 8), "1-8"),
        (" 1-2-8 ", (1, 2, 8), "1-2-8"),
        ("1-1-8", (1, 1, 8), "1-1-8"),
    ],
)
def test_batches(text: str, batch: tuple[int, int, int], shown: str) -> None:
    assert parse_batch(text) == batch
    spec = replace(TENSORRT, batch=batch)
    assert spec.batch_text == shown
    assert parse_batch(shown) == batch
    assert spec.is_dynamic is (batch[0] != batch[2])


@pytest.mark.parametrize("text", ["", "two", "1-", "-1", "1-2-3-4", "1.5", "1,8"])
def test_what_is_no_batch(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_batch(text)
    assert str(caught.value) == (
        f"batch {text!r} is not a number of frames: use for example --batch 1 or --batch 1-8"
    )


def test_compute_capabilities() -> None:
    assert parse_sm("89") == (89,)
    assert parse_sm("120, 86,89,86") == (86, 89, 120)


@pytest.mark.parametrize("text", ["", "8.9", "sm89", "8", "86,,89", "1200"])
def test_what_is_no_compute_capability(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_sm(text)
    assert str(caught.value) == (
        f"compute capability {text!r}: use for example --sm 89, or --sm 86,89 for both"
    )


@pytest.mark.parametrize(
    ("spec", "change", "line"),
    [
        (
            TENSORRT,
            {"precision": "bf16"},
            "unknown precision 'bf16': use fp16, int8 or fp32",
        ),
        (
            TENSORRT,
            {"target": "cpu"},
            "unknown target 'cpu': use --target tensorrt|tensorrt-rtx",
        ),
        (
            TENSORRT,
            {"lowering": "other"},
            "unknown lowering 'other': use plugin or native",
        ),
        (
            TENSORRT,
            {"size_hw": (16, 480)},
            "network input 16x480: its sides must be 32 to 4096: use for example --size 352x480",
        ),
        (
            TENSORRT,
            {"size_hw": (352, 5000)},
            "network input 352x5000: its sides must be 32 to 4096: use for example --size 352x480",
        ),
        (
            TENSORRT,
            {"batch": (0, 0, 0)},
            "batch 0-0-0: it must be 1 to 256, fewest first: use for example --batch 1 or "
            "--batch 1-8",
        ),
        (
            TENSORRT,
            {"batch": (8, 1, 1)},
            "batch 8-1-1: it must be 1 to 256, fewest first: use for example --batch 1 or "
            "--batch 1-8",
        ),
        (
            TENSORRT,
            {"workspace_mb": 0},
            "workspace of 0 MiB: it must be 1 to 1048576: use for example --workspace 1024",
        ),
        (
            TENSORRT,
            {"workspace_mb": 99999999999999},
            "workspace of 99999999999999 MiB: it must be 1 to 1048576: use for example "
            "--workspace 1024",
        ),
        (
            TENSORRT,
            {"sm": (89,)},
            "full TensorRT builds for the GPU of this machine: leave --sm out, or use --target "
            "tensorrt-rtx, whose engines are for several",
        ),
        (
            TENSORRT,
            {"lowering": "native", "portable": True},
            "the native lowering needs no plugin and is portable as it is: leave --portable out",
        ),
        (
            RTX,
            {"lowering": "plugin"},
            "TensorRT-RTX has no Python plugins: use the native lowering (without --portable), or "
            "--target tensorrt",
        ),
        (
            RTX,
            {"sm": (75, 86, 89)},
            "an engine for compute capability 75 (Turing) is for that alone: build two, one with "
            "--sm 75 and one with --sm 86,89",
        ),
    ],
)
def test_what_cannot_be_built(spec: EngineSpec, change: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        replace(spec, **change)
    assert str(caught.value) == line


def test_names_of_models() -> None:
    assert TENSORRT.model_name == "segnet-lite"
    assert replace(TENSORRT, model="runs/night/best.safetensors").model_name == "best"


def test_what_can_be_built() -> None:
    for change in (
        {"sm": (75,)},
        {"sm": (86, 120)},
        {"size_hw": (360, 480)},
        {"size_hw": (32, 4096)},
        {"workspace_mb": 64},
    ):
        replace(RTX, **change)  # type: ignore[arg-type]
    replace(TENSORRT, lowering="native")
    replace(TENSORRT, portable=True)
