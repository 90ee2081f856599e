"""OpenVINO is loaded without its converters, and is whole for others all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import ROOT


def in_python(code: str, *folders: Path) -> list[str]:
    """The words that a process of its own prints."""
    path = ":".join(map(str, (*folders, ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


IMPORT = "import sys\nfrom roadseg.core.openvino import import_openvino\nov = import_openvino()\n"


def test_neither_converters_nor_usage_statistics_are_loaded() -> None:
    loaded = in_python(IMPORT + "ov.Core\nprint(*sys.modules)")
    assert "openvino" in loaded
    assert not {"openvino.tools.ovc", "openvino_telemetry"} & set(loaded)


def test_whoever_asks_has_the_converter() -> None:
    words = in_python(
        IMPORT + "from openvino import convert_model\n"
        "import openvino.tools.ovc as converters\n"
        "assert convert_model is converters.convert_model is ov.convert_model\n"
        "assert not hasattr(ov, 'convert')\n"
        "assert import_openvino() is ov\n"
        "print('done')"
    )
    assert words[-1] == "done"


def test_what_others_have_loaded_stays_as_it_is() -> None:
    words = in_python(
        "import openvino\nwhole = openvino.convert_model\n"
        + IMPORT
        + "assert ov is openvino and ov.convert_model is whole\nprint('done')"
    )
    assert words[-1] == "done"


def test_a_version_that_needs_them_is_loaded_with_them(tmp_path: Path) -> None:
    package = tmp_path / "openvino"
    (package / "tools" / "ovc").mkdir(parents=True)
    (package / "__init__.py").write_text("from openvino.tools.ovc import convert_model\n")
    (package / "tools" / "__init__.py").touch()
    (package / "tools" / "ovc" / "__init__.py").write_text("convert_model = 'theirs'\n")
    assert in_python(IMPORT + "print(ov.convert_model)", tmp_path) == ["theirs"]
