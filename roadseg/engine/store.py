"""Where engines lie, what they are called, which one fits, and why others do not.

Names tell engines apart, for people and for the shell; what decides whether an engine fits is its
manifest alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.core.cache import user_cache_dir
from roadseg.core.errors import EngineError, ModelError, os_reason, reading
from roadseg.core.shipped import PACKAGE
from roadseg.core.weights_file import is_weights
from roadseg.engine.manifest import EngineManifest, read_manifest
from roadseg.engine.sources import export_sha256
from roadseg.engine.spec import EngineSpec
from roadseg.kernels.kernels import source_hash
from roadseg.weights.calibration import read_calibration, shipped_calibration
from roadseg.weights.manifest import sha256_of

if TYPE_CHECKING:
    from roadseg.cuda.api import DeviceInfo
    from roadseg.engine.runtime import Runtime

__all__ = [
    "SUFFIX",
    "EngineFile",
    "Found",
    "calibration_sha256",
    "checksum_problem",
    "engine_path",
    "engines_dir",
    "export_sha256",
    "find_engine",
    "list_engines",
    "read_engine",
    "read_plan",
    "stale_reasons",
]

SUFFIX = ".engine"


@dataclass(frozen=True)
class EngineFile:
    """An engine on disk: a plain TensorRT plan file, and its manifest."""

    path: Path
    manifest: EngineManifest


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        engine: the newest that fits; None if there is none.
        stale: those that would fit if they were not stale, each with the reasons.
        damaged: what is wrong with manifests in the folder.
    """

    engine: EngineFile | None
    stale: list[tuple[EngineFile, list[str]]] = field(default_factory=list)
    damaged: list[EngineError] = field(default_factory=list)


def engines_dir() -> Path:
    """`engines/` of the checkout that this package runs from, else a folder in the user's cache.

    It may not exist yet.
    """
    checkout = PACKAGE.parent
    if (checkout / "pyproject.toml").is_file():
        return checkout / "engines"
    return user_cache_dir() / "engines"


def engine_path(
    spec: EngineSpec,
    runtime: Runtime,
    device: DeviceInfo | None,
    *,
    weights_sha256: str = "",
    folder: Path | None = None,
) -> Path:
    """The path of an engine.

    >>> engine_path(spec, runtime, device).name
    'segnet-lite_fp16_352x480_b1_plugin_tensorrt-10.13.0.35_sm89-nvidia-geforce-rtx-4090.engine'

    Args:
        spec: what it is; of TensorRT-RTX with the compute capabilities that it is built for.
        runtime: what builds it.
        device: the GPU; only full TensorRT's engines are for one.
        weights_sha256: of the weights' file; part of the name of models that do not ship, because
            many a training run has its best weights.
        folder: default: `engines_dir()`.
    """
    model = spec.model_name
    if spec.model != model:
        model = f"{_slug(model)}-{weights_sha256[:8]}"
    height, width = spec.size_hw
    parts = [model, spec.precision, f"{height}x{width}", f"b{spec.batch_text}"]
    parts.append("portable" if spec.portable else spec.lowering)
    parts.append(f"{spec.target}-{runtime.version_text}")
    if spec.target == "tensorrt-rtx":
        parts.append("sm" + "-".join(map(str, spec.sm)))
    elif device is not None:
        major, minor = device.compute_capability
        parts.append(f"sm{major}{minor}-{_slug(device.name)}")
    return (folder or engines_dir()) / ("_".join(parts) + SUFFIX)


def read_engine(path: Path) -> EngineFile:
    """An engine by its path.

    Raises:
        EngineError: it is not there, or its manifest is missing or damaged.
    """
    with reading(EngineError, path):
        is_there = path.is_file()
    if not is_there:
        raise EngineError(f"no engine at {path}", fix="build one with 'roadseg build-engine'")
    return EngineFile(path, read_manifest(path))


