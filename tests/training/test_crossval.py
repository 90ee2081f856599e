"""Leave-one-drive-out: who trains on what, what is reported, and going on after an interruption."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from roadseg.core.errors import DataError, ModelError, SinkError, UsageError
from roadseg.core.labels import NUM_CLASSES
from roadseg.datasets.camvid import CamVid
from roadseg.datasets.drives import drives_of
from roadseg.labels import CLASS_NAMES
from roadseg.models import load_weights
from roadseg.training import crossval, validation
from roadseg.training.crossval import CrossValidation, Fold, cross_validate
from roadseg.training.loop import train
from roadseg.training.progress import EpochEnd
from roadseg.training.recipes import Recipe
from roadseg.training.spec import RunSpec

DRIVES = ("north", "south")


@pytest.fixture
def drives(tiny_camvid: Path, tmp_path: Path) -> Path:
    """The training frames of `tiny_camvid` as two drives."""
    root = tmp_path / "drives"
    shutil.copytree(tiny_camvid, root)
    lines = []
    for number, line in enumerate((root / "train.txt").read_text(encoding="utf-8").splitlines()):
        drive = DRIVES[number % 3 == 0]
        fields = []
        for name in line.split():
            renamed = Path(name).with_name(f"{drive}_{number:02}.png")
            (root / name).rename(root / renamed)
            fields.append(renamed.as_posix())
        lines.append(" ".join(fields))
    (root / "train.txt").write_text("\n".join(lines))
    return root


@pytest.fixture
def spec(drives: Path, tmp_path: Path, recipe: Callable[..., Recipe], unpainted: None) -> RunSpec:
    return RunSpec(
        model="segnet-lite",
        data=CamVid(drives, "train"),
        validation=CamVid(drives, "val"),
        recipe=recipe(epochs=2),
        output=tmp_path / "crossval",
    )


def test_every_drive_is_left_out_once(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch, drives: Path
) -> None:
    seen: list[tuple[set[str], set[str]]] = []

    def watched(own: RunSpec, **options: Any) -> Any:
        names = [{image.name for image, _ in part.pairs} for part in (own.data, own.validation)]
        seen.append((names[0], names[1]))
        return train(own, **options)

    monkeypatch.setattr(crossval, "train", watched)
    result = cross_validate(spec)
    everything = {image.name for image, _ in spec.data.pairs}
    assert [fold.drive for fold in result.folds] == list(drives_of(spec.data))
    assert set(DRIVES) == {fold.drive for fold in result.folds}
    for (trained, scored), fold in zip(seen, result.folds, strict=True):
        assert scored == {name for name in everything if name.startswith(fold.drive)}
        assert trained == everything - scored
        assert (len(trained), len(scored)) == (fold.trained_on, fold.scored)
        assert fold.epochs == 2
    assert result.mean == pytest.approx(sum(fold.miou for fold in result.folds) / 2)
    written = json.loads((spec.output / "crossval.json").read_text(encoding="utf-8"))
    assert [fold["miou"] for fold in written["folds"]] == [fold.miou for fold in result.folds]
    assert written["settings"]["drives"] == list(drives_of(spec.data))


def test_the_last_weights_are_scored_not_the_ones_that_the_drive_would_choose(
    spec: RunSpec,
) -> None:
    result = cross_validate(
        dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, epochs=4))
    )
    for fold in result.folds:
        lines = (spec.output / fold.drive / "log.jsonl").read_text(encoding="utf-8").splitlines()
        mious = [json.loads(line)["miou"] for line in lines]
        assert len(mious) == 4
        assert load_weights(spec.output / fold.drive / "best.safetensors")[1]["epoch"] == 4
        # The file has FP16 weights, the log is of FP32 ones.
        assert fold.miou == pytest.approx(mious[-1], abs=1e-4)


def test_all_scores_are_those_of_the_weights_with_class_biases(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_is_road(model: nn.Module, *_: Any, **__: Any) -> np.ndarray:
        bias = np.zeros(NUM_CLASSES, np.float32)
        bias[CLASS_NAMES.index("road")] = 1000
        with torch.inference_mode():
            model.classifier.bias += torch.from_numpy(bias)
        return bias

    monkeypatch.setattr(validation, "fit_class_bias", all_is_road)
    balanced = dataclasses.replace(spec.recipe, class_bias=True)
    result = cross_validate(dataclasses.replace(spec, recipe=balanced))
    for fold, held_out in zip(result.folds, drives_of(spec.data).values(), strict=True):
        true = np.concatenate([spec.data[index][1].ravel() for index in held_out])
        true = true[true < NUM_CLASSES]
        share = np.mean(true == CLASS_NAMES.index("road"))
        assert fold.iou["road"] == pytest.approx(share, abs=1e-4)
        assert fold.miou == pytest.approx(share / len(np.unique(true)), abs=1e-6)


def test_what_is_done_is_not_done_again(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cross_validate(dataclasses.replace(spec, output=spec.output.with_name("whole")))
    first, second = (fold.drive for fold in whole.folds)
    steps: list[str] = []

    class Cut(Exception):
        pass

    def interrupting(state: Any) -> None:
        if isinstance(state, EpochEnd) and (spec.output / second).exists():
            raise Cut  # its checkpoint is on its way, and is written all the same

    with pytest.raises(Cut):
        cross_validate(spec, progress=interrupting)
    assert (spec.output / first / "fold.json").exists()
    assert not (spec.output / second / "fold.json").exists()

    def counted(own: RunSpec, **options: Any) -> Any:
        steps.append(f"{own.output.name} {'goes on' if own.resume else 'starts'}")
        return train(own, **options)

    monkeypatch.setattr(crossval, "train", counted)
    result = cross_validate(spec)
    assert steps == [f"{second} goes on"]
    assert result.folds == whole.folds


def test_quick_starts_every_fold_from_frames_of_no_drive(
    spec: RunSpec, tiny_camvid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = CamVid(tiny_camvid, "train")
    runs: list[RunSpec] = []

    def watched(own: RunSpec, **options: Any) -> Any:
        runs.append(own)
        return train(own, **options)

    monkeypatch.setattr(crossval, "train", watched)
    cross_validate(dataclasses.replace(spec, extra=extra), quick=True)
    shared, *folds = runs
    assert [image for image, _ in shared.data.pairs] == [image for image, _ in extra.pairs]
    assert (shared.init, shared.extra) == (None, None)
    assert {fold.init for fold in folds} == {spec.output / "shared" / "best.safetensors"}
    assert len(folds) == 2


def test_quick_begins_the_shared_network_alone_with_the_weights_of_its_encoder(
    spec: RunSpec, tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[RunSpec] = []

    def watched(own: RunSpec, **_: Any) -> Any:
        runs.append(own)
        raise ModelError("not trained here")

    monkeypatch.setattr(crossval, "train", watched)
    monkeypatch.setattr(crossval, "_shared_start", lambda own, _: runs.append(own) or tmp_path)
    extra, encoder = CamVid(tiny_camvid, "train"), tmp_path / "encoder.pth"
    encoder.write_bytes(b"weights")
    with pytest.raises(ModelError, match="not trained here"):
        cross_validate(dataclasses.replace(spec, extra=extra, encoder_weights=encoder), quick=True)
    assert [(own.init, own.encoder_weights) for own in runs] == [(None, encoder), (tmp_path, None)]


class TestTeachers:
    @pytest.fixture
    def taught(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path | None]:
        """The teacher of each run that is started, by the run's folder."""
        seen: dict[str, Path | None] = {}

        def watched(own: RunSpec, **options: Any) -> Any:
            seen[own.output.name] = own.teacher
            return train(own, **options)

        monkeypatch.setattr(crossval, "train", watched)
        return seen

    def test_each_fold_is_taught_by_the_one_that_has_not_seen_its_drive(
        self, spec: RunSpec, tmp_path: Path, taught: dict[str, Path | None]
    ) -> None:
        cross_validate(spec)
        taught.clear()
        pupil = dataclasses.replace(spec, teacher=spec.output, output=tmp_path / "pupils")
        result = cross_validate(pupil)
        assert taught == {drive: spec.output / drive / "best.safetensors" for drive in DRIVES}
        assert len({fold.miou for fold in result.folds}) == len(DRIVES)
        # Gone on with by the same command, and not with other teachers.
        taught.clear()
        assert cross_validate(pupil).folds == result.folds
        assert taught == {}
        shutil.copy(spec.output / "north/best.safetensors", spec.output / "south")
        with pytest.raises(UsageError, match=r"other settings \(teacher_sha256\)"):
            cross_validate(pupil)

    def test_the_start_that_all_share_has_no_teacher_of_a_fold(
        self, spec: RunSpec, tmp_path: Path, taught: dict[str, Path | None]
    ) -> None:
        cross_validate(spec)
        taught.clear()
        pupils = tmp_path / "pupils"
        extra = spec.validation
        quick = dataclasses.replace(spec, teacher=spec.output, extra=extra, output=pupils)
        cross_validate(quick, quick=True)
        assert taught.pop("shared") is None
        assert taught == {drive: spec.output / drive / "best.safetensors" for drive in DRIVES}
        # One that has seen no drive teaches all.
        taught.clear()
        file = spec.output / "north/best.safetensors"
        for_all = dataclasses.replace(quick, teacher=file, output=tmp_path / "more")
        cross_validate(for_all, quick=True)
        assert taught == dict.fromkeys(("shared", *DRIVES), file)

    def test_folds_that_are_missing_or_of_other_frames(self, spec: RunSpec, tmp_path: Path) -> None:
        teachers = tmp_path / "teachers"
        teachers.mkdir()
        pupil = dataclasses.replace(spec, teacher=teachers)
        expected = (
            f"{teachers} has no fold that left south out of these frames: give a "
            "cross-validation of the same data that is done, or a file of weights"
        )
        with pytest.raises(UsageError) as caught:
            cross_validate(pupil)
        assert str(caught.value) == expected
        cross_validate(dataclasses.replace(spec, output=teachers))
        fold = json.loads((teachers / "south/fold.json").read_text(encoding="utf-8"))
        (teachers / "south/fold.json").write_text(json.dumps(fold | {"scored": 1}))
        with pytest.raises(UsageError) as caught:
            cross_validate(pupil)
        assert str(caught.value) == expected
        assert not pupil.output.exists()


