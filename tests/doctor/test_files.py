"""What the doctor finds of weights, folders and the user's files: level, whole text, fix."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from roadseg.core.errors import UsageError
from tests.support.doctor import (
    REINSTALL,
    Machine,
    of,
)
from tools.manifest import write_manifest_entry


def test_weights(machine: Machine) -> None:
    assert of("weights", machine()) == [("ok", "segnet-lite (openvino int8, torch fp16)", None)]


def test_damaged_weights(machine: Machine, gpu_machine: Machine, weights_dir: Path) -> None:
    (weights_dir / "lite.bin").write_text("other")
    broken = "segnet-lite for openvino: lite.bin is damaged (wrong checksum)"
    rest = ("ok", "segnet-lite (torch fp16)", None)
    assert of("weights", machine()) == [("problem", broken, REINSTALL), rest]
    # Engines are built from PyTorch's.
    assert of("weights", gpu_machine()) == [("note", broken, REINSTALL), rest]


def test_networks_that_a_run_may_choose_matter_as_well(machine: Machine, weights_dir: Path) -> None:
    ladder = [{"pixels": 168960, "cost_ms": 30.0, "miou": {"val": 0.7}}]
    for name, facts in (("edge", {"ladder": ladder}), ("slow", {})):
        parts = [weights_dir / f"{name}.xml", weights_dir / f"{name}.bin"]
        for part in parts:
            part.write_text(name)
        write_manifest_entry(
            f"segnet-{name}",
            architecture="segnet-lite",
            files={
                "openvino": ("int8", [weights_dir / f"{name}.xml", weights_dir / f"{name}.bin"])
            },
            training={},
            validation={},
            directory=weights_dir,
        )
        manifest = json.loads((weights_dir / "manifest.json").read_text(encoding="utf-8"))
        manifest["models"][f"segnet-{name}"].update(facts)
        (weights_dir / "manifest.json").write_text(json.dumps(manifest))
        parts[1].write_text("other")
    assert of("weights", machine())[:2] == [
        ("problem", "segnet-edge for openvino: edge.bin is damaged (wrong checksum)", REINSTALL),
        ("note", "segnet-slow for openvino: slow.bin is damaged (wrong checksum)", REINSTALL),
    ]


def test_missing_weights(machine: Machine, gpu_machine: Machine, weights_dir: Path) -> None:
    (weights_dir / "lite.safetensors").unlink()
    broken = "segnet-lite for torch: lite.safetensors is missing"
    rest = ("ok", "segnet-lite (openvino int8)", None)
    assert of("weights", machine()) == [("note", broken, REINSTALL), rest]
    assert of("weights", gpu_machine()) == [("problem", broken, REINSTALL), rest]


def test_unreadable_weights(machine: Machine, weights_dir: Path) -> None:
    (weights_dir / "lite.safetensors").unlink()
    (weights_dir / "lite.safetensors").mkdir()
    assert of("weights", machine())[0] == (
        "note",
        "segnet-lite for torch: lite.safetensors cannot be read (Is a directory)",
        REINSTALL,
    )


def test_no_weights_at_all(machine: Machine, tmp_path: Path) -> None:
    assert of("weights", machine(weights_dir=lambda: tmp_path / "nothing")) == [
        (
            "problem",
            f"segnet-lite is not here: {tmp_path}/nothing lists no openvino file of it",
            REINSTALL,
        )
    ]


def test_damaged_manifest(machine: Machine, weights_dir: Path) -> None:
    (weights_dir / "manifest.json").write_text("{")
    ((level, text, fix),) = of("weights", machine())
    assert (level, fix) == ("problem", REINSTALL)
    assert text.startswith(f"{weights_dir}/manifest.json is damaged (no JSON)")


def test_no_shadows(machine: Machine) -> None:
    assert of("shadows", machine()) == [("ok", "none hides a package", None)]


def test_a_file_that_would_be_in_the_way_of_scripts(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "tensorrt.py").write_text("")
    assert of("shadows", machine()) == [
        (
            "note",
            f"{tmp_path}/tensorrt.py hides the package tensorrt from 'python -m roadseg' and your "
            "scripts",
            f"mv {tmp_path}/tensorrt.py {tmp_path}/my_tensorrt.py",
        )
    ]


def test_a_package_that_would_be_in_the_way(machine: Machine, tmp_path: Path) -> None:
    folder = tmp_path / "with space" / "cuda"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    ((_, text, fix),) = of("shadows", machine(working_dir=lambda: tmp_path / "with space"))
    assert text.startswith(f"{folder}/__init__.py hides the package cuda from")
    assert fix == f"mv '{folder}' '{tmp_path}/with space/my_cuda'"


@pytest.mark.parametrize(
    ("package", "level"),
    [
        ("onnx", "note"),
        ("openvino", "problem"),
        ("pycuda", "note"),
        ("tensorrt_rtx_bindings", "note"),
    ],
)
def test_a_file_that_is_in_the_way(
    package: str,
    level: str,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "mine" / f"{package}.py"
    path.parent.mkdir()
    path.write_text("")
    monkeypatch.setattr(
        "roadseg.doctor.files.shadowing_path",
        lambda name: path if name == package else None,
    )
    assert of("shadows", machine()) == [
        (
            level,
            f"{path} hides the package {package}",
            f"mv {path} {tmp_path}/mine/my_{package}.py",
        )
    ]


FOLDERS = [
    (
        "cache",
        "cache_dir",
        "kernels are compiled anew at every start",
        "set ROADSEG_CACHE to a folder of yours",
        "note",
    ),
    (
        "engines-folder",
        "engines_dir",
        "engines cannot be built",
        "use --backend torch or openvino",
        "problem",
    ),
]


@pytest.mark.parametrize(("check", "argument", "consequence", "remedy", "on_gpu"), FOLDERS)
def test_folders(
    machine: Machine,
    gpu_machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    check: str,
    argument: str,
    consequence: str,
    remedy: str,
    on_gpu: str,
) -> None:
    folder = tmp_path / "a" / "b"
    around: dict[str, Any] = {argument: lambda: folder}
    assert of(check, machine(**around)) == [("ok", str(folder), None)]
    assert not folder.exists()
    (tmp_path / "a").write_text("")
    blocked = (
        f"{tmp_path}/a is a file, not a folder: {consequence}",
        f"mv {tmp_path}/a {tmp_path}/a.old, or {remedy}",
    )
    assert of(check, machine(**around)) == [("note", *blocked)]
    assert of(check, gpu_machine(**around)) == [(on_gpu, *blocked)]
    (tmp_path / "a").unlink()

    def refuse(**_: Any) -> Any:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("roadseg.doctor.files.tempfile.TemporaryFile", refuse)
    read_only = (
        f"{tmp_path} cannot be written (Read-only file system): {consequence}",
        f"chmod u+rwx {tmp_path}, or {remedy}",
    )
    assert of(check, machine(**around)) == [("note", *read_only)]
    assert of(check, gpu_machine(**around)) == [(on_gpu, *read_only)]


def test_a_current_folder_that_is_gone(machine: Machine) -> None:
    def gone() -> Path:
        raise FileNotFoundError(2, "No such file or directory")

    assert of("shadows", machine(working_dir=gone)) == [
        (
            "note",
            "the current folder is gone (No such file or directory): nothing can be written here",
            "cd to a folder that is there",
        )
    ]


def test_a_cache_that_leads_nowhere(machine: Machine) -> None:
    def nowhere() -> Path:
        raise UsageError("ROADSEG_CACHE ~x leads nowhere", fix="give the whole path")

    around = machine(cache_dir=nowhere, engines_dir=nowhere)
    advice = ("ROADSEG_CACHE ~x leads nowhere", "give the whole path")
    assert of("cache", around) == [("problem", *advice)]
    assert of("engines-folder", around) == [("note", *advice)]


def test_temporary_files(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert of("temporary", machine()) == [("ok", str(tmp_path), None)]

    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [])
    monkeypatch.setattr(tempfile, "tempdir", None)
    ((level, text, fix),) = of("temporary", machine())
    assert level == "note"
    assert text.startswith("none can be written (No usable temporary directory found in ")
    assert fix == "free space, or set TMPDIR to a folder of yours that has some"
