"""Training crops as tensor operations on whole batches: for GPUs, where frames already are.

The same distributions as `augment`, drawn on the host (a few numbers a crop) and applied on the
device. What is drawn follows from the generator alone, so that a resumed run continues exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from roadseg.labels import VOID_ID
from roadseg.training.augment import colour_of, inverse_affine
from roadseg.training.recipes import Augmentation

__all__ = ["CropPlan", "crop_batch", "draw_plan"]

_BLUR_TAPS = 9


@dataclass(frozen=True)
class CropPlan:
    """What a batch of N crops is made of, as host arrays.

    Attributes:
        frames: (N,) which frame each crop is from.
        affine: (N, 2, 3) from crop pixels to frame pixels.
        colour: (N, 3, 4) from BGR in 0..1, and 1, to BGR.
        gamma: (N,) exponents.
        blur: (N,) standard deviations in pixels; 0 leaves a crop sharp.
        noise: (N,) standard deviations in 0..1.
        shade: (N, 4) a shadow's edge and depth: a x + b y + c > 0, in crop coordinates of -1..1,
            is darkened to the fourth, 1 for none.
        glare: (N, 4) a light's centre x, y in -1..1, its radius, and its strength, 0 for none.
        noise_seed: seeds the noise itself.
    """

    frames: npt.NDArray[np.int64]
    affine: npt.NDArray[np.float32]
    colour: npt.NDArray[np.float32]
    gamma: npt.NDArray[np.float32]
    blur: npt.NDArray[np.float32]
    noise: npt.NDArray[np.float32]
    shade: npt.NDArray[np.float32]
    glare: npt.NDArray[np.float32]
    noise_seed: int


def draw_plan(
    frames: npt.NDArray[np.int64],
    centres: npt.NDArray[np.float64],
    frame_hw: tuple[int, int],
    crop_hw: tuple[int, int],
    settings: Augmentation,
    rng: np.random.Generator,
) -> CropPlan:
    """Draw what varies in a batch.

    Args:
        frames: (N,) which frame each crop is from.
        centres: (N, 2) y, x in frame pixels around which crops are cut.
        frame_hw: size of every frame.
        crop_hw: size of every crop.
        settings: what may vary, and how far.
        rng: where the randomness comes from.
    """
    count = len(frames)
    colours = [colour_of(settings, rng) for _ in range(count)]
    light = [_light(settings, rng) for _ in range(count)]
    return CropPlan(
        frames=frames,
        affine=np.stack(
            [inverse_affine(centre, frame_hw, crop_hw, settings, rng) for centre in centres]
        ).astype(np.float32),
        colour=np.stack([matrix for matrix, _ in colours]).astype(np.float32),
        gamma=np.array([gamma for _, gamma in colours], np.float32),
        blur=_sometimes(settings.blur_share, 0.4, 1.4, count, rng),
        noise=_sometimes(settings.noise_share, 2 / 255, 10 / 255, count, rng),
        shade=np.array([shade for shade, _ in light], np.float32),
        glare=np.array([glare for _, glare in light], np.float32),
        noise_seed=int(rng.integers(2**62)),
    )


def crop_batch(
    images: Tensor,
    labels: Tensor,
    plan: CropPlan,
    crop_hw: tuple[int, int],
    void_id: int = VOID_ID,
) -> tuple[Tensor, Tensor]:
    """Cut and colour the crops of a plan.

    Args:
        images: (M, H, W, 3) uint8 BGR, all frames.
        labels: (M, H, W) uint8 class ids.
        plan: what to cut.
        crop_hw: size of the crops.
        void_id: the id of what lies outside a frame.

    Returns:
        (N, 3, h, w) float BGR in 0..1, channels-last, and (N, h, w) int64 ids; what lies outside
        a frame mirrors it and is void in the labels.
    """
    device = images.device
    frames = torch.from_numpy(plan.frames).to(device)
    grid = _grid(plan.affine, images.shape[1:3], crop_hw, device)
    pixels = images[frames].permute(0, 3, 1, 2).float()
    crops = F.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    # Outside the frame nearest sampling gives 0: shifted, that is void.
    shifted = labels[frames][:, None].float() - void_id
    ids = F.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    targets = (ids[:, 0] + void_id).round_().long()
    crops = _recolour(crops.div_(255), plan)
    return crops.contiguous(memory_format=torch.channels_last), targets


def _grid(
    affine: npt.NDArray[np.float32],
    frame_hw: torch.Size | tuple[int, int],
    crop_hw: tuple[int, int],
    device: torch.device,
) -> Tensor:
    """(N, h, w, 2) sampling places in -1..1, from matrices in pixels."""
    height, width = frame_hw
    matrix = torch.from_numpy(affine).to(device)
    ys = torch.arange(crop_hw[0], device=device, dtype=torch.float32)
    xs = torch.arange(crop_hw[1], device=device, dtype=torch.float32)
    y, x = torch.meshgrid(ys, xs, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    at = places.reshape(1, -1, 3) @ matrix.transpose(1, 2)
    scale = torch.tensor([2 / width, 2 / height], device=device)
    # Without aligned corners -1 is the outer edge of the first pixel, whose centre is at 0 here.
    return ((at + 0.5) * scale - 1).reshape(len(affine), *crop_hw, 2)


def _recolour(crops: Tensor, plan: CropPlan) -> Tensor:
    device = crops.device

    def column(values: npt.NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(values).to(device)[:, None, None, None]

    matrix = torch.from_numpy(plan.colour).to(device)
    flat = torch.baddbmm(matrix[:, :, 3:], matrix[:, :, :3], crops.flatten(2))
    crops = flat.view_as(crops).clamp_(0, 1)
    crops = crops.pow(column(plan.gamma))
    if (plan.shade[:, 3] < 1).any() or (plan.glare[:, 3] > 0).any():
        crops = _light_up(crops, plan)
    if plan.blur.any():
        crops = _blur(crops, plan.blur)
    if plan.noise.any():
        generator = torch.Generator(device).manual_seed(plan.noise_seed)
        noise = torch.randn(crops.shape, generator=generator, device=device)
        crops = crops + noise * column(plan.noise)
    return crops.clamp_(0, 1)


def _light_up(crops: Tensor, plan: CropPlan) -> Tensor:
    device = crops.device
    height, width = crops.shape[-2:]
    y = torch.linspace(-1, 1, height, device=device)[None, :, None]
    x = torch.linspace(-1, 1, width, device=device)[None, None, :]
    shade = torch.from_numpy(plan.shade).to(device)[:, :, None, None]
    side = shade[:, 0] * x + shade[:, 1] * y + shade[:, 2]
    # An edge some pixels wide: the sun is no point.
    dark = torch.sigmoid(side * 40)
    crops = crops * (1 - dark * (1 - shade[:, 3]))[:, None]
    glare = torch.from_numpy(plan.glare).to(device)[:, :, None, None]
    distance = (x - glare[:, 0]) ** 2 + (y - glare[:, 1]) ** 2
    light = glare[:, 3] * torch.exp(-distance / glare[:, 2] ** 2)
    return crops + light[:, None] * (1 - crops)


def _blur(crops: Tensor, sigmas: npt.NDArray[np.float32]) -> Tensor:
    """Gaussian blur, each crop by its own deviation, as two grouped convolutions."""
    count, channels, height, width = crops.shape
    at = torch.arange(_BLUR_TAPS, device=crops.device) - _BLUR_TAPS // 2
    # Deviations near zero give a kernel of one tap: the crop itself.
    sigma = torch.from_numpy(sigmas).to(crops.device).clamp(min=1e-3)[:, None]
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = crops.reshape(1, count * channels, height, width)
    half = _BLUR_TAPS // 2
    flat = F.pad(flat, (half, half, half, half), mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=count * channels)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=count * channels)
    return flat.reshape(count, channels, height, width)


def _sometimes(
    share: float, low: float, high: float, count: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    chosen = rng.random(count) < share
    return np.where(chosen, rng.uniform(low, high, count), 0).astype(np.float32)


def _light(settings: Augmentation, rng: np.random.Generator) -> tuple[list[float], list[float]]:
    """A shadow and a glare; see `CropPlan`."""
    shade, glare = [1.0, 0.0, -3.0, 1.0], [0.0, 0.0, 1.0, 0.0]
    if rng.random() < settings.shadow_share:
        angle = rng.uniform(0, 2 * math.pi)
        shade = [math.cos(angle), math.sin(angle), rng.uniform(-0.7, 0.7), rng.uniform(0.35, 0.75)]
    if rng.random() < settings.glare_share:
        glare = [rng.uniform(-1, 1), rng.uniform(-1, 0), rng.uniform(0.2, 0.7), rng.uniform(0.3, 1)]
    return shade, glare
