"""What the libraries that every run needs are like: OpenVINO, OpenCV, PyAV."""

from __future__ import annotations

from roadseg.core.cv2_check import explain_import_error
from roadseg.core.installing import install, reinstall
from roadseg.doctor.probing import Probe
from roadseg.doctor.report import Verdict, note, ok, problem


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


def check_openvino(probe: Probe) -> Verdict:
    """The default backend on a CPU."""
    if probe.failed:
        text, fix = explain_failure(probe, "openvino", "openvino")
        return problem(text, fix)
    version, devices = probe.facts["version"], probe.facts["devices"]
    if "CPU" not in devices:
        text = f"{version} finds no CPU to run on"
        return problem(text, reinstall("openvino"), probe.facts)
    return ok(f"{version} on {', '.join(devices)}", probe.facts)


def check_opencv(probe: Probe) -> Verdict:
    """Pictures, cameras and windows."""
    if probe.failed:
        known = explain_import_error(ImportError(probe.error or ""))
        text, fix = explain_failure(probe, "opencv-python", "cv2")
        if known is not None:
            text, fix = known.what, known.fix
        return problem(text, fix)
    version, gui = probe.facts["version"], probe.facts["gui"]
    if gui is None:
        text = f"{version} was built without windows: --web and --output show the result"
        fix = "pip uninstall -y opencv-python-headless opencv-python; pip install opencv-python"
        return note(text, fix, probe.facts)
    return ok(f"{version} with windows ({gui})", probe.facts)


def check_display(opencv: Probe) -> Verdict:
    """Whether a window can be opened here and now.

    Args:
        opencv: the probe of OpenCV, which does the asking.
    """
    if opencv.failed:
        return note("not known: OpenCV does not load")
    obstacle = opencv.facts["obstacle"]
    if obstacle is None:
        return ok("windows can be shown")
    # A server has none, and windows that OpenCV lacks are a finding of their own: nothing to fix.
    fix = "unset DISPLAY, or log in again with ssh -X" if "does not answer" in obstacle else None
    text = f"no window, --web and --output show the result: {obstacle}"
    return note(text, fix)


def check_gstreamer(opencv: Probe) -> Verdict:
    """How a Jetson's own camera, `csi://0`, is reached.

    Args:
        opencv: the probe of OpenCV, which knows whether it has GStreamer.
    """
    if opencv.failed:
        return note("not known: OpenCV does not load")
    way = opencv.facts["gstreamer"]
    if way is None:
        return ok("csi:// needs GStreamer: neither OpenCV nor gst-launch-1.0 has it")
    through = "OpenCV's GStreamer" if way == "OpenCV" else f"a {way} process"
    return ok(f"csi:// goes through {through}")


def check_video(probe: Probe) -> Verdict:
    """Reading and writing of video files."""
    again = reinstall("av")
    if probe.failed:
        text, fix = explain_failure(probe, "av", "av")
        return problem(f"PyAV: {text}", fix)
    version, encoder = f"PyAV {probe.facts['version']}", probe.facts["encoder"]
    if encoder == "libx264":
        text = f"{version} writes H.264 with x264"
        return ok(text, probe.facts)
    if encoder == "libopenh264":
        text = f"{version} has no x264: OpenH264 makes larger files"
        return note(text, again, probe.facts)
    if encoder is not None:
        text = f"{version} has no H.264 encoder: browsers do not play its MPEG-4 part 2"
        return note(text, again, probe.facts)
    text = f"{version} has no encoder for .mp4 files"
    return problem(text, again, probe.facts)
