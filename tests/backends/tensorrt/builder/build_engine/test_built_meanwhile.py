"""Two builds of one engine at once: the second takes what the first built, if it is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadseg.backends.tensorrt.builder import build_engine as subject
from roadseg.backends.tensorrt.builder.build_engine import build_engine
from roadseg.backends.tensorrt.builder.lock import already_built, build_lock
from roadseg.engine.manifest import (
    CalibrationFacts,
    manifest_path,
    read_manifest,
    write_manifest,
)
from roadseg.engine.spec import EngineSpec
from roadseg.engine.store import checksum_problem
from roadseg.weights.calibration import Calibration, Gate, write_calibration
from roadseg.weights.manifest import sha256_of
from tests.support.tensorrt.building import SIZE_HW

pytestmark = pytest.mark.usefixtures("as_typed")


def test_the_second_takes_what_the_first_built(
    workshop: Callable[..., Any],
    spec: EngineSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "roadseg")
    path = tmp_path / "out" / "x.engine"
    shop, other = workshop(), workshop()

    def lock(engine: Path, waiting: Any) -> Any:
        # The other one comes first, all the way to the end.
        monkeypatch.setattr(subject, "build_lock", build_lock)
        build_engine(spec, output=path, **other.options())
        waiting(4711)
        return WaitedLock(engine)

    class WaitedLock:
        def __init__(self, engine: Path) -> None:
            self._lock = build_lock(engine, print)

        def __enter__(self) -> bool:
            self._lock.__enter__()
            return True

        def __exit__(self, *error: Any) -> Any:
            return self._lock.__exit__(*error)

    monkeypatch.setattr(subject, "build_lock", lock)
    engine = build_engine(spec, output=path, **shop.options())
    assert caplog.messages == [
        "process 4711 is building x.engine: waiting for it",
        "x.engine was built meanwhile",
    ]
    assert shop.world.graph is None
    assert checksum_problem(engine) is None

    # Another precision under the same name is not what was waited for.
    monkeypatch.setattr(subject, "build_lock", lock)
    fp32 = replace(spec, precision="fp32")
    engine = build_engine(fp32, output=path, **shop.options())
    assert engine.manifest.precision == "fp32"
    assert caplog.messages[2:] == ["process 4711 is building x.engine: waiting for it"]


@pytest.mark.parametrize("damage", ["older", "truncated", "gone", "weights"])
def test_the_second_builds_if_the_first_did_not(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path, damage: str
) -> None:
    shop = workshop()
    path = tmp_path / "x.engine"
    engine = build_engine(spec, output=path, **shop.options())
    given = {
        "since": engine.manifest.created,
        "runtime": shop.runtime,
        "weights_sha256": engine.manifest.weights_sha256,
    }
    assert already_built(path, spec, **given) == engine
    if damage == "older":
        given["since"] = "2999-01-01T00:00:00+00:00"
        assert already_built(path, spec, **given) is None
        return
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "gone":
        manifest_path(path).unlink()
    else:
        given["weights_sha256"] = "other"
    assert already_built(path, spec, **given) is None


def test_int8_that_was_built_meanwhile_must_be_of_the_same_calibration(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    shop = workshop()
    path, file = tmp_path / "x.engine", tmp_path / "c.json"
    weights = build_engine(spec, output=path, **shop.options()).manifest.weights_sha256
    gate = Gate("val.txt", 9, 0.7, 0.69, 1.0, 0.99, "a test")
    scales = Calibration("segnet-lite", weights, SIZE_HW, "mse", (), {"x": 0.5}, (), gate)
    write_calibration(scales, file)
    facts = CalibrationFacts(sha256_of(file), (), 1.0, "val.txt", True)
    manifest = replace(read_manifest(path), precision="int8", calibration=facts)
    write_manifest(manifest, manifest_path(path))

    def found(calibration: Path, drop: float, force: bool = False) -> Any:
        made_with = {"calibration": calibration, "max_drop_points": drop, "force": force}
        int8 = replace(spec, precision="int8", **made_with)
        given = {"runtime": shop.runtime, "weights_sha256": weights}
        return already_built(path, int8, since=manifest.created, **given)

    assert found(file, 1.0).manifest == manifest
    assert found(file, 0.5) is None
    assert found(file, 0.5, force=True).manifest == manifest
    assert found(tmp_path / "none.json", 1.0) is None
    write_calibration(replace(scales, method="absmax"), file)
    assert found(file, 1.0) is None
