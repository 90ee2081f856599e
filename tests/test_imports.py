"""Which library each room may import, and what `import` must not pull in.

Floors and circles are import-linter's: see `[tool.importlinter]` in pyproject.toml.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

import pytest

from tests.support import ROOT

PACKAGE = ROOT / "roadseg"
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))

# Where each third-party library may be imported: a folder, or one file.
ROOMS_OF_LIBRARIES = {
    "typer": ("cli/",),
    "rich": ("cli/",),
    "click": ("cli/",),
    "av": ("media/", "synth/export.py", "doctor/probes.py"),
    # The backend's threads load its plugin (see `_load_cpu_plugin`) and read a file.
    # The simulation only asks which thread it is called from.
    # The segmenter starts none: it tells them apart.
    # A worker's one thread waits for the end of its parent.
    "threading": (
        "video/",
        "live/",
        "archive/workers.py",
        "archive/cluster/",
        "backends/openvino/",
        "testing/cuda/",
        "training/checkpoint",
        "loading/segmenter.py",
    ),
    "concurrent": ("video/", "live/web/", "training/checkpoint"),
    "multiprocessing": ("training/", "archive/workers.py"),
    "sqlite3": ("archive/ledger.py",),
    "ray": ("archive/cluster/",),
    "fsspec": ("archive/remote.py",),
    "mapillary_tools": ("media/gps/recorded.py",),
    "openvino": ("core/openvino.py", "export/ir.py", "doctor/probes.py"),
    "onnx": ("export/", "quantize/", "backends/tensorrt/builder/", "testing/"),
    "torch": (
        "models/",
        "training/",
        "export/",
        "backends/torch/",
        "backends/torch_cuda/",
        "comparison/",
        "cli/compare.py",
        "cli/train.py",
    ),
    "cuda": ("cuda/", "kernels/nvrtc.py", "doctor/probes.py"),
    "pycuda": ("cuda/",),
    "tensorrt": ("engine/runtime.py", "backends/tensorrt/"),
    "tensorrt_rtx": ("engine/runtime.py",),
    "tensorrt_rtx_bindings": ("engine/runtime.py",),
    "tensorboard": ("training/",),
    "pyarrow": ("video/reading/parquet.py",),
    "msgspec": ("core/records.py", "weights/calibration.py", "training/recipes.py"),
    "safetensors": ("core/weights_file.py", "models/"),
    "jinja2": ("core/page.py",),
    "filelock": ("core/file_lock.py",),
    "platformdirs": ("core/cache.py",),
    **dict.fromkeys(("starlette", "uvicorn", "prometheus_client"), ("live/web/",)),
    "matplotlib": ("training/curves.py", "evaluation/", "comparison/"),
}

NUMPY_AND_OPENCV_ONLY = ("core/geometry.py", "core/types.py", "core/labels.py", "render/", "road/")

# What `roadseg --help` and a command's own errors must not wait for.
HEAVY = {"torch", "openvino", "av", "onnx", "onnxruntime", "cv2", "numpy", "tensorboard"}
HEAVY |= {"ray", "fsspec", "msgspec", "filelock", "platformdirs", "safetensors", "jinja2"}
HEAVY |= {"tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings", "cuda", "pycuda"}
HEAVY |= {"starlette", "uvicorn", "prometheus_client"}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"), filename=module)


def names(node: ast.AST) -> list[str]:
    """Full names of the modules that one import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative import: rooms are named in full"
        return [node.module or ""]
    return []


def all_imports(module: str) -> set[str]:
    """Everything imported anywhere in the module, inside functions and for types alone, too."""
    return {name for node in ast.walk(tree(module)) for name in names(node)}


def imports_at_import_time(module: str) -> set[str]:
    """What importing the module imports: nothing in functions or under TYPE_CHECKING."""

    def walk(nodes: list[ast.stmt]) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                yield from walk(node.orelse)
                continue
            yield from names(node)
            for block in ("body", "orelse", "finalbody"):
                yield from walk(getattr(node, block, []))
            for handler in getattr(node, "handlers", []):
                yield from walk(handler.body)

    return set(walk(tree(module).body))


def roots(imported: set[str]) -> set[str]:
    return {name.split(".")[0] for name in imported}


def run_python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_there_is_something_to_test() -> None:
    assert {"core/types.py", "render/overlay.py", "media/sources/opening.py"} <= set(MODULES)