def list_engines(folder: Path | None = None) -> tuple[list[EngineFile], list[EngineError]]:
    """Every engine in a folder that has a manifest, by name; and what is wrong with the others.

    Args:
        folder: default: `engines_dir()`.
    """
    engines, damaged = [], []
    for path in _plans(folder or engines_dir()):
        try:
            engines.append(read_engine(path))
        except EngineError as exc:  # noqa: PERF203
            damaged.append(exc)
    return engines, damaged


def find_engine(
    spec: EngineSpec,
    runtime: Runtime,
    device: DeviceInfo | None,
    *,
    weights_sha256: str | None = None,
    folder: Path | None = None,
) -> Found:
    """The engine to run, whatever its name.

    An engine whose batch is another than the one asked for will do if it reaches that far; one of
    exactly that batch is preferred, and then the newest.

    Args:
        spec: what is wanted; its `sm` and `workspace_mb` do not matter.
        runtime, device: what is to run it.
        weights_sha256: see `stale_reasons`.
        folder: see `list_engines`.
    """
    fitting: list[EngineFile] = []
    stale: list[tuple[EngineFile, list[str]]] = []
    engines, damaged = list_engines(folder)
    for engine in engines:
        if not _is_wanted(engine.manifest, spec, weights_sha256):
            continue
        reasons = unfit_reasons(engine, runtime, device, weights_sha256, quick=True)
        if reasons:
            stale.append((engine, reasons))
        else:
            fitting.append(engine)
    fitting.sort(key=lambda engine: (engine.manifest.batch == spec.batch, engine.manifest.created))
    stale.sort(key=lambda entry: entry[0].manifest.created, reverse=True)
    return Found(fitting[-1] if fitting else None, stale, damaged)


def unfit_reasons(
    engine: EngineFile,
    runtime: Runtime | None,
    device: DeviceInfo | None,
    weights_sha256: str | None,
    *,
    quick: bool = False,
) -> list[str]:
    """Why an engine does not fit what is here: `stale_reasons`, and `checksum_problem`."""
    reasons = stale_reasons(
        engine.manifest,
        runtime=runtime,
        device=device,
        weights_sha256=weights_sha256,
        calibration_sha256=calibration_sha256(engine.manifest),
    )
    damage = checksum_problem(engine, quick=quick)
    return reasons if damage is None else [*reasons, damage]


def stale_reasons(
    manifest: EngineManifest,
    *,
    runtime: Runtime | None = None,
    device: DeviceInfo | None = None,
    weights_sha256: str | None = None,
    calibration_sha256: str | None = None,
    graph_sha256: Callable[[], str] | None = None,
) -> list[str]:
    """Why an engine must be built again; nothing if it need not be.

    Only what is given is compared.

    Args:
        manifest: of the engine.
        runtime: the TensorRT that is to run it.
        device: the GPU that is to run it.
        weights_sha256: of the model's weights' file.
        calibration_sha256: of the calibration's file; only INT8 engines have one.
        graph_sha256: computes the checksum of the graph as it would be exported now. It is called
            only if the exporting code has changed. None: such a change counts as a reason.

    Returns:
        Phrases: `built by tensorrt 10.3.0.26, and 10.13.0.35 is here`.
    """
    reasons = []
    if runtime is not None:
        if manifest.target != runtime.target:
            reasons.append(f"built for {manifest.target}, and {runtime.target} is here")
        elif manifest.tensorrt_version != runtime.version_text:
            reasons.append(
                f"built by {manifest.target} {manifest.tensorrt_version}, and "
                f"{runtime.version_text} is here"
            )
    if device is not None:
        reasons += _gpu_reasons(manifest, device)
    if weights_sha256 is not None and manifest.weights_sha256 != weights_sha256:
        reasons.append(
            f"the weights have changed (sha256 {manifest.weights_sha256[:12]}, now "
            f"{weights_sha256[:12]})"
        )
    if manifest.kernels_sha256 is not None and manifest.kernels_sha256 != source_hash():
        reasons.append("roadseg's kernels have changed")
    known = manifest.calibration
    if known is not None and calibration_sha256 not in (None, known.sha256):
        reasons.append("the calibration has changed")
    # Where something above differs, the graph would too.
    if not reasons and manifest.export_sha256 != export_sha256():
        if graph_sha256 is None:
            reasons.append("roadseg's export has changed")
        elif graph_sha256() != manifest.graph_sha256:
            reasons.append("roadseg exports another graph now")
    return reasons


