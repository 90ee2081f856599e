"""What the libraries that every run needs are like: OpenVINO, OpenCV, PyAV."""

from __future__ import annotations

from roadseg.core.cv2_check import explain_import_error
from roadseg.core.installing import install, reinstall
from roadseg.doctor.probing import Probe
from roadseg.doctor.report import Finding, Level


def explain_failure(
    probe: Probe, package: str, module: str, extra: str = ""
) -> tuple[str, str | None]:
    """Why a library cannot be used, and what to do.

    Args:
        probe: a failed one.
        package: what `pip` calls it: `opencv-python`.
        module: what Python calls it: `cv2`.
        extra: that it belongs to; none for what every run needs.
    """
    assert probe.error is not None
    if probe.kind == "explained":
        return probe.error, probe.fix or None
    if probe.kind == "missing":
        missing = (probe.module or module).split(".")[0]
        # All that every run needs, unless this belongs to an extra.
        fix = install(extra)
        if missing == module:
            return "not installed", fix
        return f"needs {missing}, which is not installed", fix
    if probe.kind == "failed":
        text = f"cannot be loaded ({probe.error})"
    else:
        text = f"cannot be loaded: it {probe.error}"
    return text, reinstall(package)


def check_openvino(probe: Probe) -> Finding:
    """The default backend on a CPU."""
    check, title = "openvino", "OpenVINO"
    if probe.failed:
        text, fix = explain_failure(probe, "openvino", "openvino")
        return Finding(check, title, Level.PROBLEM, text, fix)
    version, devices = probe.facts["version"], probe.facts["devices"]
    if "CPU" not in devices:
        return Finding(
            check,
            title,
            Level.PROBLEM,
            f"{version} finds no CPU to run on",
            reinstall("openvino"),
            probe.facts,
        )
    return Finding(check, title, Level.OK, f"{version} on {', '.join(devices)}", None, probe.facts)


def check_opencv(probe: Probe) -> Finding:
    """Pictures, cameras and windows."""
    check, title = "opencv", "OpenCV"
    if probe.failed:
        known = explain_import_error(ImportError(probe.error or ""))
        text, fix = explain_failure(probe, "opencv-python", "cv2")
        if known is not None:
            text, fix = known.what, known.fix
        return Finding(check, title, Level.PROBLEM, text, fix)
    version, gui = probe.facts["version"], probe.facts["gui"]
    if gui is None:
        return Finding(
            check,
            title,
            Level.NOTE,
            f"{version} was built without windows: only --output shows the result",
            "pip uninstall -y opencv-python-headless opencv-python; pip install opencv-python",
            probe.facts,
        )
    return Finding(check, title, Level.OK, f"{version} with windows ({gui})", None, probe.facts)


def check_display(opencv: Probe) -> Finding:
    """Whether a window can be opened here and now.

    Args:
        opencv: the probe of OpenCV, which does the asking.
    """
    check, title = "display", "Display"
    if opencv.failed:
        return Finding(check, title, Level.NOTE, "not known: OpenCV does not load")
    obstacle = opencv.facts["obstacle"]
    if obstacle is None:
        return Finding(check, title, Level.OK, "windows can be shown")
    # A server has none, and windows that OpenCV lacks are a finding of their own: nothing to fix.
    fix = "unset DISPLAY, or log in again with ssh -X" if "does not answer" in obstacle else None
    text = f"no window, only --output shows the result: {obstacle}"
    return Finding(check, title, Level.NOTE, text, fix)


def check_video(probe: Probe) -> Finding:
    """Reading and writing of video files."""
    check, title, again = "video", "Video", reinstall("av")
    if probe.failed:
        text, fix = explain_failure(probe, "av", "av")
        return Finding(check, title, Level.PROBLEM, f"PyAV: {text}", fix)
    version, encoder = f"PyAV {probe.facts['version']}", probe.facts["encoder"]
    if encoder == "libx264":
        text = f"{version} writes H.264 with x264"
        return Finding(check, title, Level.OK, text, None, probe.facts)
    if encoder == "libopenh264":
        text = f"{version} has no x264: OpenH264 makes larger files"
        return Finding(check, title, Level.NOTE, text, again, probe.facts)
    if encoder is not None:
        text = f"{version} has no H.264 encoder: browsers do not play its MPEG-4 part 2"
        return Finding(check, title, Level.NOTE, text, again, probe.facts)
    text = f"{version} has no encoder for .mp4 files"
    return Finding(check, title, Level.PROBLEM, text, again, probe.facts)
