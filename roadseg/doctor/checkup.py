"""The whole look at the machine: gather, then judge."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from roadseg.core.errors import RoadsegError, os_reason
from roadseg.core.installing import is_jetson
from roadseg.doctor.engines import check_builder, check_engines, has_engine
from roadseg.doctor.files import (
    check_documentation,
    check_folder,
    check_shadows,
    check_temporary,
    check_weights,
)
from roadseg.doctor.gpu import (
    check_backend,
    check_cuda,
    check_gpu,
    check_nvrtc,
    check_tensorrt,
    has_gpu,
)
from roadseg.doctor.libraries import (
    check_display,
    check_gstreamer,
    check_opencv,
    check_openvino,
    check_video,
)
from roadseg.doctor.probes import DEFAULT_MODEL, PROBES
from roadseg.doctor.probing import Probe, run_probes
from roadseg.doctor.processor import check_processor, check_speed
from roadseg.doctor.report import Finding, Level, Report, Verdict, note, problem

_Check = Callable[[], "Verdict | list[Verdict]"]


@dataclass(frozen=True)
class Surroundings:
    """What the machine is like, before anything is judged.

    Attributes:
        probes: how each of `PROBES` went.
        weights_dir: finds out where the shipped models lie.
        cache_dir: finds out where compiled kernels are kept.
        engines_dir: finds out where engines are kept.
        working_dir: finds out where the user is.
        nvidia_hardware: whether there is an NVIDIA GPU, usable or not.
        in_container: whether this is a container.
    """

    probes: Mapping[str, Probe]
    weights_dir: Callable[[], Path]
    cache_dir: Callable[[], Path]
    engines_dir: Callable[[], Path]
    working_dir: Callable[[], Path]
    nvidia_hardware: bool
    in_container: bool


def diagnose() -> Report:
    """Look at everything that `roadseg run` needs. Takes a few seconds, and never raises."""
    return judge(gather())


def gather() -> Surroundings:
    """Look at this machine. What may fail is left to the checks, and becomes a line."""
    return Surroundings(
        probes=run_probes(PROBES),
        weights_dir=_weights_dir,
        cache_dir=_cache_dir,
        engines_dir=_engines_dir,
        working_dir=Path.cwd,
        nvidia_hardware=_has_nvidia_hardware(),
        in_container=any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")),
    )


def judge(around: Surroundings) -> Report:
    """Every finding about a machine, each check on its own: one that fails is a finding itself."""
    from roadseg.core.version import __version__

    backend = str(around.probes["backend"].facts.get("backend", "openvino"))
    findings: list[Finding] = []
    for check, title, look in _checks(around, backend):
        try:
            found = look()
        except ImportError as exc:
            # A library that we need in here; it has a finding of its own.
            found = note(f"not known: {' '.join(str(exc).split())}")
        except RoadsegError as exc:
            found = note(exc.what, exc.fix)
        except Exception as exc:  # noqa: BLE001
            # A doctor that falls ill over what it was asked to look at helps nobody.
            text = f"could not be checked ({type(exc).__name__}: {exc})"
            found = note(" ".join(text.split()), "report it")
        verdicts = found if isinstance(found, list) else [found]
        findings += [Finding(check, title, *verdict) for verdict in verdicts]
    return Report(
        version=__version__,
        system=f"Python {platform.python_version()} on {platform.system()} {platform.machine()}",
        backend=backend,
        findings=tuple(findings),
    )


def _checks(around: Surroundings, backend: str) -> Iterator[tuple[str, str, _Check]]:
    probes, gpu = around.probes, has_gpu(around.probes["gpu"])
    on_gpu = backend != "openvino"

    def building() -> Level:
        # A run on the GPU builds the engine that it does not find.
        needed = backend == "tensorrt" and not _has_engine(around)
        return Level.PROBLEM if needed else Level.NOTE

    def weights() -> list[Verdict]:
        runtime = "torch" if on_gpu else "openvino"
        return check_weights(around.weights_dir(), model=DEFAULT_MODEL, runtime=runtime)

    def openvino() -> Verdict:
        found = check_openvino(probes["openvino"])
        softened = on_gpu and found.level is Level.PROBLEM
        return found._replace(level=Level.NOTE) if softened else found

    def nvrtc() -> Verdict:
        found = check_nvrtc(probes["nvrtc"], probes["gpu"])
        # TensorRT-RTX runs without kernels of ours.
        needed = backend == "tensorrt" and probes["tensorrt"].facts.get("target") == "tensorrt"
        hardened = needed and found.level is Level.NOTE
        return found._replace(level=Level.PROBLEM) if hardened else found

    def look_at_gpu() -> Verdict:
        hardware, container = around.nvidia_hardware, around.in_container
        return check_gpu(probes["gpu"], nvidia_hardware=hardware, in_container=container)

    def builder() -> Verdict:
        return check_builder(probes["backend"], probes["tensorrt"], gpu=gpu, level=building())

    def engines() -> list[Verdict]:
        folder, weights_dir = around.engines_dir(), around.weights_dir()
        return check_engines(folder, weights_dir, probes["gpu"], probes["tensorrt"])

    def cache() -> Verdict:
        try:
            folder = around.cache_dir()
        except RoadsegError as exc:  # a run ends with it, too
            return problem(exc.what, exc.fix)
        return check_folder(
            folder,
            level=Level.NOTE,
            consequence="kernels are compiled anew at every start",
            remedy="set ROADSEG_CACHE to a folder of yours",
        )

    def engines_folder() -> Verdict:
        return check_folder(
            around.engines_dir(),
            level=building(),
            consequence="engines cannot be built",
            remedy="use --backend torch or openvino",
        )

    def shadows() -> list[Verdict]:
        try:
            folder = around.working_dir()
        except OSError as exc:
            text = f"the current folder is gone ({os_reason(exc)}): nothing can be written here"
            return [note(text, "cd to a folder that is there")]
        return check_shadows(folder)

    yield "weights", "Weights", weights
    yield "openvino", "OpenVINO", openvino
    yield "processor", "Processor", check_processor
    yield "speed", "Speed", check_speed
    yield "backend", "Backend", lambda: check_backend(probes["backend"], gpu=gpu)
    yield "opencv", "OpenCV", lambda: check_opencv(probes["opencv"])
    yield "display", "Display", lambda: check_display(probes["opencv"])
    yield "gstreamer", "CSI cameras", lambda: check_gstreamer(probes["opencv"])
    yield "video", "Video", lambda: check_video(probes["video"])
    yield "gpu", "GPU", look_at_gpu
    yield "cuda", "CUDA for Python", lambda: check_cuda(probes["cuda"], gpu=gpu)
    yield "tensorrt", "TensorRT", lambda: check_tensorrt(probes["tensorrt"], gpu=gpu)
    yield "nvrtc", "Kernel compiler", nvrtc
    yield "builder", "Engine builder", builder
    yield "documentation", "Documentation", check_documentation
    yield "shadows", "Your files", shadows
    yield "cache", "Cache folder", cache
    yield "temporary", "Temporary files", check_temporary
    yield "engines-folder", "Engines folder", engines_folder
    yield "engines", "Engines", engines


def _has_engine(around: Surroundings) -> bool:
    """Whether a run finds an engine; not if that cannot be told, for which there are findings."""
    gpu, tensorrt = around.probes["gpu"], around.probes["tensorrt"]
    try:
        return has_engine(around.engines_dir(), around.weights_dir(), gpu, tensorrt)
    except (ImportError, OSError, RoadsegError):
        return False


def _cache_dir() -> Path:
    from roadseg.core.cache import user_cache_dir

    return user_cache_dir()


def _weights_dir() -> Path:
    from roadseg.weights import WEIGHTS_DIR

    return WEIGHTS_DIR


def _engines_dir() -> Path:
    from roadseg.engine.store import engines_dir

    return engines_dir()


def _has_nvidia_hardware() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    if is_jetson():
        return True
    return any(
        # 0x03....: displays and 3D accelerators; NVIDIA also makes network cards.
        _first_line(vendor) == "0x10de" and _first_line(vendor.with_name("class"))[:4] == "0x03"
        for vendor in Path("/sys/bus/pci/devices").glob("*/vendor")
    )


def _first_line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # unplugged meanwhile
        return ""
