"""What goes wrong before, during and after a build, and what is left then."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadseg.backends.tensorrt.builder import build_engine as subject
from roadseg.backends.tensorrt.builder import publish
from roadseg.backends.tensorrt.builder.build_engine import build_engine
from roadseg.core.errors import (
    DataError,
    ModelError,
    SinkError,
    UsageError,
)
from roadseg.core.progress import Progress
from roadseg.engine.manifest import (
    read_manifest,
)
from roadseg.engine.spec import EngineSpec
from roadseg.engine.store import checksum_problem
from roadseg.weights import model_names
from tests.support.tensorrt.building import names, no_gpu

pytestmark = pytest.mark.usefixtures("as_typed")


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    shop = workshop()
    path = tmp_path / "file" / "x.engine"
    with pytest.raises(SinkError) as caught:
        build_engine(spec, output=path, **shop.options())
    assert str(caught.value) == (
        f"cannot write {path} ({tmp_path / 'file'} is no folder): give another folder "
        "with --output, or free the space it needs"
    )
    assert shop.world.graph is None
    (tmp_path / "x.engine").mkdir()
    with pytest.raises(SinkError) as caught:
        publish.claim_engine(tmp_path / "x.engine")
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'x.engine'}: it is a folder: give another --output"
    )


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_folder_without_permission(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(SinkError, match="Permission denied"):
            build_engine(spec, output=tmp_path / "x.engine", **workshop().options())
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("what", ["plan", "name", "manifest"])
def test_a_disk_that_is_full(
    workshop: Callable[..., Any],
    spec: EngineSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    path = tmp_path / "x.engine"
    full = OSError(28, "No space left on device")

    def fail(*args: object, **options: object) -> None:
        raise full

    if what == "plan":
        monkeypatch.setattr(os, "fsync", fail)
    elif what == "name":
        real = Path.replace
        monkeypatch.setattr(
            Path,
            "replace",
            lambda self, target: fail() if target == path else real(self, target),
        )
    else:

        def refuse(manifest: Any, target: Path) -> None:
            raise SinkError(f"cannot write {target}: No space left on device")

        monkeypatch.setattr(publish, "write_manifest", refuse)
    with pytest.raises(SinkError, match="No space left on device"):
        build_engine(spec, output=path, **workshop().options())
    monkeypatch.undo()
    assert names(tmp_path) == []


def test_what_killed_builds_left_is_cleared(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".x.engine.4711.part").write_bytes(b"half")
    (folder / ".x.engine.lock").write_text("4711")
    (folder / ".y.engine.4711.part").write_bytes(b"of another")
    build_engine(spec, output=folder / "x.engine", **workshop().options())
    assert names(folder) == [".y.engine.4711.part", "x.engine", "x.engine.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_ctrl_c_leaves_what_was_there(
    workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path
) -> None:
    path = tmp_path / "out" / "x.engine"
    before = build_engine(spec, output=path, **workshop().options())
    shop = workshop()
    shop.world.during = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build_engine(spec, output=path, **shop.options())
    assert shop.world.steps == 2
    assert checksum_problem(before) is None
    assert read_manifest(path) == before.manifest
    assert names(path.parent) == ["x.engine", "x.engine.json"]


def test_no_such_model(workshop: Callable[..., Any], spec: EngineSpec, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="^unknown model 'segnat'"):
        build_engine(replace(spec, model="segnat"), **workshop().options())
    with pytest.raises(UsageError) as caught:
        build_engine(replace(spec, model="x.onnx"), **workshop().options())
    assert str(caught.value) == (
        f"x.onnx is an ONNX file, no weights: use --model {'|'.join(model_names())}, or a "
        ".safetensors file of 'roadseg train'"
    )
    missing = str(tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match="^no model file at "):
        build_engine(replace(spec, model=missing), **workshop().options())


def test_data_that_is_not_there_is_refused_before_any_work(
    workshop: Callable[..., Any],
    spec: EngineSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from roadseg.backends.tensorrt.builder.parity import parity_frames

    monkeypatch.setattr(subject, "parity_frames", parity_frames)
    missing = tmp_path / "none"
    rtx = replace(spec, target="tensorrt-rtx", lowering="native")
    for wanted, version, changes in (
        (spec, "10.13.0.35", {}),
        (rtx, "1.7.1.116", {"open_cuda": no_gpu}),
    ):
        shop = workshop(version, wanted.target)
        states: list[Progress] = []
        options = shop.options() | changes | {"progress": states.append}
        with pytest.raises(DataError) as caught:
            build_engine(wanted, output=tmp_path, data=missing, **options)
        assert str(caught.value) == (
            f"nothing at {missing} to compare labels on: give --data a folder of images or a video "
            "file"
        )
        assert (shop.world.graph, states) == (None, [])


def test_a_probe_that_another_build_clears_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.engine"
    touch = Path.touch

    def lose(self: Path) -> None:
        touch(self)
        self.unlink()

    monkeypatch.setattr(Path, "touch", lose)
    publish.claim_engine(path)


@pytest.mark.parametrize("drop", [float("nan"), -0.1, float("inf")])
def test_drops_that_make_no_sense(spec: EngineSpec, drop: float) -> None:
    with pytest.raises(UsageError) as caught:
        replace(spec, max_drop_points=drop)
    assert str(caught.value) == (f"a drop of {drop:g} points: use for example --max-drop 0.5")
