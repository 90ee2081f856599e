"""What the doctor finds of OpenVINO, OpenCV, PyAV and the processor: level, whole text, fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roadseg.doctor.probing import Probe
from roadseg.doctor.processor import check_processor, check_speed
from roadseg.loading.ladder.kept import Kept, keep, this_machine
from roadseg.loading.ladder.rungs import Rung
from tests.support.doctor import (
    CRASHED,
    HUNG,
    Machine,
    failed,
    missing,
    of,
)


@pytest.mark.parametrize(
    ("probe", "found"),
    [
        (Probe({"version": "2026.4.1", "devices": ["CPU"]}), ("ok", "2026.4.1 on CPU", None)),
        (
            Probe({"version": "2026.4.1", "devices": ["CPU", "GPU"]}),
            ("ok", "2026.4.1 on CPU, GPU", None),
        ),
        (
            Probe({"version": "2026.4.1", "devices": ["GPU"]}),
            (
                "problem",
                "2026.4.1 finds no CPU to run on",
                "pip install --force-reinstall openvino",
            ),
        ),
        (missing("openvino"), ("problem", "not installed", "pip install roadseg")),
        (
            missing("numpy"),
            ("problem", "needs numpy, which is not installed", "pip install roadseg"),
        ),
        (
            failed("ImportError: libtbb.so.12: cannot open shared object file"),
            (
                "problem",
                "cannot be loaded (ImportError: libtbb.so.12: cannot open shared object file)",
                "pip install --force-reinstall openvino",
            ),
        ),
        (
            CRASHED,
            (
                "problem",
                "cannot be loaded: it ends Python with SIGSEGV",
                "pip install --force-reinstall openvino",
            ),
        ),
        (
            HUNG,
            (
                "problem",
                "cannot be loaded: it does not answer within 30 s",
                "pip install --force-reinstall openvino",
            ),
        ),
    ],
)
def test_openvino(machine: Machine, gpu_machine: Machine, probe: Probe, found: Any) -> None:
    assert of("openvino", machine(openvino=probe)) == [found]
    # Where the GPU does the work, it is not needed.
    level = "note" if found[0] == "problem" else found[0]
    assert of("openvino", gpu_machine(openvino=probe)) == [(level, *found[1:])]


@pytest.mark.parametrize(
    ("probe", "found"),
    [
        (
            Probe({"version": "4.12.0", "gui": "QT5", "obstacle": None, "gstreamer": None}),
            ("ok", "4.12.0 with windows (QT5)", None),
        ),
        (
            Probe({"version": "4.12.0", "gui": None, "obstacle": "no", "gstreamer": None}),
            (
                "note",
                "4.12.0 was built without windows: --web and --output show the result",
                "pip uninstall -y opencv-python-headless opencv-python; pip install opencv-python",
            ),
        ),
        (missing("cv2"), ("problem", "not installed", "pip install roadseg")),
        (
            failed("ImportError: libGL.so.1: cannot open shared object file: No such file"),
            (
                "problem",
                "OpenCV cannot load (libGL.so.1 is missing)",
                "apt install libgl1 libglib2.0-0, or pip uninstall opencv-python and pip install "
                "opencv-python-headless (no window, everything else works)",
            ),
        ),
        (
            failed("AttributeError: _ARRAY_API not found"),
            (
                "problem",
                "cannot be loaded (AttributeError: _ARRAY_API not found)",
                "pip install --force-reinstall opencv-python",
            ),
        ),
    ],
)
def test_opencv(machine: Machine, probe: Probe, found: Any) -> None:
    assert of("opencv", machine(opencv=probe)) == [found]


@pytest.mark.parametrize(
    ("gui", "obstacle", "found"),
    [
        ("QT5", None, ("ok", "windows can be shown", None)),
        (
            "QT5",
            "there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set",
            (
                "note",
                "no window, --web and --output show the result: there is no display: neither "
                "DISPLAY nor WAYLAND_DISPLAY is set",
                None,
            ),
        ),
        (
            "QT5",
            "the display :9 does not answer",
            (
                "note",
                "no window, --web and --output show the result: the display :9 does not answer",
                "unset DISPLAY, or log in again with ssh -X",
            ),
        ),
        (
            None,
            "this OpenCV was built without windows (opencv-python-headless)",
            (
                "note",
                "no window, --web and --output show the result: this OpenCV was built without "
                "windows (opencv-python-headless)",
                None,
            ),
        ),
    ],
)
def test_display(machine: Machine, gui: Any, obstacle: Any, found: Any) -> None:
    probe = Probe({"version": "4.12.0", "gui": gui, "obstacle": obstacle, "gstreamer": None})
    assert of("display", machine(opencv=probe)) == [found]


@pytest.mark.parametrize(
    ("way", "text"),
    [
        ("OpenCV", "csi:// goes through OpenCV's GStreamer"),
        ("gst-launch-1.0", "csi:// goes through a gst-launch-1.0 process"),
        (None, "csi:// needs GStreamer: neither OpenCV nor gst-launch-1.0 has it"),
    ],
)
def test_the_way_to_csi_cameras(machine: Machine, way: Any, text: str) -> None:
    facts = {"version": "4.12.0", "gui": "QT5", "obstacle": None, "gstreamer": way}
    assert of("gstreamer", machine(opencv=Probe(facts))) == [("ok", text, None)]


def test_display_without_opencv(machine: Machine) -> None:
    assert of("display", machine(opencv=CRASHED)) == [
        ("note", "not known: OpenCV does not load", None)
    ]


@pytest.mark.parametrize(
    ("probe", "found"),
    [
        (
            Probe({"version": "17.0", "encoder": "libx264"}),
            ("ok", "PyAV 17.0 writes H.264 with x264", None),
        ),
        (
            Probe({"version": "17.0", "encoder": "libopenh264"}),
            (
                "note",
                "PyAV 17.0 has no x264: OpenH264 makes larger files",
                "pip install --force-reinstall av",
            ),
        ),
        (
            Probe({"version": "17.0", "encoder": "mpeg4"}),
            (
                "note",
                "PyAV 17.0 has no H.264 encoder: browsers do not play its MPEG-4 part 2",
                "pip install --force-reinstall av",
            ),
        ),
        (
            Probe({"version": "17.0", "encoder": None}),
            (
                "problem",
                "PyAV 17.0 has no encoder for .mp4 files",
                "pip install --force-reinstall av",
            ),
        ),
        (missing("av"), ("problem", "PyAV: not installed", "pip install roadseg")),
    ],
)
def test_video(machine: Machine, probe: Probe, found: Any) -> None:
    assert of("video", machine(video=probe)) == [found]


@pytest.mark.parametrize(
    ("flags", "machine_name", "found"),
    [
        (
            "flags : fpu avx2 avx512_vnni amx_int8",
            "x86_64",
            ("ok", "AVX2 and VNNI and AMX: INT8 is as fast as it gets on a CPU"),
        ),
        (
            "flags : avx2 avx_vnni",
            "x86_64",
            ("ok", "AVX2 and VNNI, no AMX: INT8 runs on instructions of its own"),
        ),
        (
            "processor : 0\nflags : avx2",
            "x86_64",
            (
                "ok",
                "AVX2, no VNNI and no AMX: INT8 takes several instructions for one, and is still "
                "faster than FP32",
            ),
        ),
        (
            "flags : sse2",
            "x86_64",
            ("note", "x86_64, no AVX2 and no VNNI and no AMX: INT8 and FP32 both run slowly"),
        ),
        (
            "Features : fp asimddp",
            "aarch64",
            ("ok", "dot product, no I8MM: INT8 runs on instructions of its own"),
        ),
        (
            "",
            "arm64",
            ("note", "arm64; which instructions for INT8 it has is not known on this system"),
        ),
    ],
)
def test_processor(flags: str, machine_name: str, found: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    if flags:
        path.write_text(flags)
    finding = check_processor(path, machine_name)
    assert (finding.level.value, finding.text) == found


def test_what_holds_the_network_to_older_instructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text("flags : avx2 avx_vnni")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    finding = check_processor(tmp_path / "cpuinfo", "x86_64")
    assert finding.text.endswith("; ONEDNN_MAX_CPU_ISA holds the network to AVX2")
    assert finding.facts["limit"] == "AVX2"


def test_how_fast_networks_are(own_cache: Path) -> None:
    finding = check_speed()
    assert (finding.level.value, finding.text, finding.fix) == (
        "note",
        "not timed yet: 'roadseg run' does so once, in at most 3 seconds",
        None,
    )
    rungs = {Rung("segnet-lite", 90112, 0.7): 11.2, Rung("segnet-lite", 168960, 0.73): 20.6}
    kept = Kept(this_machine("openvino", None)).adding(rungs, (360, 480), {})
    assert keep(kept)
    finding = check_speed()
    assert (finding.level.value, finding.text) == (
        "ok",
        "segnet-lite 352x480 21 ms, segnet-lite 256x352 11 ms a frame, the network alone",
    )
    assert finding.facts["times"][1] == {
        "model": "segnet-lite",
        "size_hw": [256, 352],
        "ms": 11.2,
        "throughput": False,
        "scores": False,
    }
    of_files = this_machine("openvino", None, throughput=True)
    keep(Kept(of_files).adding({Rung("segnet-lite", 168960, 0.73): 15.1}, (360, 480), {}))
    finding = check_speed()
    assert finding.text == (
        "segnet-lite 352x480 21 ms, segnet-lite 256x352 11 ms a frame; "
        "segnet-lite 352x480 15 ms a frame of a file, several in flight, the network alone"
    )
    assert finding.facts["times"][2]["throughput"]
    of_doubt = this_machine("openvino", None, scores=True)
    keep(Kept(of_doubt).adding({Rung("segnet-lite", 168960, 0.73): 24.4}, (360, 480), {}))
    finding = check_speed()
    assert finding.text.endswith(
        "several in flight; segnet-lite 352x480 24 ms a frame with its scores, for doubt, "
        "the network alone"
    )
    assert [each["scores"] for each in finding.facts["times"]] == [False, False, False, True]
