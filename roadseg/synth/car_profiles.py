"""Outlines, sizes and paints of vehicles: the figures that `car_shapes` lofts bodies from."""

from __future__ import annotations

COLOURS = (
    (168, 166, 164),
    (150, 150, 152),
    (60, 58, 58),
    (34, 33, 33),
    (36, 32, 30),
    (208, 210, 212),
    (30, 26, 120),
    (100, 50, 30),
    (70, 36, 24),
    (46, 70, 40),
    (120, 128, 134),
    (60, 40, 90),
    (130, 96, 60),
)
BUS_COLOURS = ((40, 36, 150), (120, 150, 60), (190, 196, 200), (150, 90, 40), (60, 150, 190))

# Side profiles, front to rear: (place / length, height in metres, surface up to the next).
PROFILES: dict[str, tuple[tuple[float, float, str], ...]] = {
    "hatch": (
        (0.492, 0.28, "bumper"),
        (0.500, 0.52, "body"),
        (0.485, 0.70, "bonnet"),
        (0.250, 0.95, "screen"),
        (0.040, 1.40, "roof"),
        (-0.150, 1.46, "roof"),
        (-0.370, 1.38, "rear"),
        (-0.470, 0.98, "body"),
        (-0.497, 0.80, "body"),
        (-0.500, 0.52, "bumper"),
        (-0.492, 0.28, ""),
    ),
    "saloon": (
        (0.492, 0.26, "bumper"),
        (0.500, 0.50, "body"),
        (0.485, 0.68, "bonnet"),
        (0.230, 0.92, "screen"),
        (0.060, 1.36, "roof"),
        (-0.080, 1.42, "roof"),
        (-0.230, 1.36, "rear"),
        (-0.370, 1.00, "body"),
        (-0.490, 0.92, "body"),
        (-0.500, 0.52, "bumper"),
        (-0.492, 0.26, ""),
    ),
    "estate": (
        (0.492, 0.28, "bumper"),
        (0.500, 0.54, "body"),
        (0.485, 0.76, "bonnet"),
        (0.260, 1.02, "screen"),
        (0.100, 1.52, "roof"),
        (-0.150, 1.60, "roof"),
        (-0.430, 1.55, "rear"),
        (-0.490, 1.06, "body"),
        (-0.498, 0.80, "body"),
        (-0.500, 0.52, "bumper"),
        (-0.492, 0.28, ""),
    ),
    "van": (
        (0.492, 0.30, "bumper"),
        (0.500, 0.62, "body"),
        (0.490, 0.90, "bonnet"),
        (0.380, 1.15, "screen"),
        (0.260, 1.90, "roof"),
        (0.000, 2.02, "roof"),
        (-0.470, 2.00, "rear"),
        (-0.490, 1.25, "body"),
        (-0.498, 0.90, "body"),
        (-0.500, 0.56, "bumper"),
        (-0.492, 0.30, ""),
    ),
    "bus": (
        (0.498, 0.30, "bumper"),
        (0.500, 0.70, "body"),
        (0.500, 1.15, "screen"),
        (0.490, 2.55, "body"),
        (0.480, 3.00, "roof"),
        (0.000, 3.08, "roof"),
        (-0.490, 3.00, "body"),
        (-0.498, 2.60, "rear"),
        (-0.500, 1.60, "body"),
        (-0.500, 0.70, "bumper"),
        (-0.498, 0.30, ""),
    ),
}
SIZES = {  # length, width, height of the windows' lower edge
    "hatch": (3.95, 1.70, 0.93),
    "saloon": (4.60, 1.78, 0.90),
    "estate": (4.65, 1.82, 1.00),
    "van": (5.00, 1.98, 1.15),
    "bus": (10.5, 2.50, 1.25),
}
LEAN = {"van": 0.10, "bus": 0.03}  # how much the sides lean in above the belt
# How finely a body is cut, by detail: across its top, up its sides, along the profile.
ACROSS = (
    (-1.0, -0.88, 0.88, 1.0),
    (-1.0, -0.88, -0.45, 0.0, 0.45, 0.88, 1.0),
    (-1.0, -0.94, -0.88, -0.6, -0.3, 0.0, 0.3, 0.6, 0.88, 0.94, 1.0),
)
LEVELS = (
    (0.28, 0.62),
    (0.28, 0.45, 0.62, 0.78),
    (0.28, 0.36, 0.44, 0.52, 0.60, 0.68, 0.76, 0.84),
)
CUTS = ((1, 1), (2, 3), (3, 6))  # of short and of long stretches
