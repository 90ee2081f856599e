"""Tests on a GPU as a step of its benchmark: which files, and what came of them."""

from __future__ import annotations

import time

from benchmarks import gpu_tests
from benchmarks.gpu_steps import Recorder, Settings, Step, run_here
from tests.support import ROOT

DRY = Settings(device="cpu", size_hw=(32, 48), batches=(1, 2))


def test_files_with_gpu_tests(tmp_path):
    marker = "pytest.mark." + "gpu"  # in two, or this file were one of them
    for name, text in (
        ("a/test_one.py", f"@{marker}\ndef test(): pass"),
        ("a/test_two.py", "def test(): pass"),
        ("gpu/test_three.py", f"pytestmark = [{marker}]"),
        ("gpu/helper.py", marker),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = gpu_tests.files_with_gpu_tests(tmp_path)
    assert [path.name for path in found] == ["test_three.py", "test_one.py"]
    assert gpu_tests.files_with_gpu_tests(ROOT / "tests")[0].parent.name == "gpu"


REPORT = """<testsuites><testsuite>
<testcase name="a"/><testcase name="b"><failure message="1 != 2"/></testcase>
<testcase name="c"><skipped message="needs TensorRT"/></testcase>
<testcase name="d"><error message="no fixture"/></testcase>
</testsuite></testsuites>"""


def test_counts_of_tests(tmp_path):
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    assert gpu_tests._counts(path) == {
        "passed": 1,
        "failed": 2,
        "skipped": 1,
        "messages": ["b: 1 != 2", "c: needs TensorRT", "d: no fixture"],
    }


def test_a_file_that_cannot_be_imported(tmp_path):
    path = tmp_path / "test_broken.py"
    path.write_text("import a_library_that_is_not_there")
    assert "a_library_that_is_not_there" in gpu_tests.run_file(path, 60)["error"]


def test_no_pytest(monkeypatch):
    monkeypatch.setattr(gpu_tests.importlib.util, "find_spec", lambda name: None)
    outcome = run_here(Step("tests", 9, gpu_tests.gpu_tests), Recorder(DRY, time.monotonic() + 9))
    assert outcome["status"] == "skipped"
    assert outcome["detail"] == (
        "pytest is not installed: the other steps check the same agreement"
    )
