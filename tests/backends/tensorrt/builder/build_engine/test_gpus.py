"""Which GPU an engine is built on and for, and builds without one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadseg.backends.tensorrt.builder.build_engine import build_engine
from roadseg.core.errors import (
    BackendError,
    UsageError,
)
from roadseg.engine.manifest import (
    ParityFacts,
)
from roadseg.engine.spec import EngineSpec
from tests.support.tensorrt.building import no_gpu

pytestmark = pytest.mark.usefixtures("as_typed")


def test_full_tensorrt_wants_a_gpu(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    options = workshop().options() | {"open_cuda": no_gpu}
    with pytest.raises(BackendError, match="^there is no NVIDIA driver"):
        build_engine(spec, output=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_the_rtx_edition_builds_without_and_says_what_that_means(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    shop = workshop("1.7.1.116", "tensorrt-rtx")
    rtx = replace(spec, target="tensorrt-rtx", lowering="native")
    options = shop.options() | {"open_cuda": no_gpu}
    engine = build_engine(rtx, output=tmp_path, **options)
    facts = engine.manifest
    assert (facts.gpu, facts.sm) == (None, (80, 86, 89, 120))
    assert (facts.parity, facts.not_verified) == (
        None,
        "no GPU: there is no NVIDIA driver (libcuda cannot be loaded)",
    )
    assert engine.path.name.endswith("_native_tensorrt-rtx-1.7.1.116_sm80-86-89-120.engine")


def test_the_rtx_edition_compares_where_there_is_a_gpu_of_its_own(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    shop = workshop("1.7.1.116", "tensorrt-rtx")
    rtx = replace(spec, target="tensorrt-rtx", lowering="native", batch=(1, 2, 4))
    facts = build_engine(rtx, output=tmp_path, **shop.options()).manifest
    assert (facts.gpu, facts.sm) == (None, (80, 86, 89, 120))
    assert facts.parity == ParityFacts(1.0, 8, "drive.mp4", "PyTorch FP32")
    assert facts.not_verified is None


def test_an_engine_for_another_gpu_cannot_be_compared_here(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    shop = workshop("1.7.1.116", "tensorrt-rtx")
    rtx = replace(spec, target="tensorrt-rtx", lowering="native", sm=(120,))
    engine = build_engine(rtx, output=tmp_path, **shop.options())
    assert engine.manifest.not_verified == (
        f"built for compute capability 12.0, and {shop.cuda.device.name} (8.9) is here"
    )


def test_another_tensorrt_than_the_one_asked_for(
    workshop: Callable[..., Any], spec: EngineSpec
) -> None:
    shop = workshop("1.7.1.116", "tensorrt-rtx")
    with pytest.raises(UsageError) as caught:
        build_engine(spec, **shop.options())
    assert str(caught.value) == (
        "an engine for tensorrt cannot be built by TensorRT-RTX 1.7.1.116: use --target "
        "tensorrt-rtx"
    )


def test_a_gpu_of_its_own_is_closed(
    workshop: Callable[..., Any],
    spec: EngineSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = workshop()
    closed: list[int] = []

    shop.cuda.close = lambda: closed.append(1)
    monkeypatch.setattr("roadseg.cuda.load.load_cuda", lambda: shop.cuda)
    options = shop.options()
    del options["open_cuda"]
    build_engine(spec, output=tmp_path, **options)
    assert closed == [1]
