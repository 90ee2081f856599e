"""The manifest of shipped models, and finding and checking model files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from roadseg.core.errors import ModelError, SinkError, UsageError
from roadseg.core.labels import CLASS_NAMES
from roadseg.weights import WEIGHTS_DIR, load_manifest, model_names, resolve_model
from tools.manifest import write_manifest_entry


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder with one model for both runtimes and one for OpenVINO only."""
    (tmp_path / "a-int8.xml").write_bytes(b"<net/>")
    (tmp_path / "a-int8.bin").write_bytes(b"weights")
    (tmp_path / "a.safetensors").write_bytes(b"torch")
    write_manifest_entry(
        "a",
        architecture="segnet-lite",
        files={
            "openvino": ("int8", [tmp_path / "a-int8.xml"]),
            "torch": ("fp32", [tmp_path / "a.safetensors"]),
        },
        training={"command": "roadseg train", "epochs": 3},
        validation={"miou": 0.5},
        directory=tmp_path,
    )
    write_manifest_entry(
        "b",
        architecture="segnet",
        files={"openvino": ("int8", [tmp_path / "a-int8.xml", tmp_path / "a-int8.bin"])},
        training={},
        validation={},
        directory=tmp_path,
    )
    return tmp_path


def test_round_trip(shelf: Path) -> None:
    entries = load_manifest(shelf)
    assert list(entries) == ["a", "b"] == list(model_names(shelf))
    entry = entries["a"]
    assert entry.architecture == "segnet-lite"
    assert entry.classes == CLASS_NAMES
    assert entry.palette == "camvid"
    assert entry.training == {"command": "roadseg train", "epochs": 3}
    assert entry.validation == {"miou": 0.5}
    parts = entry.files["openvino"].parts
    assert entry.files["openvino"].precision == "int8"
    assert [p.path for p in parts] == [shelf / "a-int8.xml", shelf / "a-int8.bin"]
    assert [p.sha256 for p in parts] == [digest(b"<net/>"), digest(b"weights")]
    assert [p.bytes for p in parts] == [6, 7]


def test_paths_in_the_manifest_are_relative(shelf: Path) -> None:
    assert str(shelf) not in (shelf / "manifest.json").read_text(encoding="utf-8")


def test_an_entry_replaces_its_predecessor(shelf: Path) -> None:
    write_manifest_entry(
        "a",
        architecture="segnet-basic",
        files={"torch": ("fp32", [shelf / "a.safetensors"])},
        training={},
        validation={},
        directory=shelf,
    )
    assert load_manifest(shelf)["a"].architecture == "segnet-basic"
    assert model_names(shelf) == ("a", "b")
    assert not list(shelf.glob(".*"))


def test_names_resolve_by_runtime(shelf: Path) -> None:
    file = resolve_model("a", "openvino", directory=shelf)
    assert (file.name, file.precision, file.architecture) == ("a", "int8", "segnet-lite")
    assert file.path == shelf / "a-int8.xml"
    assert file.sha256 == digest(b"<net/>")
    assert resolve_model("a", "auto", directory=shelf) == file
    torch_file = resolve_model("a", "torch", directory=shelf)
    assert (torch_file.path, torch_file.precision) == (shelf / "a.safetensors", "fp32")