def test_the_walkers_tell_import_time_from_later() -> None:
    assert "roadseg.loading.segmenter" in all_imports("__init__.py")
    assert "roadseg.loading.segmenter" not in imports_at_import_time("__init__.py")


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith(NUMPY_AND_OPENCV_ONLY)])
def test_pictures_know_only_numpy_and_opencv(module: str) -> None:
    allowed = {"numpy", "cv2", "roadseg", *sys.stdlib_module_names}
    assert roots(all_imports(module)) <= allowed


@pytest.mark.parametrize("module", MODULES)
def test_libraries_stay_in_their_rooms(module: str) -> None:
    for library in roots(all_imports(module)) & set(ROOMS_OF_LIBRARIES):
        assert module.startswith(ROOMS_OF_LIBRARIES[library]), (
            f"{module} imports {library}, which belongs to {ROOMS_OF_LIBRARIES[library]}"
        )


@pytest.mark.parametrize("module", [m for m in MODULES if not m.startswith(("video/", "media/"))])
def test_only_video_and_media_open_cameras_and_windows(module: str) -> None:
    used = {node.attr for node in ast.walk(tree(module)) if isinstance(node, ast.Attribute)}
    assert not used & {"VideoCapture", "VideoWriter", "imshow", "waitKey", "namedWindow"}


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("cli/")])
def test_commands_import_nothing_heavy_at_import_time(module: str) -> None:
    allowed = {"typer", "click", "roadseg", *sys.stdlib_module_names}
    assert roots(imports_at_import_time(module)) <= allowed


@pytest.mark.parametrize("module", MODULES)
def test_all_names_what_the_module_defines(module: str) -> None:
    bound: set[str] = set()
    exported: list[str] | None = None
    for node in tree(module).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assigned = {t.id for t in targets if isinstance(t, ast.Name)}
            bound |= assigned
            if "__all__" in assigned and node.value is not None:
                exported = ast.literal_eval(node.value)
        elif isinstance(node, ast.If):
            bound |= {
                alias.asname or alias.name
                for inner in ast.walk(node)
                if isinstance(inner, (ast.Import, ast.ImportFrom))
                for alias in inner.names
            }
    if exported is not None:
        assert len(set(exported)) == len(exported)
        assert set(exported) <= bound
        assert not any(n.startswith("_") and n != "__version__" for n in exported)


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    loaded = run_python("import roadseg.cli, sys; roadseg.cli.app; print(*sys.modules)").split()
    assert {"roadseg.cli.run", "roadseg.cli.doctor"} <= set(loaded)
    assert not HEAVY & set(loaded)


def test_help_loads_nothing_heavy() -> None:
    output = run_python(
        "import sys, roadseg.cli\n"
        "assert roadseg.cli.main(['--help']) == 0\n"
        "print('LOADED', *sys.modules)"
    )
    assert not HEAVY & set(output.split("LOADED")[1].split())


@pytest.mark.parametrize(
    ("words", "commands"), [("run --help", {"run"}), ("--help", {"run", "train"})]
)
def test_a_command_waits_for_no_other(words: str, commands: set[str]) -> None:
    output = run_python(
        "import sys, roadseg.cli\n"
        f"assert roadseg.cli.main({words.split()}) == 0\n"
        "print('LOADED', *sys.modules)"
    )
    loaded = set(output.split("LOADED")[1].split())
    assert {name for name in ("run", "train") if f"roadseg.cli.{name}" in loaded} == commands


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = run_python("import roadseg, sys; print(*sys.modules)").split()
    assert not HEAVY & set(loaded)


def test_segmenting_with_the_fake_backend_loads_no_training_library() -> None:
    loaded = run_python(
        "import sys, numpy, roadseg.loading.segmenter\n"
        "from roadseg.render import Renderer\n"
        "frame_bgr = numpy.full((36, 48, 3), 255, numpy.uint8)\n"
        "with roadseg.loading.segmenter.Segmenter(backend='fake') as segmenter:\n"
        "    label_map = segmenter(frame_bgr)\n"
        "assert label_map.ids.shape == (36, 48) and (label_map.ids == 10).all()\n"
        "Renderer()(frame_bgr, label_map)\n"
        "print(*sys.modules)"
    ).split()
    assert "roadseg.loading.segmenter" in loaded
    assert not {"torch", "onnx", "onnxruntime", "tensorboard"} & set(loaded)
