"""`python -m tools.temperature`: what it fits, and what it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from roadseg.backends.openvino.scores import OpenVinoScoringBackend
from roadseg.cli import main
from roadseg.core.errors import DataError, ModelError
from roadseg.core.geometry import network_size
from roadseg.datasets.camvid import CamVid
from roadseg.evaluation.evaluate import evaluate_backend
from roadseg.evaluation.reliability import Reliability
from roadseg.weights import WEIGHTS_DIR, load_manifest, resolve_model
from tools import temperature as module
from tools.manifest import write_temperature
from tools.temperature import fit_temperature


def test_no_temperature_beside_it_is_likelier_on_the_frames_it_was_fitted_on(
    camvid_dir: Path,
) -> None:
    data = CamVid(camvid_dir, "val")
    few = data.subset(range(0, len(data), 20), "few")
    path = resolve_model("segnet-lite", "openvino").path
    fitted = fit_temperature(path, "segnet-lite", few)
    image, _ = few[0]
    backend = OpenVinoScoringBackend(
        path, network_size(image.shape[:2]), name="segnet-lite", precision="int8"
    )
    tallies = {t: Reliability(temperature=t) for t in (1.0, fitted, 3.0)}
    evaluate_backend(
        backend,
        few,
        observers=[
            lambda result, tally=tally: tally.update(
                result.scores, result.predicted_ids, result.true_ids
            )
            for tally in tallies.values()
        ],
    )
    backend.close()
    error = {t: tally.expected_calibration_error for t, tally in tallies.items()}
    assert error[fitted] < 0.02
    assert error[fitted] < error[3.0]
    assert error[fitted] < error[1.0] + 0.005


def test_every_model_of_the_cpu_gets_its_own(
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written: dict[str, float] = {}
    monkeypatch.setattr(module, "write_temperature", written.__setitem__)
    monkeypatch.setattr(module, "fit_temperature", lambda _path, name, _frames: len(name) / 10)
    assert main(["--data", str(tiny_camvid)], module.program, "temperature") == 0
    shipped = [name for name, entry in load_manifest().items() if "openvino" in entry.files]
    assert {"segnet-lite", "segnet-basic"} <= set(shipped)
    assert written == {name: len(name) / 10 for name in shipped}
    assert capsys.readouterr().out == "".join(f"{n}: {len(n) / 10}\n" for n in shipped)


def test_the_manifest_keeps_everything_else(tmp_path: Path) -> None:
    shutil.copyfile(WEIGHTS_DIR / "manifest.json", tmp_path / "manifest.json")
    before = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    write_temperature("segnet-lite", 1.25, directory=tmp_path)
    assert load_manifest(tmp_path)["segnet-lite"].temperature == 1.25
    after = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    before["models"]["segnet-lite"]["temperature"] = 1.25
    assert after == before
    with pytest.raises(ModelError, match="no model 'other'"):
        write_temperature("other", 1.0, directory=tmp_path)


def test_no_frames() -> None:
    class Nothing:
        def __len__(self) -> int:
            return 0

        def __iter__(self):
            return iter(())

    with pytest.raises(DataError, match="no frames"):
        fit_temperature(Path("x.xml"), "x", Nothing())