def test_a_model_without_a_file_for_the_runtime(shelf: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_model("b", "torch", directory=shelf)
    assert str(caught.value) == 'b does not ship for the torch backend: use backend="openvino"'


def test_unknown_names(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_model("c", "openvino", directory=shelf)
    assert str(caught.value) == (
        'unknown model \'c\': use model="a"|"b", or a .xml, .onnx, .safetensors or .engine file'
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert load_manifest(empty) == {}
    with pytest.raises(UsageError) as caught:
        resolve_model("a", "openvino", directory=empty)
    assert str(caught.value) == (
        "unknown model 'a': use model with a .xml, .onnx, .safetensors or .engine file"
    )


@pytest.mark.parametrize("name", ["a-int8.xml", "a-int8.bin"])
def test_a_changed_shipped_file(shelf: Path, name: str) -> None:
    expected = digest((shelf / name).read_bytes())
    (shelf / name).write_bytes(b"changed")
    with pytest.raises(ModelError) as caught:
        resolve_model("a", "openvino", directory=shelf)
    assert str(caught.value) == (
        f"{shelf / name}: sha256 is {digest(b'changed')}, expected {expected}: reinstall roadseg"
    )
    assert caught.value.exit_code == 5


def test_a_missing_shipped_file(shelf: Path) -> None:
    (shelf / "a-int8.bin").unlink()
    with pytest.raises(ModelError) as caught:
        resolve_model("a", "openvino", directory=shelf)
    assert str(caught.value) == f"no model file at {shelf / 'a-int8.bin'}: reinstall roadseg"


def test_other_classes(shelf: Path) -> None:
    path = shelf / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"sky"', '"heaven"'))
    with pytest.raises(ModelError) as caught:
        resolve_model("a", "openvino", directory=shelf)
    assert str(caught.value) == "a is for other classes than CamVid's 11: reinstall roadseg"


@pytest.mark.parametrize("text", ["{", "[]", '{"models": {}}', '{"version": 1}'])
def test_a_damaged_manifest(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(ModelError) as caught:
        load_manifest(tmp_path)
    assert str(caught.value).startswith(f"{path} is damaged (")
    assert str(caught.value).endswith("): reinstall roadseg")


def test_a_manifest_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text('{"version": 2, "models": {}}')
    with pytest.raises(ModelError) as caught:
        load_manifest(tmp_path)
    assert str(caught.value) == f"{path} has version 2, expected 1: reinstall roadseg"


def test_an_entry_needs_its_files(tmp_path: Path, shelf: Path) -> None:
    def write(path: Path, directory: Path) -> None:
        write_manifest_entry(
            "x",
            architecture="segnet",
            files={"torch": ("fp32", [path])},
            training={},
            validation={},
            directory=directory,
        )

    absent = shelf / "absent.safetensors"
    with pytest.raises(ModelError) as caught:
        write(absent, shelf)
    assert str(caught.value) == (
        f"cannot read {absent} (No such file or directory): write it first"
    )
    elsewhere = shelf / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(ModelError) as caught:
        write(shelf / "a.safetensors", elsewhere)
    assert (
        str(caught.value)
        == f"{shelf / 'a.safetensors'} is not in {elsewhere}: write it there first"
    )
    assert model_names(shelf) == ("a", "b")


def test_an_unwritable_manifest(tmp_path: Path) -> None:
    directory = tmp_path / "absent"
    with pytest.raises(SinkError) as caught:
        write_manifest_entry(
            "x", architecture="segnet", files={}, training={}, validation={}, directory=directory
        )
    assert str(caught.value) == (
        f"cannot write {directory / 'manifest.json'} (No such file or directory): give another "
        "name or free the space it needs"
    )


def test_what_ships_is_intact() -> None:
    for name, entry in load_manifest(WEIGHTS_DIR).items():
        assert entry.classes == CLASS_NAMES
        for runtime, file in entry.files.items():
            assert resolve_model(name, runtime).path == file.parts[0].path
            assert [p.path.stat().st_size for p in file.parts] == [p.bytes for p in file.parts]


# Files of the user's own.


def test_a_file_without_a_sidecar(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"graph")
    file = resolve_model(str(path), "openvino")
    assert (file.name, file.path, file.precision) == ("mine", path, "fp32")
    assert file.architecture is None
    assert file.sha256 == digest(b"graph")


def test_int8_is_seen_without_a_sidecar(tmp_path: Path) -> None:
    path = tmp_path / "mine.xml"
    path.write_text('<net><layer type="FakeQuantize"/></net>')
    (tmp_path / "mine.bin").write_bytes(b"")
    assert resolve_model(str(path), "openvino").precision == "int8"


def test_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.xml"
    with pytest.raises(ModelError) as caught:
        resolve_model(str(path), "openvino")
    assert str(caught.value) == f"no model file at {path}: check the path given with model"
    path.write_text("<net/>")
    with pytest.raises(ModelError) as caught:
        resolve_model(str(path), "openvino")
    assert str(caught.value) == f"{path} has no weights: put mine.bin beside it"


@pytest.mark.parametrize(("changed", "key"), [("mine.xml", "sha256"), ("mine.bin", "bin_sha256")])
def test_a_file_that_does_not_match_its_sidecar(tmp_path: Path, changed: str, key: str) -> None:
    for name in ("mine.xml", "mine.bin"):
        (tmp_path / name).write_bytes(name.encode())
    facts = {"sha256": digest(b"mine.xml"), "bin_sha256": digest(b"mine.bin"), "precision": "int8"}
    (tmp_path / "mine.xml.json").write_text(json.dumps(facts))
    assert resolve_model(str(tmp_path / "mine.xml"), "auto").precision == "int8"
    (tmp_path / changed).write_bytes(b"other")
    with pytest.raises(ModelError) as caught:
        resolve_model(str(tmp_path / "mine.xml"), "auto")
    assert str(caught.value) == (
        f"{tmp_path / changed}: sha256 is {digest(b'other')}, expected {facts[key]}: "
        "copy the file again, or delete its .json if the change is wanted"
    )


def test_a_damaged_sidecar(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"graph")
    sidecar = tmp_path / "mine.onnx.json"
    sidecar.write_text("{")
    with pytest.raises(ModelError) as caught:
        resolve_model(str(path), "openvino")
    assert str(caught.value) == f"{sidecar} is damaged (no JSON): delete it or copy it again"
