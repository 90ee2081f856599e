"""From a finished training run to the files that ship: one call, every figure measured."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadseg.backends.openvino.backend import OpenVinoBackend
from roadseg.core.errors import DataError, UsageError
from roadseg.core.files import claim_file, whole_files, writing
from roadseg.core.geometry import network_size
from roadseg.core.labels import CAMVID
from roadseg.core.weights_file import SUFFIX, best_weights
from roadseg.core.wording import option
from roadseg.datasets.camvid import CamVid
from roadseg.datasets.clip import LabelledClip
from roadseg.datasets.frames import collect_frames
from roadseg.evaluation.evaluate import LabelledFrames, Scores, evaluate_backend
from roadseg.export.ir import finish_ir, from_onnx, save_ir
from roadseg.export.network import TrainedNetwork
from roadseg.export.onnx import build_onnx
from roadseg.models import load_weights, weights_bytes
from roadseg.quantize.quantizing import int8_network
from roadseg.quantize.search import calibrate_network
from roadseg.weights import WEIGHTS_DIR, RungScores, load_manifest
from roadseg.weights.calibration import write_calibration
from tools.ladder import measure_ladder, with_known_costs
from tools.manifest import write_manifest_entry
from tools.temperature import fit_temperature

MANIFEST = "manifest.json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Release:
    """What was written and how it scores, by precision and data: `int8` on `val`, for example."""

    name: str
    scores: dict[tuple[str, str], Scores]


def release(
    run: Path,
    data: Path,
    frame_list: Path | None = None,
    *,
    sample: LabelledClip | None = None,
    scenes: LabelledFrames | None = None,
    note: str = "",
    int8: bool = True,
    max_drop_points: float = 0.5,
    directory: Path = WEIGHTS_DIR,
    scales_dir: Path | None = None,
) -> Release:
    """Turn the best weights of a run into shipped files, and write their manifest entries.

    Nothing is replaced before every measurement is made and every gate is passed. Each step is
    logged.

    `NAME.safetensors` holds the weights, stored as FP16, and how they were trained;
    `NAME-int8.xml` and `.bin` are what `roadseg run` takes on a CPU. The FP32 network for OpenVINO
    does not ship: `roadseg export` writes it.

    Args:
        run: folder of `roadseg train`.
        data: CamVid layout; `val` judges.
        frame_list: names the frames on which INT8 ranges are measured; default: every 4th of
            `train`.
        sample: further labelled frames to score on, recorded as `sample`.
        scenes: large labelled frames; with them the INT8 network is scored at every rung's input,
            and its ladder recorded.
        note: anything about the training that its configuration does not tell.
        int8: quantise for the CPU, too; without it the FP16 weights ship alone.
        max_drop_points: points of validation mIoU that INT8 may cost.
        directory: where shipped weights lie.
        scales_dir: where `NAME.json` with TensorRT's INT8 scales goes; None: it is not made.

    Raises:
        DataError: `run` is not the folder of a run, or the data cannot be read.
        ModelError: its weights are damaged, or for other classes than CamVid's.
        QualityGateError: INT8 costs too much; what shipped before is untouched.
        SinkError: the folder cannot be written.
    """
    config = read_run(run)
    module, meta = load_weights(best_weights(run), CAMVID)
    name = str(meta["model"])
    training = training_facts(config, meta, note)
    del meta["model"]
    weights = weights_bytes(module, name, **meta, training=training)
    source = _Source(name, module, weights, training)
    return _release(
        source, data, frame_list, sample, scenes, int8, max_drop_points, directory, scales_dir
    )


def requantize(
    name: str,
    data: Path,
    frame_list: Path | None = None,
    *,
    sample: LabelledClip | None = None,
    scenes: LabelledFrames | None = None,
    max_drop_points: float = 0.5,
    directory: Path = WEIGHTS_DIR,
) -> Release:
    """Make the INT8 files of a shipped model again, from the weights that ship.

    Its weights, what its manifest says of them and TensorRT's scales stay as they are.

    Args:
        name: of the model.
        data: see `release`, as for all else.

    Raises:
        UsageError: no such model ships.
        ModelError, DataError, QualityGateError, SinkError: see `release`.
    """
    entries = load_manifest(directory)
    if name not in entries:
        raise UsageError(
            f"there is no model {name!r} in {directory}", fix=f"use {option('--model', *entries)}"
        )
    file = entries[name].files["torch"].parts[0].path
    module, _meta = load_weights(file, CAMVID)
    training, scores = entries[name].training, entries[name].validation
    known = {key: value for key, value in scores.items() if key.startswith("fp32 on ")}
    elsewhere = [dict(each) for each in entries[name].leave_one_drive_out]
    source = _Source(name, module, file.read_bytes(), dict(training), known, elsewhere)
    return _release(
        source, data, frame_list, sample, scenes, True, max_drop_points, directory, None
    )


@dataclass(frozen=True)
class _Source:
    """Weights that are to ship, how they were trained, and what is known of their scores."""

    name: str
    module: Any
    weights: bytes
    training: dict[str, Any]
    validation: dict[str, Any] = field(default_factory=dict)
    leave_one_drive_out: list[dict[str, Any]] = field(default_factory=list)


def _release(
    source: _Source,
    data: Path,
    frame_list: Path | None,
    sample: LabelledClip | None,
    scenes: LabelledFrames | None,
    int8: bool,
    max_drop_points: float,
    directory: Path,
    scales_dir: Path | None,
) -> Release:
    name, module = source.name, source.module
    frames = collect_frames(data, frame_list=frame_list)
    datasets: dict[str, LabelledFrames] = {"val": CamVid(data, "val")}
    if sample is not None:
        datasets["sample"] = sample
    digest = hashlib.sha256(source.weights).hexdigest()
    scores: dict[tuple[str, str], Scores] = {}

    def measure(model: Any, precision: str) -> float:
        for key, dataset in datasets.items():
            scores[precision, key] = _score(model, precision, name, dataset)
        return scores[precision, "val"].miou

    if not source.validation:
        network = from_onnx(build_onnx(module, name, weights_sha256=digest))
        finish_ir(network)
        _log.info(f"fp32: mIoU {100 * measure(network, 'fp32'):.2f}")
    trained = TrainedNetwork(module, name, digest)
    quantized = scales = None
    if int8:
        ranges = calibrate_network(
            trained, frames, datasets["val"], unsigned=True, max_drop_points=max_drop_points
        )
        quantized = int8_network(trained, ranges)
        _log.info(f"int8: mIoU {100 * measure(quantized, 'int8'):.2f}")
    temperature = 1.0
    if quantized is not None:
        temperature = fit_temperature(quantized, name, datasets["val"])
        _log.info(f"temperature: {temperature:g}")
    rungs: tuple[RungScores, ...] = ()
    if quantized is not None and scenes is not None:
        rungs = measure_ladder(quantized, name, {"val": datasets["val"], "720p": scenes})
        shipped = load_manifest(directory).get(name)
        rungs = with_known_costs(rungs, () if shipped is None else shipped.ladder)
        for rung in rungs:
            _log.info(f"int8 at {rung.pixels} pixels: mIoU {100 * rung.miou['val']:.2f}")
    if int8 and scales_dir is not None:
        scales_path = scales_dir / f"{name}.json"
        claim_file(scales_path)
        scales = calibrate_network(
            trained, frames, datasets["val"], max_drop_points=max_drop_points
        )
    with _replaced_together(directory) as staging:
        files: dict[str, tuple[str, list[Path]]] = {}
        if quantized is not None:
            xml = staging / f"{name}-int8.xml"
            save_ir(quantized, xml, precision="int8")
            # The manifest says all of the sidecar and more; two records could come to disagree.
            xml.with_name(f"{xml.name}.json").unlink()
            files["openvino"] = ("int8", [xml])
        file = staging / f"{name}{SUFFIX}"
        file.write_bytes(source.weights)
        files["torch"] = ("fp16", [file])
        write_manifest_entry(
            name,
            architecture=name,
            files=files,
            training=source.training,
            validation=source.validation
            | {
                f"{precision} on {key}": _rounded(s.to_json())
                for (precision, key), s in scores.items()
            },
            ladder=rungs,
            temperature=temperature,
            leave_one_drive_out=source.leave_one_drive_out,
            directory=staging,
        )
    if scales is not None:
        write_calibration(scales, scales_path)
        _log.info(f"{scales_path}: {len(scales.scales)} scales")
    return Release(name, scores)


@contextmanager
def _replaced_together(directory: Path) -> Iterator[Path]:
    """A folder whose files take their places in `directory` when the block succeeds.

    The manifest starts as a copy of the present one and is replaced last: a failure before that
    leaves what shipped untouched.
    """
    fix = "free some space, or give another folder"
    with writing(directory, fix), whole_files(directory, last=MANIFEST) as staging:
        manifest = directory / MANIFEST
        if manifest.exists():
            shutil.copyfile(manifest, staging / MANIFEST)
        yield staging


def _score(model: Any, precision: str, name: str, dataset: LabelledFrames) -> Scores:
    image, _ = next(iter(dataset))
    size = network_size((image.shape[0], image.shape[1]))
    backend = OpenVinoBackend(model, size, name=name, precision=precision)
    try:
        return evaluate_backend(backend, dataset)
    finally:
        backend.close()


def _rounded(value: Any) -> Any:
    """Figures of a JSON value, to four digits."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def training_facts(config: dict[str, Any], meta: dict[str, Any], note: str = "") -> dict[str, Any]:
    """What a manifest says of a run: its command, data, length, device and checksums.

    Args:
        config: of the run, see `read_run`.
        meta: of its best weights.
        note: anything that its configuration does not tell.
    """
    averaged = {key: config[key] for key in ("averaged",) if key in config}
    balanced = {key: meta[key] for key in ("class_bias",) if key in meta}
    recipe = config["recipe"]["name"]
    budget = config["time_budget_s"]
    command = f"roadseg train --model {config['model']} --data CamVid --recipe {recipe}"
    command += " --extra SCENES" if config["extra_frames"] else ""
    command += " --init WEIGHTS" if config.get("init_sha256") else ""
    command += " --encoder-weights IMAGENET" if config.get("encoder_sha256") else ""
    command += " --teacher TEACHER" if config.get("teacher_sha256") else ""
    # `--epochs` may have changed the recipe's.
    length = f"time-budget {budget / 60:g}" if budget else f"epochs {config['recipe']['epochs']}"
    command += f" --{length}"
    command += f" --seed {config['seed']}"
    minutes = config["minutes"]
    if averaged:
        parts = averaged["averaged"]
        command = f"python -m tools.average{' RUN' * len(parts)} --data CamVid --output RUN"
        minutes = _minutes(parts)
    facts = {
        "command": command,
        "data": "CamVid, for research use"
        + (", and rendered scenes, CC0" if config["extra_frames"] else ""),
        "frames": config["frames"],
        "rendered_scenes": config["extra_frames"],
        "epochs": config["epochs"],
        "best_epoch": meta["epoch"],
        "minutes": minutes,
        "device": config["device"],
        **{key: value for key, value in config.items() if key.endswith("_sha256")},
        "torch": config["torch"],
        **balanced,
        **averaged,
    }
    return facts | ({"note": note} if note else {})


def _minutes(parts: Sequence[Mapping[str, Any]]) -> float:
    """How long the runs of a mean took; one of which it has several states counts once."""
    longest: dict[tuple[Any, ...], float] = {}
    for part in parts:
        run = (part["command"], part.get("init_sha256"))
        longest[run] = max(part["minutes"], longest.get(run, 0.0))
    return round(sum(longest.values()), 1)


def read_run(run: Path) -> dict[str, Any]:
    """The configuration of a run, and its length as `epochs` and `minutes`.

    Raises:
        DataError: `run` is not the folder of a run.
    """
    try:
        config: dict[str, Any] = json.loads((run / "config.json").read_text(encoding="utf-8"))
        lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
        last = json.loads(lines[-1])
    except (OSError, ValueError, IndexError) as exc:
        raise DataError(
            f"{run} is not the folder of a training run ({exc})", fix="check the path"
        ) from exc
    return config | {"epochs": last["epoch"], "minutes": round(last["elapsed_s"] / 60, 1)}
