"""What files and folders are like: shipped weights, the user's modules, caches."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

from roadseg.core.errors import ModelError, os_reason
from roadseg.core.installing import reinstall
from roadseg.core.shadowing import local_shadow, shadowing_path
from roadseg.core.shipped import shipped_file
from roadseg.doctor.report import Level, Verdict, note, ok, problem

_REINSTALL = reinstall("--no-deps roadseg")

# Whether a run without a GPU needs it.
_PACKAGES = {
    "av": True,
    "cv2": True,
    "numpy": True,
    "openvino": True,
    "cuda": False,
    "onnx": False,
    "pycuda": False,
    "tensorrt": False,
    "tensorrt_rtx": False,
    "tensorrt_rtx_bindings": False,
    "torch": False,
}


def check_documentation() -> Verdict:
    """Where the pages lie that help and messages name."""
    folder, sample = shipped_file("docs"), shipped_file("samples/drive.mp4")
    facts = {"docs": str(folder), "sample": str(sample)}
    if not folder.is_dir() or not sample.is_file():
        return note(f"missing from {folder.parent}", _REINSTALL, facts)
    return ok(f"{folder}, and a sample clip: {sample}", facts)


def check_weights(directory: Path, *, model: str, runtime: str) -> list[Verdict]:
    """The models that ship.

    Args:
        directory: where their manifest lies.
        model: what a run falls back to.
        runtime: the files that the default backend takes: `openvino`, `torch`.
    """
    # Here, because NumPy, which it imports, may be what is broken.
    from roadseg.weights.manifest import load_manifest

    try:
        entries = load_manifest(directory)
    except ModelError as exc:
        return [problem(exc.what, _REINSTALL)]
    if model not in entries or runtime not in entries[model].files:
        text = f"{model} is not here: {directory} lists no {runtime} file of it"
        return [problem(text, _REINSTALL)]
    findings, unbroken = [], []
    for entry in entries.values():
        whole = []
        for name, file in entry.files.items():
            # A run chooses between networks, on a CPU those with a ladder, and opens any of them.
            is_choice = bool(entry.ladder) or runtime != "openvino" or entry.name == model
            level = Level.PROBLEM if is_choice and name == runtime else Level.NOTE
            broken = [
                Verdict(level, f"{entry.name} for {name}: {trouble}", _REINSTALL)
                for part in file.parts
                if (trouble := _trouble(part.path, part.sha256))
            ]
            findings += broken
            if not broken:
                whole.append(f"{name} {file.precision}")
        if whole:
            unbroken.append(f"{entry.name} ({', '.join(whole)})")
    if unbroken:
        findings.append(ok(", ".join(unbroken)))
    return findings


def check_shadows(working_dir: Path) -> list[Verdict]:
    """Files of the user's that Python finds instead of a package.

    Args:
        working_dir: where the user is; its files are in the way of scripts that run there.
    """
    findings = []
    for package, needed in _PACKAGES.items():
        path = shadowing_path(package)
        if path is not None:
            level = Level.PROBLEM if needed else Level.NOTE
            text = f"{path} hides the package {package}"
        else:
            path = local_shadow(package, working_dir)
            level = Level.NOTE
            text = f"{path} hides the package {package} from 'python -m roadseg' and your scripts"
        if path is not None:
            findings.append(Verdict(level, text, _rename(path), {"package": package}))
    return findings or [ok("none hides a package")]


def check_temporary() -> Verdict:
    """Whether there is a folder for temporary files."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"roadseg")
            file.flush()
        folder = tempfile.gettempdir()
    except OSError as exc:
        text = (
            f"none can be written ({os_reason(exc)}): bench, quantize, HDR videos and clips from "
            "URLs do not work"
        )
        return note(text, "free space, or set TMPDIR to a folder of yours that has some")
    return ok(folder, {"path": folder})


def check_folder(folder: Path, *, level: Level, consequence: str, remedy: str) -> Verdict:
    """Whether files can be written to a folder, which need not exist yet.

    Args:
        folder: it.
        level: how bad it is if not.
        consequence: what does not work then.
        remedy: how to take another folder, to follow "or".
    """
    facts = {"path": str(folder)}
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    quoted = shlex.quote(str(there))
    if not there.is_dir():
        text = f"{there} is a file, not a folder: {consequence}"
        return Verdict(level, text, f"mv {quoted} {quoted}.old, or {remedy}", facts)
    try:
        # Tried, not asked for: root may do everything, except on a read-only file system.
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as exc:
        text = f"{there} cannot be written ({os_reason(exc)}): {consequence}"
        return Verdict(level, text, f"chmod u+rwx {quoted}, or {remedy}", facts)
    return ok(str(folder), facts)


def _trouble(path: Path, sha256: str) -> str | None:
    from roadseg.weights.manifest import sha256_of

    try:
        return None if sha256_of(path) == sha256 else f"{path.name} is damaged (wrong checksum)"
    except FileNotFoundError:
        return f"{path.name} is missing"
    except OSError as exc:
        return f"{path.name} cannot be read ({os_reason(exc)})"


def _rename(path: Path) -> str:
    found = path.parent if path.name == "__init__.py" else path
    return f"mv {shlex.quote(str(found))} {shlex.quote(str(found.with_name(f'my_{found.name}')))}"
