"""Where engines lie, what they are called, which one is taken, and why others are not."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import roadseg
from roadseg.core.errors import EngineError
from roadseg.core.labels import CLASS_NAMES
from roadseg.cuda.api import DeviceInfo
from roadseg.engine import sources, store
from roadseg.engine.manifest import (
    CalibrationFacts,
    EngineManifest,
    Gpu,
    manifest_path,
    write_manifest,
)
from roadseg.engine.runtime import Runtime
from roadseg.engine.sources import SOURCES
from roadseg.engine.spec import EngineSpec
from roadseg.engine.store import (
    EngineFile,
    checksum_problem,
    engine_path,
    engines_dir,
    export_sha256,
    find_engine,
    list_engines,
    read_engine,
    stale_reasons,
)
from roadseg.kernels.kernels import source_hash

DEVICE = DeviceInfo(0, "NVIDIA GeForce RTX 4090", (8, 9), 24 << 30, (13, 0))
ORIN = DeviceInfo(0, "Orin", (8, 7), 8 << 30, (12, 6))
RUNTIME = Runtime(None, "tensorrt", (10, 13, 0, 35), "10.13.0.35")
RTX = Runtime(None, "tensorrt-rtx", (1, 7, 1, 116), "1.7.1.116")
SPEC = EngineSpec("segnet-lite", "fp16", (352, 480), (1, 1, 1), "tensorrt", "plugin")
RTX_SPEC = replace(SPEC, target="tensorrt-rtx", lowering="native")
PLAN = b"a plan"


def manifest(**changes: Any) -> EngineManifest:
    facts = {
        "model": "segnet-lite",
        "source": "segnet-lite",
        "architecture": "segnet-lite",
        "weights_sha256": "a" * 64,
        "graph_sha256": "b" * 64,
        "export_sha256": export_sha256(),
        "precision": "fp16",
        "size_hw": (352, 480),
        "batch": (1, 1, 1),
        "lowering": "plugin",
        "portable": False,
        "kernels_sha256": source_hash(),
        "target": "tensorrt",
        "tensorrt_version": "10.13.0.35",
        "gpu": Gpu(DEVICE.name, DEVICE.compute_capability),
        "sm": (),
        "workspace_mb": None,
        "classes": CLASS_NAMES,
        "palette_rgb": (),
        "calibration": None,
        "parity": None,
        "not_verified": "not now",
        "build_s": 1.0,
        "created": "2026-01-01T00:00:00+00:00",
        "roadseg_version": "0.1.0",
        "plan_bytes": len(PLAN),
        "plan_sha256": hashlib.sha256(PLAN).hexdigest(),
    }
    return EngineManifest(**facts | changes)  # type: ignore[arg-type]


def put(folder: Path, name: str, **changes: Any) -> EngineFile:
    path = folder / f"{name}.engine"
    path.write_bytes(PLAN)
    write_manifest(manifest(**changes), manifest_path(path))
    return read_engine(path)


def test_engines_lie_in_the_checkout_or_in_the_cache(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = Path(roadseg.__file__).resolve().parent.parent
    assert engines_dir() == checkout / "engines"
    installed = tmp_path / "site-packages" / "roadseg"
    monkeypatch.setattr(store, "PACKAGE", installed)
    assert engines_dir() == own_cache / "engines"


@pytest.mark.parametrize(
    ("spec", "runtime", "sm", "name"),
    [
        (
            SPEC,
            RUNTIME,
            (),
            "segnet-lite_fp16_352x480_b1_plugin_tensorrt-10.13.0.35_"
            "sm89-nvidia-geforce-rtx-4090.engine",
        ),
        (
            replace(SPEC, precision="int8", batch=(1, 4, 8), portable=True, size_hw=(360, 480)),
            RUNTIME,
            (),
            "segnet-lite_int8_360x480_b1-4-8_portable_tensorrt-10.13.0.35_"
            "sm89-nvidia-geforce-rtx-4090.engine",
        ),
        (
            RTX_SPEC,
            RTX,
            (86, 89),
            "segnet-lite_fp16_352x480_b1_native_tensorrt-rtx-1.7.1.116_sm86-89.engine",
        ),
        (
            replace(RTX_SPEC, model="runs/My Best (2).safetensors"),
            RTX,
            (75,),
            "my-best-2-01234567_fp16_352x480_b1_native_tensorrt-rtx-1.7.1.116_sm75.engine",
        ),
    ],
)
def test_names(
    spec: EngineSpec, runtime: Runtime, sm: tuple[int, ...], name: str, tmp_path: Path
) -> None:
    spec = replace(spec, sm=sm)
    path = engine_path(spec, runtime, DEVICE, weights_sha256="0123456789ab", folder=tmp_path)
    assert path == tmp_path / name


def test_whatever_makes_another_engine_makes_another_name() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"precision": "fp32"},
        {"size_hw": (320, 480)},
        {"batch": (2, 2, 2)},
        {"batch": (1, 2, 2)},
        {"lowering": "native"},
        {"portable": True},
        {"model": "segnet"},
    ]
    names = {engine_path(replace(SPEC, **change), RUNTIME, DEVICE).name for change in changes}
    names.add(engine_path(SPEC, RUNTIME, ORIN).name)
    names.add(engine_path(SPEC, replace(RUNTIME, version_text="10.3.0.26"), DEVICE).name)
    assert len(names) == len(changes) + 2


def test_the_newest_that_fits_is_taken(tmp_path: Path) -> None:
    old = put(tmp_path, "b", created="2026-01-01T00:00:00+00:00")
    new = put(tmp_path, "a", created="2026-02-01T00:00:00+00:00")
    assert find_engine(SPEC, RUNTIME, DEVICE, folder=tmp_path).engine == new
    new.path.unlink()
    assert find_engine(SPEC, RUNTIME, DEVICE, folder=tmp_path).engine == old
    assert find_engine(SPEC, RUNTIME, DEVICE, folder=tmp_path / "none").engine is None


@pytest.mark.parametrize(
    "change",
    [
        {"source": "segnet"},
        {"precision": "fp32"},
        {"size_hw": (320, 480)},
        {"lowering": "native"},
        {"portable": True},
        {"target": "tensorrt-rtx"},
        {"batch": (2, 2, 2)},
    ],
)
def test_what_is_something_else_is_not_taken_and_not_stale(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    put(tmp_path, "x", **change)
    found = find_engine(SPEC, RUNTIME, DEVICE, folder=tmp_path)
    assert (found.engine, found.stale) == (None, [])


def test_batches_that_reach_far_enough(tmp_path: Path) -> None:
    wide = put(tmp_path, "wide", batch=(1, 8, 8), created="2027-01-01T00:00:00+00:00")
    assert find_engine(SPEC, RUNTIME, DEVICE, folder=tmp_path).engine == wide
    exact = put(tmp_path, "exact", created="2026-01-01T00:00:00+00:00")
    assert find_engine(SPEC, RUNTIME, DEVICE, folder=tmp_path).engine == exact
    four = replace(SPEC, batch=(4, 4, 4))
    assert find_engine(four, RUNTIME, DEVICE, folder=tmp_path).engine == wide
    assert find_engine(replace(SPEC, batch=(1, 9, 9)), RUNTIME, DEVICE, folder=tmp_path) == (
        store.Found(None, [])
    )


def test_a_model_of_the_users_is_known_by_its_file(tmp_path: Path) -> None:
    weights = tmp_path / "best.safetensors"
    engine = put(tmp_path, "x", source=str(weights), weights_sha256="c" * 64)
    spec = replace(SPEC, model=str(tmp_path / "." / "best.safetensors"))
    assert find_engine(spec, RUNTIME, DEVICE, folder=tmp_path).engine == engine
    # A copy elsewhere; and other weights elsewhere.
    spec = replace(SPEC, model="copied/best.safetensors")
    found = find_engine(spec, RUNTIME, DEVICE, weights_sha256="c" * 64, folder=tmp_path)
    assert found.engine == engine
    found = find_engine(spec, RUNTIME, DEVICE, weights_sha256="d" * 64, folder=tmp_path)
    assert (found.engine, found.stale) == (None, [])


def test_stale_ones_are_explained(tmp_path: Path) -> None:
    engine = put(tmp_path, "x", tensorrt_version="10.3.0.26", gpu=Gpu("Orin", (8, 7)))
    found = find_engine(SPEC, RUNTIME, DEVICE, weights_sha256="c" * 64, folder=tmp_path)
    assert found.engine is None
    assert found.stale == [
        (
            engine,
            [
                "built by tensorrt 10.3.0.26, and 10.13.0.35 is here",
                "built on Orin (8.7), and NVIDIA GeForce RTX 4090 (8.9) is here",
                "the weights have changed (sha256 aaaaaaaaaaaa, now cccccccccccc)",
            ],
        )
    ]


def test_a_truncated_one_is_explained(tmp_path: Path) -> None:
    engine = put(tmp_path, "x")
    engine.path.write_bytes(PLAN[:2])
    found = find_engine(SPEC, RUNTIME, DEVICE, folder=tmp_path)
    assert found.stale == [(engine, ["the file is truncated (2 of 6 bytes)"])]


@pytest.mark.parametrize(
    ("change", "given", "reason"),
    [
        ({}, {}, None),
        ({"target": "tensorrt-rtx"}, {}, "built for tensorrt-rtx, and tensorrt is here"),
        ({"kernels_sha256": "e" * 64}, {}, "roadseg's kernels have changed"),
        ({"export_sha256": "e" * 64}, {}, "roadseg's export has changed"),
        (
            {"gpu": Gpu("NVIDIA L4", (8, 9))},
            {},
            "built on NVIDIA L4 (8.9), and NVIDIA GeForce RTX 4090 (8.9) is here",
        ),
        ({"gpu": None, "sm": (89,)}, {}, None),
        (
            {"gpu": None, "sm": (75,)},
            {},
            "built for compute capability 7.5, and NVIDIA GeForce RTX 4090 (8.9) is here",
        ),
        (
            {"gpu": None, "sm": (80, 120)},
            {},
            "built for compute capability 8.0, 12.0, and NVIDIA GeForce RTX 4090 (8.9) is here",
        ),
        (
            {"calibration": CalibrationFacts("f" * 64, (), 0.1, "val.txt", False)},
            {"calibration_sha256": "e" * 64},
            "the calibration has changed",
        ),
        (
            {"calibration": CalibrationFacts("f" * 64, (), 0.1, "val.txt", False)},
            {"calibration_sha256": "f" * 64},
            None,
        ),
        ({}, {"calibration_sha256": "e" * 64}, None),
    ],
)
def test_reasons(change: dict[str, Any], given: dict[str, Any], reason: str | None) -> None:
    reasons = stale_reasons(
        manifest(**change), runtime=RUNTIME, device=DEVICE, weights_sha256="a" * 64, **given
    )
    assert reasons == ([] if reason is None else [reason])


def test_the_graph_is_exported_only_if_the_code_has_changed() -> None:
    asked: list[int] = []

    def graph(digest: str) -> Any:
        def compute() -> str:
            asked.append(1)
            return digest

        return compute

    assert stale_reasons(manifest(), graph_sha256=graph("other")) == []
    assert asked == []
    changed = manifest(export_sha256="e" * 64)
    assert stale_reasons(changed, graph_sha256=graph("b" * 64)) == []
    assert stale_reasons(changed, graph_sha256=graph("c" * 64)) == [
        "roadseg exports another graph now"
    ]
    assert len(asked) == 2
    # Other weights make another graph in any case.
    assert len(stale_reasons(changed, weights_sha256="c", graph_sha256=graph("c"))) == 1
    assert len(asked) == 2


def test_nothing_given_nothing_compared() -> None:
    assert stale_reasons(manifest(tensorrt_version="1", gpu=Gpu("x", (1, 1)))) == []


def test_checksums(tmp_path: Path) -> None:
    engine = put(tmp_path, "x")
    assert checksum_problem(engine) is None
    engine.path.write_bytes(b"b plan")
    assert checksum_problem(engine, quick=True) is None
    assert checksum_problem(engine) == (
        "the file is damaged (its sha256 is not the one in its manifest)"
    )
    engine.path.unlink()
    assert checksum_problem(engine) == ("the file cannot be read (No such file or directory)")


def test_the_list_leaves_out_what_has_no_manifest_and_says_so(tmp_path: Path) -> None:
    engine = put(tmp_path, "good")
    (tmp_path / "alone.engine").write_bytes(PLAN)
    (tmp_path / ".good.engine.77.part").write_bytes(PLAN)
    (tmp_path / "folder.engine").mkdir()
    engines, damaged = list_engines(tmp_path)
    assert engines == [engine]
    assert [str(problem) for problem in damaged] == [
        f"{tmp_path / 'alone.engine'} has no manifest (alone.engine.json beside it): copy it "
        "along, or build the engine again with 'roadseg build-engine'"
    ]


def test_no_engine_at_a_path(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        read_engine(tmp_path / "x.engine")
    assert str(caught.value) == (
        f"no engine at {tmp_path / 'x.engine'}: build one with 'roadseg build-engine'"
    )


def test_the_code_that_exports_is_all_there() -> None:
    # A file that is renamed must be renamed there, too.
    assert len(export_sha256()) == 64
    package = Path(roadseg.__file__).parent
    imported = {"export/lowering.py", "export/operators.py", "export/builder.py"}
    assert imported < set(SOURCES)
    assert all(list(package.glob(name)) for name in SOURCES)


def test_the_checksum_outlives_a_version_of_python() -> None:
    # By 3.10, 3.11, 3.12 and 3.13; `ast.unparse` and `ast.dump` give three texts for it.
    source = b'''"""Doc."""
def size(x, *, names=("a",)) -> tuple[int, int]:
    """Doc."""
    (height, width) = x.shape[-2:]
    return height, f"use {x} {x!r:>4}" if False else f'use {x}'


class Net:
    kept: int = 3

    async def run(self):
        match self:
            case Net(kept=k) if k > 1:
                yield lambda a, /, b=1: (a, b)
'''
    assert hashlib.sha256(sources._meaning(source)).hexdigest()[:16] == "a123e3f7100d2056"
    assert sources._meaning(source.replace(b"-2:", b"2:")) != sources._meaning(source)
    assert sources._meaning(source.replace(b"Doc.", b"Other.")) == sources._meaning(source)


@pytest.fixture
def package_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The code that exports, to be changed."""
    original = Path(roadseg.__file__).parent
    for pattern in SOURCES:
        for path in original.glob(pattern):
            target = tmp_path / "roadseg" / path.relative_to(original)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    monkeypatch.setattr(sources, "PACKAGE", tmp_path / "roadseg")
    return tmp_path / "roadseg"


def test_a_changed_forward_makes_engines_stale(package_copy: Path) -> None:
    before = export_sha256()
    path = package_copy / "models" / "segnet_lite.py"
    text = path.read_text(encoding="utf-8")
    assert "+ half)" in text
    path.write_text(text.replace("+ half)", "- half)"))
    assert export_sha256() != before


def test_formatting_comments_and_docstrings_do_not(package_copy: Path) -> None:
    before = export_sha256()
    for path in package_copy.rglob("*.py"):
        lines = path.read_text(encoding="utf-8").replace('"""', '"""Really: ', 1).splitlines()
        path.write_text("\r\n".join([*lines, "", "# A remark.", ""]))
    (package_copy / "models" / "segnet.py").write_text(
        "# New.\n"
        + (package_copy / "models" / "segnet.py")
        .read_text(encoding="utf-8")
        .replace("(\n", "( \n\n")
    )
    assert export_sha256() == before
