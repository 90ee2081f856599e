"""Calibration files: read as written, the same bytes each time, refused when damaged or foreign."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadseg.core.errors import ModelError, QualityGateError, SinkError, UsageError
from roadseg.weights import load_manifest
from roadseg.weights.calibration import (
    Calibration,
    FrameRecord,
    Gate,
    calibration_path,
    check_weights,
    find_calibration,
    read_calibration,
    write_calibration,
)
from roadseg.weights.gate import check_drop, check_gate
from tests.support import ROOT

pytestmark = pytest.mark.usefixtures("as_typed")

SHIPPED = ROOT / "calibration" / "segnet-lite.json"
GATE = Gate("val.txt", 101, 0.7, 0.697, 0.3, 0.99, "openvino 2026.4.1", 0.94)
CALIBRATION = Calibration(
    model="segnet-lite",
    weights_sha256="ab" * 32,
    size_hw=(352, 480),
    method="percentile",
    frames=(FrameRecord("train/a.png", "11"), FrameRecord("drive.mp4#12", "22")),
    scales={"relu:0": 0.04296875, "add_7:0": 0.1171875, "cat:0": 2.0**-12},
    float_layers=("classifier",),
    gate=GATE,
)
FIX = "run 'roadseg calibrate --model segnet-lite --data DIR|VIDEO'"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = calibration_path("segnet-lite", "ab" * 32, tmp_path)
    assert target == tmp_path / "segnet-lite-abababab.json"
    write_calibration(CALIBRATION, target)
    return target


def test_what_is_read_is_what_was_written(path: Path) -> None:
    assert read_calibration(path) == CALIBRATION
    write_calibration(replace(CALIBRATION, gate=None, float_layers=()), path)
    assert read_calibration(path).gate is None
    unlabelled = replace(GATE, fp32_miou=None, int8_miou=None, drop_points=None)
    write_calibration(replace(CALIBRATION, gate=unlabelled), path)
    assert read_calibration(path).gate == unlabelled


def test_the_bytes_do_not_depend_on_the_order_of_scales(path: Path, tmp_path: Path) -> None:
    turned = dict(reversed(CALIBRATION.scales.items()))
    write_calibration(replace(CALIBRATION, scales=turned), tmp_path / "other.json")
    assert (tmp_path / "other.json").read_bytes() == path.read_bytes()


def test_it_is_replaced_as_a_whole(path: Path) -> None:
    write_calibration(replace(CALIBRATION, method="mse"), path)
    assert read_calibration(path).method == "mse"
    assert [p.name for p in path.parent.iterdir()] == ["segnet-lite-abababab.json"]


def test_an_unwritable_file(tmp_path: Path) -> None:
    target = tmp_path / "absent" / "a.json"
    with pytest.raises(SinkError) as caught:
        write_calibration(CALIBRATION, target)
    assert str(caught.value) == (
        f"cannot write {target} ({os.strerror(2)}): give another name or free the space it needs"
    )


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    target = tmp_path / "segnet-lite.json"
    with pytest.raises(ModelError) as caught:
        read_calibration(target)
    assert str(caught.value) == f"no calibration at {target}: {FIX}"
    target.mkdir()
    with pytest.raises(ModelError) as caught:
        read_calibration(target)
    assert str(caught.value) == f"cannot read {target} ({os.strerror(21)}): {FIX}"


def damage(key: str, value: Any) -> Any:
    def change(raw: dict[str, Any]) -> None:
        *way, last = key.split(".")
        at = raw
        for step in way:
            at = at[step]
        if value is None:
            del at[last]
        else:
            at[last] = value

    return change


DAMAGE = [
    (damage("scales", None), "scales is missing"),
    (damage("scales.relu:0", 0), "scales[...]: expected float > 0.0"),
    (damage("scales.relu:0", -0.5), "scales[...]: expected float > 0.0"),
    (damage("scales.relu:0", "1"), "scales[...]: expected float, got str"),
    (damage("scales.relu:0", True), "scales[...]: expected float, got bool"),
    (damage("scales.relu:0", float("nan")), "no JSON"),
    (damage("size_hw", [352, 0]), "size_hw[1]: expected int >= 1"),
    (damage("size_hw", [352]), "size_hw: expected array of length 2, got 1"),
    (damage("weights_sha256", 7), "weights_sha256: expected str, got int"),
    (damage("frames", [{"name": "a.png"}]), "frames[0].sha256 is missing"),
    (damage("float_layers", [1]), "float_layers[0]: expected str, got int"),
    (damage("gate.images", 0), "gate.images: expected int >= 1"),
    (damage("gate.fp32_miou", "0.7"), "gate.fp32_miou: expected float | null, got str"),
    (damage("gate.agreement", None), "gate.agreement is missing"),
]


@pytest.mark.parametrize(("change", "reason"), DAMAGE, ids=range(len(DAMAGE)))
def test_damage_is_named(change: Any, reason: str, path: Path) -> None:
    path = path.replace(path.with_name("segnet-lite.json"))
    raw = json.loads(path.read_text(encoding="utf-8"))
    change(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(ModelError) as caught:
        read_calibration(path)
    assert str(caught.value) == f"{path} is damaged ({reason}): {FIX}"


def test_files_that_are_no_calibration(path: Path) -> None:
    path = path.replace(path.with_name("segnet-lite.json"))
    path.write_text(path.read_text(encoding="utf-8")[:100])
    with pytest.raises(ModelError) as caught:
        read_calibration(path)
    assert str(caught.value) == f"{path} is damaged (no JSON): {FIX}"
    path.write_text("[]")
    with pytest.raises(ModelError, match=r"is damaged \(expected object, got array\)"):
        read_calibration(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match=r"is damaged \(no JSON\)"):
        read_calibration(path)


def test_another_version(path: Path) -> None:
    path = path.replace(path.with_name("segnet-lite.json"))
    raw = json.loads(path.read_text(encoding="utf-8")) | {"version": 2}
    path.write_text(json.dumps(raw))
    with pytest.raises(ModelError) as caught:
        read_calibration(path)
    assert str(caught.value) == f"{path} has version 2, expected 1: {FIX}"


def test_other_weights_and_models() -> None:
    check_weights(CALIBRATION, model="segnet-lite", weights_sha256="ab" * 32)
    with pytest.raises(ModelError) as caught:
        check_weights(CALIBRATION, model="segnet-lite", weights_sha256="cd" * 32)
    assert str(caught.value) == (
        "the calibration is of other weights of segnet-lite "
        f"(sha256 abababababab, not cdcdcdcdcdcd): {FIX}"
    )


def test_the_gate() -> None:
    check_gate(CALIBRATION)
    check_gate(replace(CALIBRATION, gate=replace(GATE, drop_points=-0.2)))
    costly = replace(CALIBRATION, gate=replace(GATE, int8_miou=0.69, drop_points=1.0))
    check_gate(costly, max_drop_points=1.0)
    check_gate(costly, force=True)
    with pytest.raises(QualityGateError) as caught:
        check_gate(costly)
    assert str(caught.value) == (
        "INT8 costs segnet-lite 1.00 points of mIoU on val.txt (70.00 in FP32), allowed are 0.5: "
        "calibrate on more frames, allow more with --max-drop, or use --force"
    )
    assert caught.value.exit_code == 8
    with pytest.raises(QualityGateError):
        check_gate(replace(CALIBRATION, gate=replace(GATE, drop_points=float("nan"))))


UNLABELLED = replace(
    GATE, measured_on="drive.mp4", fp32_miou=None, int8_miou=None, drop_points=None
)


@pytest.mark.parametrize(
    ("agreement", "label_miou", "accepted"),
    [
        (0.985, 0.91, True),
        (0.9849, 0.95, False),
        (0.999, 0.909, False),
        (0.99, float("nan"), False),
    ],
)
def test_without_labels_the_labels_of_fp32_are_the_measure(
    agreement: float, label_miou: float, accepted: bool
) -> None:
    gate = replace(UNLABELLED, agreement=agreement, label_miou=label_miou)
    calibration = replace(CALIBRATION, gate=gate)
    check_gate(calibration, force=True)
    if accepted:
        check_gate(calibration)
        return
    with pytest.raises(QualityGateError) as caught:
        check_gate(calibration)
    assert str(caught.value) == (
        f"INT8 keeps {100 * agreement:.2f}% of the labels of FP32 on drive.mp4, mean IoU with "
        f"them {label_miou:.3f} (98.5% and 0.91 are needed without labels): calibrate on more "
        "frames, or on labelled ones, which tell what it really costs, or use --force"
    )


def test_a_gate_that_nobody_measured() -> None:
    fix = "measure it with 'roadseg calibrate --model segnet-lite --data DIR|VIDEO', or use --force"
    cases = [
        (replace(UNLABELLED, label_miou=None), "measured by an older roadseg"),
        (None, "nothing was measured"),
    ]
    for gate, known in cases:
        calibration = replace(CALIBRATION, gate=gate)
        check_gate(calibration, force=True)
        with pytest.raises(QualityGateError) as caught:
            check_gate(calibration)
        assert str(caught.value) == f"what INT8 costs segnet-lite is unknown ({known}): {fix}"


def test_files_of_before_the_mean_iou_are_read(path: Path) -> None:
    raw = json.loads(path.read_text(encoding="utf-8"))
    del raw["gate"]["label_miou"]
    path.write_text(json.dumps(raw))
    assert read_calibration(path).gate == replace(GATE, label_miou=None)


def test_what_ships_is_of_the_weights_that_ship() -> None:
    shipped = read_calibration(SHIPPED)
    entry = load_manifest()["segnet-lite"]
    sha256 = entry.files["torch"].parts[0].sha256
    check_weights(shipped, model="segnet-lite", weights_sha256=sha256)
    check_gate(shipped)
    assert shipped.gate is not None
    assert (shipped.gate.measured_on, shipped.gate.images) == ("val.txt", 101)
    assert shipped.size_hw == (352, 480)
    assert shipped.float_layers == ()
    listed = (SHIPPED.parent / "frames.txt").read_text(encoding="utf-8").splitlines()[1:]
    assert [frame.name for frame in shipped.frames] == listed


def test_the_calibration_of_some_weights_is_ones_own_or_the_one_that_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = load_manifest()["segnet-lite"].files["torch"].parts[0].sha256
    assert find_calibration("segnet-lite", shipped) == SHIPPED
    # Other weights of that network, and other networks, have none yet.
    own = Path("calibration/segnet-lite-abababab.json")
    assert find_calibration("segnet-lite", "ab" * 32) == own
    assert find_calibration("none", shipped) == Path(f"calibration/none-{shipped[:8]}.json")
    Path("calibration").mkdir()
    # A file of an older version, without a checksum in its name.
    old = Path("calibration/segnet-lite.json")
    write_calibration(CALIBRATION, old)
    assert find_calibration("segnet-lite", "ab" * 32) == old
    assert find_calibration("segnet-lite", shipped) == SHIPPED
    write_calibration(CALIBRATION, own)
    assert find_calibration("segnet-lite", "ab" * 32) == own


def test_advice_names_the_model_and_not_the_file(tmp_path: Path) -> None:
    target = tmp_path / "mine.json"
    with pytest.raises(ModelError) as caught:
        read_calibration(target, source="my runs/best.safetensors")
    fix = "run 'roadseg calibrate --model \"my runs/best.safetensors\" --data DIR|VIDEO'"
    assert str(caught.value) == f"no calibration at {target}: {fix}"
    with pytest.raises(ModelError) as caught:
        check_weights(
            CALIBRATION, model="enet", weights_sha256="", source="my runs/best.safetensors"
        )
    assert str(caught.value) == f"the calibration is of segnet-lite, not enet: {fix}"


@pytest.mark.parametrize("points", [float("nan"), -0.1, float("inf")])
def test_an_allowance_that_can_only_be_a_mistake(points: float) -> None:
    with pytest.raises(UsageError) as caught:
        check_drop(points)
    assert str(caught.value) == f"a drop of {points:g} points: use for example --max-drop 0.5"
    check_drop(0.0)
