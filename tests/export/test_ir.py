"""OpenVINO file pairs: complete or absent, with checksums beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
import pytest
from torch import nn

from roadseg.core.errors import SinkError
from roadseg.export.ir import dump_metadata, finish_ir, from_onnx, save_ir
from roadseg.export.onnx import build_onnx
from roadseg.weights import resolve_model

Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def network(tiny: nn.Module) -> Any:
    model = from_onnx(build_onnx(tiny, "tiny", weights_sha256="abc"))
    finish_ir(model)
    return model


def test_files_and_checksums(network: Any, tmp_path: Path) -> None:
    path = tmp_path / "tiny.xml"
    save_ir(network, path, precision="fp32", figures={"fp32_miou": 0.5})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.bin", "tiny.xml", "tiny.xml.json"]
    facts = json.loads((tmp_path / "tiny.xml.json").read_text(encoding="utf-8"))
    assert facts["precision"] == "fp32"
    assert facts["fp32_miou"] == 0.5
    file = resolve_model(str(path), "openvino")  # verifies both checksums
    assert (file.name, file.precision, file.sha256) == ("tiny", "fp32", facts["sha256"])


def test_what_was_saved_is_what_was_built(
    network: Any,
    tmp_path: Path,
    frames: Callable[..., Array],
    run_openvino: Callable[[Any, Array], Array],
) -> None:
    save_ir(network, tmp_path / "tiny.xml", precision="fp32")
    loaded = ov.Core().read_model(str(tmp_path / "tiny.xml"))
    assert loaded.inputs[0].get_names() == {"frame_bgr"}
    assert loaded.outputs[0].get_names() == {"labels"}
    batch = frames((64, 64), 2)
    np.testing.assert_array_equal(run_openvino(loaded, batch), run_openvino(network, batch))


def test_metadata_survives(network: Any, tmp_path: Path) -> None:
    save_ir(network, tmp_path / "tiny.xml", precision="fp32")
    facts = dump_metadata(ov.Core().read_model(str(tmp_path / "tiny.xml")))
    assert facts == dump_metadata(network)
    assert facts["model"] == "tiny"
    assert facts["weights_sha256"] == "abc"
    assert json.loads(facts["classes"])[0] == "sky"


def test_models_of_others_have_no_metadata() -> None:
    parameter = ov.opset13.parameter([1], np.float32)
    assert dump_metadata(ov.Model([parameter], [parameter], "other")) == {}


def test_fp16_halves_the_weights(network: Any, tmp_path: Path) -> None:
    save_ir(network, tmp_path / "full.xml", precision="fp32")
    save_ir(network, tmp_path / "half.xml", precision="fp16")
    full, half = ((tmp_path / name).stat().st_size for name in ("full.bin", "half.bin"))
    assert 0.45 < half / full < 0.6


def test_a_second_save_replaces_all(network: Any, tmp_path: Path) -> None:
    path = tmp_path / "tiny.xml"
    save_ir(network, path, precision="fp32")
    save_ir(network, path, precision="fp16")
    assert resolve_model(str(path), "openvino").precision == "fp16"


def test_unwritable_folder(network: Any, tmp_path: Path) -> None:
    path = tmp_path / "absent" / "tiny.xml"
    with pytest.raises(SinkError) as caught:
        save_ir(network, path, precision="fp32")
    assert str(caught.value) == (
        f"cannot write {path} ({os.strerror(2)}): free some space, or give another path"
    )


def test_a_failing_write_leaves_nothing(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("some check failed\nNo space left on device\n")

    monkeypatch.setattr(ov, "save_model", full_disk)
    path = tmp_path / "tiny.xml"
    with pytest.raises(SinkError) as caught:
        save_ir(network, path, precision="fp32")
    assert str(caught.value) == (
        f"cannot write {path} (No space left on device): free some space, or give another path"
    )
    assert list(tmp_path.iterdir()) == []
