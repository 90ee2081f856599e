"""Which engines there are, and whether they fit this GPU, this TensorRT and these weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.core.installing import gpu_extra, install
from roadseg.core.weights_file import is_weights
from roadseg.doctor.probing import Probe
from roadseg.doctor.report import Level, Verdict, note, ok

if TYPE_CHECKING:
    from roadseg.cuda.api import DeviceInfo
    from roadseg.engine.manifest import EngineManifest
    from roadseg.engine.runtime import Runtime
    from roadseg.engine.store import EngineFile
    from roadseg.weights.manifest import ManifestEntry


def check_engines(folder: Path, weights_dir: Path, gpu: Probe, tensorrt: Probe) -> list[Verdict]:
    """The engines in a folder.

    Args:
        folder: where they are looked for.
        weights_dir: where the models that ship lie.
        gpu: how the driver answered.
        tensorrt: how TensorRT loaded.
    """
    from roadseg.engine.store import list_engines, unfit_reasons
    from roadseg.weights.manifest import load_manifest

    findings: list[Verdict] = []
    engines, damaged = list_engines(folder)
    findings += [note(exc.what, exc.fix) for exc in damaged]
    device, runtime = _device(gpu), _runtime(tensorrt)
    fitting: list[EngineFile] = []
    entries = load_manifest(weights_dir) if engines else {}
    for engine in engines:
        weights_sha256 = _weights_sha256(engine.manifest, entries)
        reasons = unfit_reasons(engine, runtime, device, weights_sha256)
        if reasons:
            text = f"{_describe(engine.manifest)} does not fit: {'; '.join(reasons)}"
            command = engine.manifest.build_command().strip("'")
            facts = {"path": str(engine.path), "fits": False, "reasons": reasons}
            findings.append(note(text, command, facts))
        else:
            fitting.append(engine)
    if fitting:
        facts = {"paths": [str(engine.path) for engine in fitting], "fits": True}
        names = ", ".join(_describe(engine.manifest) for engine in fitting)
        if device is None or runtime is None:
            text = f"{names}: not used without a GPU and TensorRT"
            findings.append(note(text, None, facts))
        else:
            text = f"{names} fit{'s' if len(fitting) == 1 else ''}"
            findings.insert(0, ok(text, facts))
    if not findings:
        text = "none yet" if device is None else "none yet: the first run builds one"
        findings.append(ok(text))
    return findings


def has_engine(folder: Path, weights_dir: Path, gpu: Probe, tensorrt: Probe) -> bool:
    """Whether there is an engine that a run takes, of any model that ships: then it builds none.

    Args:
        folder, weights_dir, gpu, tensorrt: see `check_engines`.
    """
    from roadseg.engine.store import list_engines, unfit_reasons
    from roadseg.weights.manifest import load_manifest

    device, runtime = _device(gpu), _runtime(tensorrt)
    if device is None or runtime is None:
        return False
    engines = list_engines(folder)[0]
    entries = load_manifest(weights_dir) if engines else {}
    for engine in engines:
        manifest = engine.manifest
        # What `run` falls back to, too: any precision, portable or not, as long as it fits.
        if manifest.source not in entries or manifest.batch[0] > 1:
            continue
        weights_sha256 = _weights_sha256(manifest, entries)
        if not unfit_reasons(engine, runtime, device, weights_sha256, quick=True):
            return True
    return False


def check_builder(backend: Probe, tensorrt: Probe, *, gpu: bool, level: Level) -> Verdict:
    """What building an engine needs beside TensorRT: PyTorch and ONNX.

    Args:
        backend: the probe of the backends, which looked for them.
        tensorrt: how TensorRT loaded.
        gpu: whether there is one to build for; TensorRT-RTX builds without.
        level: how bad it is if they are missing.
    """
    rtx = not tensorrt.failed and tensorrt.facts["target"] == "tensorrt-rtx"
    if not gpu and not rtx:
        text = "not used: there is no GPU, and no TensorRT-RTX, which builds without one"
        return note(text)
    missing = [name for name in ("torch", "onnx") if not backend.facts.get(name)]
    if missing:
        text = f"{' and '.join(missing)} not installed: engines cannot be built"
        extra = gpu_extra() if tensorrt.failed else "export"
        return Verdict(level if gpu else Level.NOTE, text, install(extra))
    text = "PyTorch and ONNX are installed"
    if not gpu:
        text += ": engines for RTX cards can be built here"
    return ok(text)


def _describe(manifest: EngineManifest) -> str:
    # Files have longer names than fit on a line; this tells apart whatever a name does.
    height, width = manifest.size_hw
    words = [manifest.model, manifest.precision, f"{height}x{width}"]
    if manifest.batch != (1, 1, 1):
        words.append(f"batch {manifest.spec.batch_text}")
    if manifest.portable:
        words.append("portable")
    elif manifest.target == "tensorrt" and manifest.lowering == "native":
        words.append("native")
    if manifest.target == "tensorrt-rtx":
        words.append("RTX " + ",".join(map(str, manifest.sm)))
    if is_weights(manifest.source):
        words.append(f"({manifest.weights_sha256[:8]})")
    return " ".join(words)


def _device(gpu: Probe) -> DeviceInfo | None:
    if not gpu.facts.get("gpus"):
        return None
    from roadseg.cuda.api import DeviceInfo

    first = gpu.facts["gpus"][0]
    major, minor = first["compute_capability"]
    cuda = gpu.facts["cuda"] or [0, 0]
    return DeviceInfo(0, first["name"], (major, minor), first["bytes"], (cuda[0], cuda[1]))


def _runtime(tensorrt: Probe) -> Runtime | None:
    if tensorrt.failed:
        return None
    from roadseg.engine.runtime import Runtime

    # Its version is all that engines are compared with.
    return Runtime(None, tensorrt.facts["target"], (), tensorrt.facts["version"])


def _weights_sha256(manifest: EngineManifest, entries: Mapping[str, ManifestEntry]) -> str | None:
    """The checksum that the weights have now; None for a file that is not ours."""
    entry = entries.get(manifest.source)
    if entry is None or "torch" not in entry.files:
        return None
    return entry.files["torch"].parts[0].sha256
