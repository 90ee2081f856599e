"""The flat-road model: which row of a picture shows the road how far ahead.

The camera stands `camera_height_m` above a road that is a plane; it neither rolls nor turns. A ray
that is `a` below the camera's axis in units of the focal length, where the horizon is `b` below it,
meets the road `camera_height_m * (1 + a * b) / (a - b)` ahead, measured along the road. See Hartley
and Zisserman, "Multiple View Geometry in Computer Vision", 2nd edition, chapter 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roadseg.core.errors import UsageError
from roadseg.core.wording import option


@dataclass(frozen=True)
class FlatRoad:
    """A camera above a flat road.

    The defaults are a dashcam behind a car's windscreen, level, in a 4:3 picture; distances
    are then a guess: a height that is wrong by 10 % makes them wrong by 10 %, and a horizon that is
    wrong by one row of 352 shifts 30 m by 6 %.

    >>> camera = FlatRoad(camera_height_m=1.2, horizon=0.5, fov_deg=90, vertical_fov_deg=90)
    >>> camera.distance_m(np.array([100.0, 75.0, 60.0, 50.0]), height=100)
    array([1.2, 2.4, 6. , inf])

    Attributes:
        camera_height_m: of the lens above the road, in metres.
        horizon: where the road would end on a plane without bends, as a share of the picture's
            height from the top.
        fov_deg: horizontal field of view, degrees.
        vertical_fov_deg: vertical field of view, degrees; the default is that of a 4:3 picture with
            square pixels and 60 degrees across.

    Raises:
        UsageError: a height that is not above 0, a horizon outside the picture, or a field of view
            that is not between 0 and 180 degrees.
    """

    camera_height_m: float = 1.3
    horizon: float = 0.5
    fov_deg: float = 60.0
    vertical_fov_deg: float = 2 * math.degrees(math.atan(0.75 * math.tan(math.radians(30))))

    def __post_init__(self) -> None:
        if not 0 < self.camera_height_m < math.inf:
            raise UsageError(
                f"a camera height of {self.camera_height_m} m cannot be",
                fix="use metres, such as "
                + option("--camera-height", 1.3, parameter="camera_height_m"),
            )
        if not 0 <= self.horizon < 1:
            raise UsageError(
                f"the horizon lies outside the picture, at {self.horizon:g} of its height",
                fix="use a row of the picture, such as its middle",
            )
        for degrees in (self.fov_deg, self.vertical_fov_deg):
            if not 0 < degrees < 180:
                raise UsageError(
                    f"a field of view of {degrees:g} degrees cannot be",
                    fix=f"use 0 to 180, such as {option('--fov', 60, parameter='fov_deg')}",
                )

    @classmethod
    def of_picture(
        cls,
        picture_hw: tuple[int, int],
        camera_height_m: float = 1.3,
        horizon_row: float | None = None,
        fov_deg: float = 60.0,
    ) -> FlatRoad:
        """The camera of a picture with square pixels, whatever the size of its label maps.

        >>> round(FlatRoad.of_picture((720, 1280), horizon_row=324).horizon, 3)
        0.45

        Args:
            picture_hw: height and width of the source's pictures.
            camera_height_m: of the lens above the road.
            horizon_row: row of the picture, 0 at the top; the middle without one.
            fov_deg: horizontal field of view, degrees.

        Raises:
            UsageError: see `FlatRoad`.
        """
        height, width = picture_hw
        horizon = 0.5 if horizon_row is None else horizon_row / height
        half = math.tan(math.radians(fov_deg) / 2) if 0 < fov_deg < 180 else math.nan
        vertical = 2 * math.degrees(math.atan(half * height / width))
        return cls(camera_height_m, horizon, fov_deg, 60.0 if math.isnan(vertical) else vertical)

    def distance_m(self, edge: npt.NDArray[np.float64], height: int) -> npt.NDArray[np.float64]:
        """Metres along the road to what touches it at a height of the picture.

        Args:
            edge: pixels from the picture's upper edge: row r begins at r and ends at r + 1. What
                stands on the road with its lowest pixel in row r touches it at r + 1.
            height: rows of the label map.

        Returns:
            Of the shape of `edge`; inf at the horizon and above.
        """
        scale = 2 * math.tan(math.radians(self.vertical_fov_deg) / 2) / height
        below = (np.asarray(edge, np.float64) - height / 2) * scale
        horizon = (self.horizon - 0.5) * height * scale
        deep = below - horizon
        metres = np.full(deep.shape, np.inf)
        np.divide(self.camera_height_m * (1 + below * horizon), deep, out=metres, where=deep > 1e-9)
        return metres

    def point(self, right_m: float, ahead_m: float) -> tuple[float, float]:
        """Where a place on the road appears, as fractions (x, y) of the picture.

        >>> camera = FlatRoad(camera_height_m=1.2, fov_deg=90, vertical_fov_deg=90)
        >>> x, y = camera.point(right_m=-1.2, ahead_m=2.4)
        >>> round(x, 3), round(y, 3)
        (0.25, 0.75)
        """
        half_y = math.tan(math.radians(self.vertical_fov_deg) / 2)
        half_x = math.tan(math.radians(self.fov_deg) / 2)
        tilt = math.atan(2 * half_y * (self.horizon - 0.5))  # of the horizon below the axis
        # Camera axes: forwards along the optical axis, and down.
        down = self.camera_height_m * math.cos(tilt) + ahead_m * math.sin(tilt)
        deep = ahead_m * math.cos(tilt) - self.camera_height_m * math.sin(tilt)
        return 0.5 + right_m / deep / half_x / 2, 0.5 + down / deep / half_y / 2
