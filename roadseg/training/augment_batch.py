"""Training crops as tensor operations on whole batches: for GPUs, where frames already are.

The same distributions as `augment`, drawn on the host (a few numbers a crop) and applied on the
device. What is drawn follows from the generator alone, so that a resumed run continues exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from roadseg.core.labels import VOID_ID
from roadseg.training.augment import (
    MOTION_TAPS,
    colour_of,
    draw_glare,
    draw_grain,
    draw_haze,
    draw_motion,
    draw_rain,
    draw_shadow,
    inverse_affine,
)
from roadseg.training.recipes import Augmentation

_BLUR_TAPS = 9

Quad = tuple[float, float, float, float]
_NO_SHADE: Quad = (1.0, 0.0, -3.0, 1.0)
_NO_GLARE: Quad = (0.0, 0.0, 1.0, 0.0)
_NO_HAZE = (1.0, 1.0, 0.0)


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
        grain: (N, 2) how soft the noise is, in pixels, and how far its colours go together.
        shade: (N, 4) a shadow's edge and depth: a x + b y + c > 0, in crop coordinates of -1..1,
            is darkened to the fourth, 1 for none.
        glare: (N, 4) a light's centre x, y in -1..1, its radius, and its strength, 0 for none.
        haze: (N, 3) how much shows through a veil at the top and at the bottom, and its grey;
            1, 1 for none.
        motion: (N, 15, 15) kernels that smear a crop; a 1 in the middle leaves it as it is.
        rain: (N, 2) how much a rainy scene pales, and towards which grey.
        streaks: (K, h, w) uint8, how much of each pixel of K rainy crops streaks hide.
        rainy: (K,) which crops those are.
        noise_seed: seeds the noise itself.
    """

    frames: npt.NDArray[np.int64]
    affine: npt.NDArray[np.float32]
    colour: npt.NDArray[np.float32]
    gamma: npt.NDArray[np.float32]
    blur: npt.NDArray[np.float32]
    noise: npt.NDArray[np.float32]
    grain: npt.NDArray[np.float32]
    shade: npt.NDArray[np.float32]
    glare: npt.NDArray[np.float32]
    haze: npt.NDArray[np.float32]
    motion: npt.NDArray[np.float32]
    rain: npt.NDArray[np.float32]
    streaks: npt.NDArray[np.uint8]
    rainy: npt.NDArray[np.int64]
    noise_seed: int

    def on_device(self, device: torch.device) -> dict[str, Tensor]:
        """What each crop has as float tensors, sent to the device in one piece."""
        arrays = {
            name: value.reshape(len(self.frames), -1)
            for name, value in vars(self).items()
            if name not in ("frames", "streaks", "rainy", "noise_seed")
        }
        together = on_its_way(np.concatenate(list(arrays.values()), axis=1), device)
        parts = torch.split(together, [a.shape[1] for a in arrays.values()], dim=1)
        return {
            name: part.reshape(getattr(self, name).shape)
            for name, part in zip(arrays, parts, strict=True)
        }


