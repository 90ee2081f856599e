"""Label maps whose read-outs are plain to see."""

from __future__ import annotations

import numpy as np
import pytest

from roadseg.core.types import Labels

ROAD, CAR, PEDESTRIAN, SKY = 3, 8, 9, 0


@pytest.fixture
def street() -> Labels:
    """(100, 200) uint8: sky above row 50, road below, a car in rows 60 to 69 ahead."""
    labels = np.full((100, 200), ROAD, np.uint8)
    labels[:50] = SKY
    labels[60:70, 80:120] = CAR
    return labels
