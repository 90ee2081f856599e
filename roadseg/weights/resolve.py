"""From a model's name, or a path, to a checked file for one runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roadseg.core.errors import ModelError, UsageError, reading, unreadable
from roadseg.core.labels import CAMVID, CLASS_NAMES, ClassSet
from roadseg.core.records import read_record
from roadseg.core.size import SizeHW
from roadseg.core.weights_file import SUFFIXES, is_weights
from roadseg.core.wording import option
from roadseg.weights import graph_file
from roadseg.weights.manifest import WEIGHTS_DIR, ManifestEntry, load_manifest, sha256_of

_SUFFIXES = {"openvino": graph_file.SUFFIXES, "torch": SUFFIXES, "tensorrt": SUFFIXES}
_SUFFIX_ENGINE = ".engine"


@dataclass(frozen=True)
class ModelFile:
    """A model file that exists and has the checksum it should have.

    Attributes:
        name: the model's name, or the file's name without its suffix.
        path: what the runtime is given.
        precision: `int8`, `fp16` or `fp32`.
        architecture: the network's name; None where only the file itself knows it.
        sha256: checksum of `path`, in hexadecimal.
        classes: what it tells apart; None for a file of weights of your own, which itself knows.
        bin_sha256: checksum of the `.bin` beside an `.xml`, where it was checked.
        temperature: that its scores are divided by before softmax.
        size_hw: the only height and width of the input that it takes; None: it takes several.
    """

    name: str
    path: Path
    precision: str
    architecture: str | None
    sha256: str
    classes: ClassSet | None = None
    bin_sha256: str | None = None
    temperature: float = 1.0
    size_hw: SizeHW | None = None

    def weights(self) -> tuple[str, str]:
        """Name and checksum of the file that holds the weights: of OpenVINO's two the `.bin`.

        Raises:
            ModelError: it cannot be read.
        """
        if self.path.suffix.lower() != ".xml":
            return self.path.name, self.sha256
        binary = self.path.with_suffix(".bin")
        return binary.name, self.bin_sha256 or _digest(binary)


def model_names(directory: Path = WEIGHTS_DIR) -> tuple[str, ...]:
    """Names of the models that ship.

    Raises:
        ModelError: the manifest is damaged.
    """
    return tuple(load_manifest(directory))


def is_engine(name_or_path: str) -> bool:
    """Whether this names an engine of `roadseg build-engine`, rather than a model."""
    return Path(name_or_path).suffix.lower() == _SUFFIX_ENGINE


def resolve_model(name_or_path: str, backend: str, *, directory: Path = WEIGHTS_DIR) -> ModelFile:
    """Find a model and check it.

    Shipped files are checked against the manifest; a file of yours against `FILE.json` beside it,
    where `roadseg quantize` puts one.

    Args:
        name_or_path: a shipped model's name, or a path to `.xml`, `.onnx` or `.safetensors`.
        backend: `auto`, `openvino`, `torch`, or `tensorrt`, whose engines are built from the
            weights that are PyTorch's. Engines themselves are no models: see `is_engine`.
        directory: where the manifest lies.

    Raises:
        UsageError: no model has that name; or the backend does not take such a file.
        ModelError: the file is missing, its checksum is wrong, or what it says of its classes is
            damaged.
    """
    runtime = "openvino" if backend == "auto" else backend
    entries = load_manifest(directory)
    if name_or_path in entries:
        return _shipped(entries[name_or_path], runtime)
    path = Path(name_or_path)
    if path.suffix.lower() not in (*graph_file.SUFFIXES, *SUFFIXES, _SUFFIX_ENGINE):
        use = f"{option('--model', *entries)}{', or' if entries else ' with'}"
        raise UsageError(
            f"unknown model {name_or_path!r}",
            fix=f"use {use} a .xml, .onnx, .safetensors or .engine file",
        )
    return _own(path, runtime)


def resolve_weights(name_or_path: str, *, directory: Path = WEIGHTS_DIR) -> ModelFile:
    """Find the weights of a model, for commands that make something of them, and check them.

    Raises:
        UsageError: no model has that name, or it is a file of another kind than weights.
        ModelError: the file is missing or its checksum is wrong.
    """
    names = model_names(directory)
    if name_or_path in names:
        return resolve_model(name_or_path, "torch", directory=directory)
    path = Path(name_or_path)
    if is_weights(path):
        return _own(path, "torch")
    kind = {".engine": "an engine", ".onnx": "an ONNX file", ".xml": "a file for OpenVINO"}
    what = kind.get(path.suffix.lower())
    problem = f"unknown model {name_or_path!r}" if what is None else f"{path} is {what}, no weights"
    fix = f"use {option('--model', *names)}, or a .safetensors file of 'roadseg train'"
    raise UsageError(problem, fix=fix)


def _shipped(entry: ManifestEntry, runtime: str) -> ModelFile:
    needed = "torch" if runtime == "tensorrt" else runtime
    if needed not in entry.files:
        raise UsageError(
            f"{entry.name} does not ship for the {runtime} backend",
            fix=f"use {option('--backend', *entry.files)}",
        )
    if entry.classes != CLASS_NAMES:
        raise ModelError(
            f"{entry.name} is for other classes than CamVid's 11", fix="reinstall roadseg"
        )
    file = entry.files[needed]
    for part in file.parts:
        _check_sum(part.path, part.sha256, "reinstall roadseg")
    main = file.parts[0]
    binaries = [part.sha256 for part in file.parts if part.path.suffix == ".bin"]
    return ModelFile(
        entry.name,
        main.path,
        file.precision,
        entry.architecture,
        main.sha256,
        CAMVID,
        binaries[0] if binaries else None,
        entry.temperature,
    )


def _own(path: Path, runtime: str) -> ModelFile:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES[runtime]:
        if suffix in SUFFIXES:
            fix = (
                f"use {option('--backend', 'torch')}, or "
                f"'roadseg export --model {path} --output {path.stem}.onnx'"
            )
        elif suffix == _SUFFIX_ENGINE:
            fix = f"use {option('--backend', 'tensorrt')}"
        else:
            fix = f"use {option('--backend', 'openvino')}"
        raise UsageError(f"the {runtime} backend does not take {suffix} files ({path})", fix=fix)
    with reading(ModelError, path):
        is_there = path.is_file()
    if not is_there:
        raise ModelError(
            f"no model file at {path}", fix=f"check the path given with {option('--model')}"
        )
    binary = path.with_suffix(".bin")
    if suffix == ".xml" and not binary.is_file():
        raise ModelError(f"{path} has no weights", fix=f"put {binary.name} beside it")
    facts = _sidecar(path)
    fix = "copy the file again, or delete its .json if the change is wanted"
    bin_sha256 = facts.bin_sha256
    if bin_sha256 is not None:
        _check_sum(binary, bin_sha256, fix)
    digest = _digest(path) if facts.sha256 is None else _check_sum(path, facts.sha256, fix)
    if suffix not in graph_file.SUFFIXES:
        return ModelFile(path.stem, path, facts.precision or "fp32", None, digest)
    graph = graph_file.read_graph(path)
    return ModelFile(
        path.stem,
        path,
        facts.precision or graph.precision or "fp32",
        None,
        digest,
        graph.classes(path),
        bin_sha256,
        size_hw=graph.size_hw,
    )


@dataclass(frozen=True)
class _Sidecar:
    """What `FILE.json` says of a model file."""

    precision: str | None = None
    sha256: str | None = None
    bin_sha256: str | None = None


def _sidecar(path: Path) -> _Sidecar:
    sidecar = path.with_name(f"{path.name}.json")
    try:
        return read_record(sidecar, _Sidecar, ModelError, fix="delete it or copy it again")
    except FileNotFoundError:
        return _Sidecar()


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as exc:
        raise unreadable(ModelError, path, exc) from exc


def _check_sum(path: Path, expected: str, fix: str) -> str:
    if not path.is_file():
        raise ModelError(f"no model file at {path}", fix=fix)
    digest = _digest(path)
    if digest != expected:
        raise ModelError(f"{path}: sha256 is {digest}, expected {expected}", fix=fix)
    return digest