def calibration_sha256(manifest: EngineManifest) -> str | None:
    """Checksum, now, of the calibration that an INT8 engine was made with.

    None where there is none to compare with: for other engines, without the file, or where the one
    that ships is of other weights.
    """
    known = manifest.calibration
    if known is None:
        return None
    path = Path(known.path) if known.path else shipped_calibration(manifest.architecture)
    try:
        if not known.path and read_calibration(path).weights_sha256 != manifest.weights_sha256:
            return None
        return sha256_of(path)
    except (ModelError, OSError):
        return None


def checksum_problem(engine: EngineFile, *, quick: bool = False) -> str | None:
    """What is wrong with the engine's file; None if it is what was built.

    Args:
        engine: a plan and its manifest.
        quick: look at the size alone.
    """
    try:
        digest = None if quick else partial(sha256_of, engine.path)
        return _plan_problem(engine.manifest, engine.path.stat().st_size, digest)
    except OSError as exc:
        return f"the file cannot be read ({os_reason(exc)})"


def read_plan(engine: EngineFile) -> bytes:
    """The engine's file, which is what its manifest says: TensorRT trusts what it is given, and a
    damaged plan can take the process with it.

    Raises:
        EngineError: it cannot be read, or is damaged.
    """
    manifest = engine.manifest
    try:
        plan = engine.path.read_bytes()
    except OSError as exc:
        raise EngineError(
            f"cannot read the engine {engine.path} ({os_reason(exc)})",
            fix=f"build it: {manifest.build_command()}",
        ) from exc
    problem = _plan_problem(manifest, len(plan), lambda: hashlib.sha256(plan).hexdigest())
    if problem is not None:
        raise EngineError(
            f"{engine.path} cannot be used: {problem}",
            fix=f"copy it again, or build it again: {manifest.build_command()}",
        )
    return plan


def _plan_problem(
    manifest: EngineManifest, size: int, digest: Callable[[], str] | None
) -> str | None:
    if size != manifest.plan_bytes:
        return f"the file is truncated ({size} of {manifest.plan_bytes} bytes)"
    if digest is not None and digest() != manifest.plan_sha256:
        return "the file is damaged (its sha256 is not the one in its manifest)"
    return None


def _plans(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(path for path in folder.glob(f"*{SUFFIX}") if path.is_file())


def _is_wanted(manifest: EngineManifest, spec: EngineSpec, weights_sha256: str | None) -> bool:
    if not _is_same_model(manifest, spec, weights_sha256):
        return False
    same = (manifest.precision, manifest.size_hw, manifest.lowering, manifest.portable)
    if same != (spec.precision, spec.size_hw, spec.lowering, spec.portable):
        return False
    fewest, _usual, most = manifest.batch
    return manifest.target == spec.target and fewest <= spec.batch[0] and spec.batch[2] <= most


def _is_same_model(manifest: EngineManifest, spec: EngineSpec, weights_sha256: str | None) -> bool:
    """The same name, the same weights, or a copy of it."""
    if manifest.source == spec.model or manifest.weights_sha256 == weights_sha256:
        return True
    if not is_weights(spec.model):
        return False
    return Path(manifest.source).resolve() == Path(spec.model).resolve()


def _gpu_reasons(manifest: EngineManifest, device: DeviceInfo) -> list[str]:
    major, minor = device.compute_capability
    here = f"{device.name} ({major}.{minor})"
    if manifest.gpu is not None:
        built = manifest.gpu
        if (built.name, built.compute_capability) == (device.name, device.compute_capability):
            return []
        return [
            f"built on {built.name} ({built.compute_capability[0]}."
            f"{built.compute_capability[1]}), and {here} is here"
        ]
    if manifest.sm and 10 * major + minor not in manifest.sm:
        built_for = ", ".join(f"{sm // 10}.{sm % 10}" for sm in manifest.sm)
        return [f"built for compute capability {built_for}, and {here} is here"]
    return []


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