def test_figures_by_hand() -> None:
    folds = [
        Fold("a", 10, 5, 3, 0.6, {"road": 0.9, "car": 0.3}),
        Fold("b", 10, 5, 3, 0.8, {"road": 0.8, "car": None}),
    ]
    result = CrossValidation(folds, {})
    assert result.mean == pytest.approx(0.7)
    assert result.spread == pytest.approx(0.1 * 2**0.5)
    assert result.class_mean("road") == pytest.approx(0.85)
    assert result.class_mean("car") == pytest.approx(0.3)
    assert math.isnan(CrossValidation(folds[:1], {}).spread)
    assert CrossValidation(folds[:1], {}).to_json()["spread"] is None


def test_other_settings_are_another_cross_validation(spec: RunSpec) -> None:
    folder = spec.output
    crossval._check_settings(folder, {"seed": 0, "drives": ("a", "b")})
    crossval._check_settings(folder, {"seed": 0, "drives": ("a", "b")})
    with pytest.raises(UsageError, match=r"other settings \(seed\)"):
        crossval._check_settings(folder, {"seed": 1, "drives": ("a", "b")})
    (folder / "settings.json").write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        crossval._check_settings(folder, {})


def test_bad_input(spec: RunSpec, tiny_camvid: Path) -> None:
    with pytest.raises(UsageError, match="needs frames that show no drive"):
        cross_validate(spec, quick=True)
    extra = CamVid(tiny_camvid, "train")
    with pytest.raises(UsageError, match="exclude each other"):
        cross_validate(
            dataclasses.replace(spec, extra=extra, init=Path("weights.safetensors")), quick=True
        )
    for pattern, complaint in (("(", "not a regular expression"), ("north", "has 0 groups")):
        with pytest.raises(UsageError, match=complaint):
            cross_validate(spec, pattern=pattern)
    with pytest.raises(DataError, match="is of no drive"):
        cross_validate(spec, pattern=r"(north)_")
    with pytest.raises(DataError, match="from one drive, "):
        cross_validate(
            dataclasses.replace(spec, data=spec.data.subset(drives_of(spec.data)["north"], "north"))
        )


def test_frames_without_drives_in_their_names(spec: RunSpec) -> None:
    data = spec.data
    many = data.subset(list(range(len(data))) * 5, "many")
    many.pairs = [(Path(f"{i}_x.png"), label) for i, (_, label) in enumerate(many.pairs)]
    with pytest.raises(DataError, match="more than 20"):
        drives_of(many)


def test_a_disk_that_is_full_leaves_folds_to_go_on_with(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _document: object) -> None:
        raise SinkError(f"cannot write {path} (No space left on device)", fix="free some space")

    with monkeypatch.context() as patch:
        first = drives_of(spec.data)
        write = crossval.write_json
        patch.setattr(
            crossval,
            "write_json",
            lambda path, document: (full if path.name == "fold.json" else write)(path, document),
        )
        with pytest.raises(SinkError, match="No space left"):
            cross_validate(spec)
    assert not (spec.output / next(iter(first)) / "fold.json").exists()
    result = cross_validate(spec)
    assert len(result.folds) == 2
