"""Training crops: one affine warp and cheap colour changes, on uint8 frames.

Everything geometric is one `warpAffine`, so a crop is sampled once; colour is one 3x4 matrix and
one look-up table. On the CPU that trains, this costs a twentieth of the network's step. The same
for whole batches on a GPU is in `augment_batch`, which shares what is drawn here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.labels import VOID_ID
from roadseg.core.types import Image, Labels
from roadseg.training.balance import CAMVID_RARE_IDS
from roadseg.training.recipes import Augmentation


@dataclass(frozen=True)
class CropTargets:
    """What crops need to know of the classes; CamVid's by default.

    Attributes:
        void_id: of the pixels outside the frame.
        rare_ids: the classes that some crops are centred on.
    """

    void_id: int = VOID_ID
    rare_ids: tuple[int, ...] = CAMVID_RARE_IDS


CAMVID_TARGETS = CropTargets()

MOTION_TAPS = 15
"""Sides of the kernel that smears a crop, in pixels."""

_STREAKS_LOG = (math.log(40), math.log(1200))


def augment(
    image_bgr: Image,
    labels: Labels,
    crop_hw: tuple[int, int],
    settings: Augmentation,
    rng: np.random.Generator,
    targets: CropTargets = CAMVID_TARGETS,
) -> tuple[Image, Labels]:
    """A random crop of a labelled frame.

    Args:
        image_bgr: (H, W, 3) uint8 BGR.
        labels: (H, W) uint8 class ids.
        crop_hw: height and width of the crop.
        settings: what may vary, and how far.
        rng: where the randomness comes from; the same state gives the same crop.
        targets: which ids are void and rare.

    Returns:
        (h, w, 3) uint8 BGR and (h, w) uint8 ids; what lies outside the frame mirrors the frame
        and is void in the labels.
    """
    frame_hw = (labels.shape[0], labels.shape[1])
    centre_yx = draw_centre(frame_hw, settings, rng, lambda: rare_places(labels, targets.rare_ids))
    matrix = inverse_affine(centre_yx, frame_hw, crop_hw, settings, rng)
    size_wh = (crop_hw[1], crop_hw[0])
    crop = cv2.warpAffine(
        image_bgr,
        matrix,
        size_wh,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    ids = cv2.warpAffine(
        labels,
        matrix,
        size_wh,
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(targets.void_id,),
    )
    return _recolour(crop, settings, rng), ids


def draw_centre(
    frame_hw: tuple[int, int],
    settings: Augmentation,
    rng: np.random.Generator,
    places: Callable[[], Sequence[npt.NDArray[np.integer[Any]]]],
) -> tuple[float, float]:
    """(y, x) in frame pixels around which a crop is cut: anywhere, or near a rare class.

    Args:
        frame_hw: size of the frame.
        settings: what may vary, and how far.
        rng: where the randomness comes from.
        places: gives what `rare_places` finds in the frame.
    """
    height, width = frame_hw
    if rng.random() < settings.rare_share:
        by_class = places()
        if by_class:
            # First the class, then a pixel: the rarest has the same chance as the others.
            at = by_class[int(rng.integers(len(by_class)))]
            y, x = divmod(int(at[rng.integers(len(at))]), width)
            return y + rng.uniform(-40, 40), x + rng.uniform(-60, 60)
    return rng.uniform(0, height), rng.uniform(0, width)


def rare_places(labels: Labels, rare_ids: tuple[int, ...]) -> list[npt.NDArray[np.int64]]:
    """Flat positions of each rare class that occurs in (H, W) uint8 ids."""
    places = [np.flatnonzero(labels == i) for i in rare_ids]
    return [at for at in places if len(at)]


def inverse_affine(
    centre_yx: tuple[float, float] | npt.NDArray[np.float64],
    frame_hw: tuple[int, int],
    crop_hw: tuple[int, int],
    settings: Augmentation,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """(2, 3) matrix from crop pixels to frame pixels, of a random zoom, turn and mirror.

    Args:
        centre_yx: what the crop is centred on, as far as it then stays inside the frame.
        frame_hw: size of the frame.
        crop_hw: size of the crop.
        settings: what may vary, and how far.
        rng: where the randomness comes from.
    """
    height, width = frame_hw
    centre_y, centre_x = centre_yx
    zoom = math.exp(rng.uniform(math.log(settings.scale[0]), math.log(settings.scale[1])))
    stretch = math.exp(rng.uniform(-settings.aspect, settings.aspect) / 2)
    step_x, step_y = 1 / (zoom * stretch), stretch / zoom
    seen_h, seen_w = crop_hw[0] * step_y, crop_hw[1] * step_x
    # Keep the crop inside the frame where it fits; centre it where it is the larger one.
    centre_y = (
        float(np.clip(centre_y, seen_h / 2, height - seen_h / 2)) if seen_h < height else height / 2
    )
    centre_x = (
        float(np.clip(centre_x, seen_w / 2, width - seen_w / 2)) if seen_w < width else width / 2
    )
    angle = math.radians(rng.uniform(-settings.rotate_deg, settings.rotate_deg))
    mirror = -1.0 if settings.flip and rng.random() < 0.5 else 1.0
    cos, sin = math.cos(angle), math.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([mirror * step_x, step_y])
    # Pixel centres: crop pixel (w/2 - 0.5, h/2 - 0.5) lands on the centre.
    middle = np.array([crop_hw[1] / 2 - 0.5, crop_hw[0] / 2 - 0.5])
    offset = np.array([centre_x - 0.5, centre_y - 0.5]) - linear @ middle
    return np.column_stack([linear, offset])


def colour_of(
    settings: Augmentation, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], float]:
    """Brightness, contrast, saturation and white balance as a (3, 4) matrix, and a gamma.

    The matrix takes BGR in 0..1, and 1, to BGR.
    """
    s = settings.colour
    exposure = darkening(settings, rng)
    if s <= 0:
        return exposure * np.eye(3, 4), 1.0
    saturation = 1 + rng.uniform(-2, 2) * s
    gains = (1 + rng.uniform(-0.4, 0.4, 3) * s) * (1 + rng.uniform(-1, 1) * s)
    grey = np.full((3, 1), 1.0) @ np.array([[0.114, 0.587, 0.299]])
    linear = np.diag(gains) @ (saturation * np.eye(3) + (1 - saturation) * grey)
    offset = np.full(3, rng.uniform(-1, 1) * s * 96 / 255)
    return exposure * np.column_stack([linear, offset]), math.exp(rng.uniform(-1.2, 1.2) * s)


def darkening(settings: Augmentation, rng: np.random.Generator) -> float:
    """What an underexposed crop is multiplied by, and 1 for the others."""
    if settings.dark_share > 0 and rng.random() < settings.dark_share:
        return rng.uniform(0.15, 0.6)
    return 1.0


def _recolour(crop: Image, settings: Augmentation, rng: np.random.Generator) -> Image:
    if settings.colour > 0 or settings.dark_share > 0:
        matrix, gamma = colour_of(settings, rng)
        matrix[:, 3] *= 255
        table = (255 * (np.arange(256) / 255) ** gamma + 0.5).astype(np.uint8)
        crop = cv2.LUT(cv2.transform(crop, matrix), table)
    if rng.random() < settings.shadow_share:
        crop = _shadow(crop, rng)
    if rng.random() < settings.glare_share:
        crop = _glare(crop, rng)
    if settings.haze_share > 0 and rng.random() < settings.haze_share:
        crop = _haze(crop, rng)
    if settings.rain_share > 0 and rng.random() < settings.rain_share:
        crop = _rain(crop, rng)
    if settings.motion_share > 0 and rng.random() < settings.motion_share:
        crop = cv2.filter2D(crop, -1, draw_motion(rng), borderType=cv2.BORDER_REFLECT_101)
    if rng.random() < settings.blur_share:
        crop = cv2.GaussianBlur(crop, (0, 0), rng.uniform(*settings.blur_sigma))
    if rng.random() < settings.noise_share:
        crop = _grain(crop, rng.uniform(*settings.noise_sigma), rng)
    return crop


def draw_shadow(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A line a x + b y + c = 0 in crop coordinates of -1..1, and how bright its dark side stays."""
    angle = rng.uniform(0, 2 * math.pi)
    return math.cos(angle), math.sin(angle), rng.uniform(-0.7, 0.7), rng.uniform(0.35, 0.75)