def on_its_way(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on a device, where what uses it waits for it; the host does not."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


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
    weather = [_weather(settings, rng) for _ in range(count)]
    rainy = np.flatnonzero(rng.random(count) < settings.rain_share)
    rain, streaks = np.zeros((count, 2), np.float32), np.zeros((len(rainy), *crop_hw), np.uint8)
    for at, crop in enumerate(rainy):
        streaks[at], rain[crop] = draw_rain(crop_hw, rng)
    return CropPlan(
        frames=frames,
        affine=np.stack(
            [inverse_affine(centre, frame_hw, crop_hw, settings, rng) for centre in centres]
        ).astype(np.float32),
        colour=np.stack([matrix for matrix, _ in colours]).astype(np.float32),
        gamma=np.array([gamma for _, gamma in colours], np.float32),
        blur=_sometimes(settings.blur_share, *settings.blur_sigma, count, rng),
        noise=_sometimes(settings.noise_share, *settings.noise_sigma, count, rng) / np.float32(255),
        grain=np.array([draw_grain(rng) for _ in range(count)], np.float32),
        shade=np.array([shade for shade, _ in light], np.float32),
        glare=np.array([glare for _, glare in light], np.float32),
        haze=np.array([haze for haze, _ in weather], np.float32),
        motion=np.stack([kernel for _, kernel in weather]),
        rain=rain,
        streaks=streaks,
        rainy=rainy,
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
    frames, drawn = on_its_way(plan.frames, device), plan.on_device(device)
    grid = _grid(drawn["affine"], images.shape[1:3], crop_hw)
    pixels = images[frames].permute(0, 3, 1, 2).float()
    crops = F.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    # Outside the frame nearest sampling gives 0: shifted, that is void.
    shifted = labels[frames][:, None].float() - void_id
    ids = F.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    targets = (ids[:, 0] + void_id).round_().long()
    crops = _recolour(crops.div_(255), plan, drawn)
    return crops.contiguous(memory_format=torch.channels_last), targets


def _grid(
    affine: Tensor, frame_hw: torch.Size | tuple[int, int], crop_hw: tuple[int, int]
) -> Tensor:
    """(N, h, w, 2) sampling places in -1..1, from (N, 2, 3) matrices in pixels."""
    y = torch.arange(crop_hw[0], device=affine.device, dtype=torch.float32)[:, None]
    x = torch.arange(crop_hw[1], device=affine.device, dtype=torch.float32)
    # Not a matrix product: in TensorFloat-32 places would be wrong by a quarter of a pixel.
    rows = affine[:, :, :, None, None]
    at = rows[:, :, 0] * x + rows[:, :, 1] * y + rows[:, :, 2]
    # Without aligned corners -1 is the outer edge of the first pixel, whose centre is at 0 here.
    sides = (at[:, i] * (2 / side) + (1 / side - 1) for i, side in enumerate(reversed(frame_hw)))
    return torch.stack(tuple(sides), dim=-1)


def _recolour(crops: Tensor, plan: CropPlan, drawn: dict[str, Tensor]) -> Tensor:
    matrix = drawn["colour"]
    flat = torch.baddbmm(matrix[:, :, 3:], matrix[:, :, :3], crops.flatten(2))
    crops = flat.view_as(crops).clamp_(0, 1)
    crops = crops.pow(drawn["gamma"][:, None, None, None])
    # What is left out is seen in the host's arrays: looking at the device's would be to wait.
    if (plan.shade[:, 3] < 1).any() or (plan.glare[:, 3] > 0).any():
        crops = _light_up(crops, drawn["shade"], drawn["glare"])
    if (plan.haze[:, :2] < 1).any():
        crops = _haze(crops, drawn["haze"])
    if len(plan.rainy):
        crops = _rain(crops, plan, drawn["rain"])
    if (plan.motion[:, MOTION_TAPS // 2, MOTION_TAPS // 2] < 1).any():
        crops = _smear(crops, drawn["motion"])
    if plan.blur.any():
        crops = _blur(crops, drawn["blur"])
    if plan.noise.any():
        generator = torch.Generator(crops.device).manual_seed(plan.noise_seed)
        grain = _grain(crops.shape, generator, drawn["grain"])
        crops = crops + grain * drawn["noise"][:, None, None, None]
    return crops.clamp_(0, 1)


def _light_up(crops: Tensor, shade: Tensor, glare: Tensor) -> Tensor:
    height, width = crops.shape[-2:]
    y = torch.linspace(-1, 1, height, device=crops.device)[None, :, None]
    x = torch.linspace(-1, 1, width, device=crops.device)[None, None, :]
    shade, glare = shade[:, :, None, None], glare[:, :, None, None]
    side = shade[:, 0] * x + shade[:, 1] * y + shade[:, 2]
    # An edge some pixels wide: the sun is no point.
    dark = torch.sigmoid(side * 40)
    crops = crops * (1 - dark * (1 - shade[:, 3]))[:, None]
    distance = (x - glare[:, 0]) ** 2 + (y - glare[:, 1]) ** 2
    light = glare[:, 3] * torch.exp(-distance / glare[:, 2] ** 2)
    return crops + light[:, None] * (1 - crops)


def _haze(crops: Tensor, haze: Tensor) -> Tensor:
    down = torch.linspace(0, 1, crops.shape[-2], device=crops.device)
    clear = (haze[:, :1] + (haze[:, 1:2] - haze[:, :1]) * down)[:, None, :, None]
    return crops * clear + haze[:, 2, None, None, None] * (1 - clear)


def _rain(crops: Tensor, plan: CropPlan, rain: Tensor) -> Tensor:
    rainy = on_its_way(plan.rainy, crops.device)
    hidden = on_its_way(plan.streaks, crops.device)[:, None].float() / 255
    pale, grey = rain[rainy].T[:, :, None, None, None]
    clear = (1 - hidden) * (1 - pale)
    return crops.index_copy(0, rainy, crops[rainy] * clear + grey * (1 - clear))


def _grain(shape: torch.Size, generator: torch.Generator, grain: Tensor) -> Tensor:
    """Noise of deviation 1, each crop's as soft and as grey as its own two numbers say."""
    noise = torch.randn(shape, generator=generator, device=generator.device)
    noise = _blur(noise + grain[:, 1, None, None, None] * noise[:, :1], grain[:, 0])
    return noise / noise.std(dim=(1, 2, 3), keepdim=True)


def _smear(crops: Tensor, kernels: Tensor) -> Tensor:
    """Each crop convolved with its own kernel, as one grouped convolution."""
    count, channels, height, width = crops.shape
    half = MOTION_TAPS // 2
    flat = F.pad(crops.reshape(1, count * channels, height, width), (half,) * 4, mode="reflect")
    weight = kernels.repeat_interleave(channels, 0)[:, None]
    return F.conv2d(flat, weight, groups=count * channels).view_as(crops)


def _blur(crops: Tensor, sigmas: Tensor) -> Tensor:
    """Gaussian blur, each crop by its own deviation, as two grouped convolutions."""
    count, channels, height, width = crops.shape
    at = torch.arange(_BLUR_TAPS, device=crops.device) - _BLUR_TAPS // 2
    # Deviations near zero give a kernel of one tap: the crop itself.
    sigma = sigmas.clamp(min=1e-3)[:, None]
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


def _weather(
    settings: Augmentation, rng: np.random.Generator
) -> tuple[tuple[float, float, float], npt.NDArray[np.float32]]:
    """A veil and a smear; see `CropPlan`."""
    haze, motion = _NO_HAZE, np.zeros((MOTION_TAPS, MOTION_TAPS), np.float32)
    motion[MOTION_TAPS // 2, MOTION_TAPS // 2] = 1
    if settings.haze_share > 0 and rng.random() < settings.haze_share:
        haze = draw_haze(rng)
    if settings.motion_share > 0 and rng.random() < settings.motion_share:
        motion = draw_motion(rng)
    return haze, motion


def _light(settings: Augmentation, rng: np.random.Generator) -> tuple[Quad, Quad]:
    """A shadow and a glare; see `CropPlan`."""
    shade, glare = _NO_SHADE, _NO_GLARE
    if rng.random() < settings.shadow_share:
        shade = draw_shadow(rng)
    if rng.random() < settings.glare_share:
        glare = draw_glare(rng)
    return shade, glare
