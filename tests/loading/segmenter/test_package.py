"""What the package offers to Python users."""

from __future__ import annotations

import subprocess
import sys

import roadseg
from roadseg.core.errors import UsageError
from roadseg.loading.segmenter import Segmenter


def test_the_package_offers_it():
    assert roadseg.Segmenter is Segmenter
    assert roadseg.core.errors.UsageError is UsageError
    assert len(roadseg.core.labels.CLASS_NAMES) == 11


def test_the_package_shows_what_it_offers_and_loads_none_of_it():
    code = (
        "import sys, roadseg\n"
        "shown = [name for name in dir(roadseg) if not name.startswith('_')]\n"
        "assert '__version__' in dir(roadseg)\n"
        "heavy = {'numpy', 'cv2', 'openvino', 'torch', 'av'} & set(sys.modules)\n"
        "print(*shown, *heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "ArchiveSpec",
        "ClipResult",
        "ClipSpec",
        "ComparisonPlan",
        "EngineSpec",
        "Frame",
        "LabelMap",
        "MaskVideo",
        "RunSpec",
        "Segmenter",
        "build_engine",
        "calibrate_model",
        "compare",
        "cross_validate",
        "errors",
        "evaluate_model",
        "export_network",
        "labels",
        "process_archive",
        "process_clip",
        "quantize_model",
        "train",
    ]
    assert sorted(roadseg.__all__) == sorted([*done.stdout.split(), "__version__"])
    assert all(hasattr(roadseg, name) for name in roadseg.__all__)