def draw_glare(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A light's centre x, y in crop coordinates of -1..1, in the upper half; radius, strength."""
    return rng.uniform(-1, 1), rng.uniform(-1, 0), rng.uniform(0.2, 0.7), rng.uniform(0.3, 1)


def draw_haze(rng: np.random.Generator) -> tuple[float, float, float]:
    """How much of a scene shows through a veil at the top and at the bottom; the veil's grey.

    All in 0..1. What is high in a picture of a street is far away, so the veil is thicker there.
    """
    top = rng.uniform(0.1, 0.8)
    return top, min(1.0, top + rng.uniform(0, 0.4)), rng.uniform(0.4, 0.95)


def draw_motion(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """(15, 15) kernel of a line through its middle, of a random length and angle; its sum is 1."""
    half, angle = rng.uniform(1, MOTION_TAPS // 2), rng.uniform(0, math.pi)
    kernel = np.zeros((MOTION_TAPS, MOTION_TAPS), np.float32)
    middle = MOTION_TAPS // 2
    for at in np.linspace(-half, half, 4 * MOTION_TAPS):
        x, y = middle + at * math.cos(angle), middle + at * math.sin(angle)
        left, top = int(x), int(y)
        # Shared among four neighbours: a line at any angle is equally smooth.
        for row, share_y in ((top, 1 - (y - top)), (top + 1, y - top)):
            for column, share_x in ((left, 1 - (x - left)), (left + 1, x - left)):
                if row < MOTION_TAPS and column < MOTION_TAPS:
                    kernel[row, column] += share_y * share_x
    kernel /= kernel.sum()
    return kernel


def draw_grain(rng: np.random.Generator) -> tuple[float, float]:
    """How soft a sensor's grain is after its camera smoothed it, as the sigma of a Gaussian in
    pixels; and how far its three colours go together, 0 for each its own."""
    return rng.uniform(0.35, 1.1), rng.uniform(0, 2)


def draw_rain(
    crop_hw: tuple[int, int], rng: np.random.Generator
) -> tuple[Image, tuple[float, float]]:
    """Streaks of rain, or flakes of snow.

    Returns:
        How much of each pixel they hide, (h, w) uint8; and how much the scene behind them pales,
        towards which grey, both in 0..1.
    """
    height, width = crop_hw
    count, slant = int(math.exp(rng.uniform(*_STREAKS_LOG))), rng.uniform(-0.7, 0.7)
    longest, thickest = rng.uniform(1, 18), rng.uniform(1, 4.5)
    # Some begin outside and fall into the picture.
    starts = rng.uniform(0, 1, (count, 2)) * (width + 20, height + 20) - 20
    ends = starts + np.outer(rng.uniform(0.2, 1, count) * longest, (slant, 1))
    thickness = np.rint(rng.uniform(1, thickest, count)).astype(int)
    lines = np.rint(np.hstack([starts, ends]) * 16).astype(int)
    hidden = np.zeros(crop_hw, np.uint8)
    for (x0, y0, x1, y1), wide, much in zip(
        lines.tolist(), thickness.tolist(), rng.integers(60, 256, count).tolist(), strict=True
    ):
        cv2.line(hidden, (x0, y0), (x1, y1), (much,), wide, cv2.LINE_AA, shift=4)
    soft: Image = cv2.GaussianBlur(hidden, (0, 0), rng.uniform(0.4, 1.2))
    return soft, (rng.uniform(0, 0.5), rng.uniform(0.6, 1))


def _axes(crop: Image) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Crop coordinates of -1..1: (h, 1) and (1, w)."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in crop.shape[:2])
    return y[:, None], x[None, :]


def _shadow(crop: Image, rng: np.random.Generator) -> Image:
    """Darken one side of a line: what a bridge or a building throws across the road."""
    y, x = _axes(crop)
    a, b, c, depth = draw_shadow(rng)
    # An edge some pixels wide: the sun is no point.
    dark = 1 / (1 + np.exp(-np.clip((a * x + b * y + c) * 40, -30, 30)))
    return _scaled(crop, 1 - dark * (1 - depth))


def _glare(crop: Image, rng: np.random.Generator) -> Image:
    """Wash out a round part of the upper half: the low sun in a windscreen."""
    y, x = _axes(crop)
    centre_x, centre_y, radius, strength = draw_glare(rng)
    distance = (x - centre_x) ** 2 + (y - centre_y) ** 2
    return 255 - _scaled(255 - crop, 1 - strength * np.exp(-distance / radius**2))


def _haze(crop: Image, rng: np.random.Generator) -> Image:
    """Draw a grey veil over the crop, thicker towards the top."""
    top, bottom, grey = draw_haze(rng)
    clear = np.linspace(top, bottom, crop.shape[0], dtype=np.float32)[:, None, None]
    veiled: Image = (crop * clear + 255 * grey * (1 - clear) + 0.5).astype(np.uint8)
    return veiled


def _grain(crop: Image, sigma: float, rng: np.random.Generator) -> Image:
    """Noise of a sensor, as it leaves a camera: a pixel or two wide, partly grey."""
    soft, shared = draw_grain(rng)
    grain = rng.standard_normal(crop.shape, dtype=np.float32)
    grain += np.float32(shared) * grain[..., :1]
    grain = cv2.GaussianBlur(grain, (0, 0), soft)
    grain *= np.float32(sigma / max(float(grain.std()), 1e-6))
    noisy: Image = np.clip(crop + grain, 0, 255).astype(np.uint8)
    return noisy


def _rain(crop: Image, rng: np.random.Generator) -> Image:
    """Streaks in front of a scene that is paler than in fair weather."""
    hidden, (pale, grey) = draw_rain((crop.shape[0], crop.shape[1]), rng)
    clear = (1 - hidden.astype(np.float32) / 255)[..., None] * np.float32(1 - pale)
    rainy: Image = (crop * clear + np.float32(255 * grey) * (1 - clear) + 0.5).astype(np.uint8)
    return rainy


def _scaled(crop: Image, factor: npt.NDArray[np.floating[Any]]) -> Image:
    product: Image = (crop * factor.astype(np.float32)[..., None] + 0.5).astype(np.uint8)
    return product
