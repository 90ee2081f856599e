"""What the measurements of live runs stand on."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.live.cameras import BITS, HttpCamera, read_code, write_code
from benchmarks.live.soak import report
from roadseg.live.web.message import as_jpeg
from roadseg.media.sources.opening import open_source


@pytest.mark.parametrize("moment", [0, 1, 123456789, (1 << BITS) - 1])
def test_a_moment_survives_a_jpeg(moment: int) -> None:
    import cv2

    image = np.full((32, 512, 3), 90, np.uint8)
    write_code(image, moment)
    data = np.frombuffer(as_jpeg(image, 65), np.uint8)
    assert read_code(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))) == moment


def test_a_camera_is_one_that_roadseg_reads() -> None:
    camera = HttpCamera([np.full((96, 512, 3), 90, np.uint8)], 100)
    try:
        with open_source(camera.url) as source:
            frames = [source.read() for _ in range(3)]
    finally:
        camera.close()
    codes = [read_code(frame.image_bgr) for frame in frames if frame is not None]
    assert codes == sorted(codes)
    assert codes[0] < codes[2]


def test_slopes_are_by_the_hour() -> None:
    rows = [
        {
            "time_s": 36.0 * i,
            "rss_mb": 100 + 0.01 * i,
            "threads": 5,
            "descriptors": 7,
            "age_ms": None if i % 2 else 50.0,
            "viewed": i,
        }
        for i in range(200)
    ]
    lines = report(rows, None).splitlines()
    assert "| rss_mb | 100.5 | 101.9 | +1.00 |" in lines
    assert "| age_ms | 50.0 | 50.0 | +0.00 |" in [line.replace("-0.00", "+0.00") for line in lines]
