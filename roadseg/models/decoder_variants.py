"""The networks of the paper's table 1: SegNet-Basic's encoder under eight decoders.

Section 3.1: all share SegNet-Basic's encoder and differ in how features find their way back to
full resolution.

The paper gives parameter counts in steps of 25 thousand, a tenth of a megabyte of FP32 weights.
All agree with ours but those of the two networks without dimension reduction: 1.625 M there,
1.662 M here. The text says that decoders have 8x8 kernels and, without the reduction, 64
channels: four such deconvolutions are 1.049 M beside the encoder's 0.612 M. Five 7x7
convolutions of 64 channels would give 1.625 M, but no sentence of the paper describes them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadseg.core.labels import NUM_CLASSES
from roadseg.models.blocks import conv_bn_relu, initialise
from roadseg.models.segnet_basic import SegNetBasic

_WIDTH = 64
_LEVELS = 4


class SegNetBasicEncoderAddition(SegNetBasic):
    """SegNet-Basic that adds each encoder's map to the decoder of the same resolution.

    The unpooled map is made dense by the decoder's convolution and then added to.
    """

    def features(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to the last decoder's (N, 64, H, W)."""
        places = []
        for stage in self.encoder:
            full = stage(x)
            x, indices = self.pool(full)
            places.append((indices, full))
        for stage in self.decoder:
            indices, full = places.pop()
            x = stage(self.unpool(x, indices, full)) + full
        return x


class SegNetBasicSingleChannelDecoder(SegNetBasic):
    """SegNet-Basic whose decoder filters see one channel each: depthwise 7x7 convolutions."""

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        super().__init__(num_classes)
        self.decoder = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(_WIDTH, _WIDTH, 7, padding=3, groups=_WIDTH, bias=False),
                nn.BatchNorm2d(_WIDTH),
            )
            for _ in range(_LEVELS)
        )
        initialise(self.decoder)


class FCNBasic(nn.Module):
    """SegNet-Basic's encoder under the decoder of FCN: learnt upsampling and skips.

    Each decoder is an 8x8 deconvolution of stride 2, which starts as bilinear interpolation, to
    which the encoder's pooled map of that resolution is added (figure 3), reduced to the
    decoder's channels by a 1x1 convolution. The last decoder has none to add: no pooled map has
    the resolution of the frame.

    Args:
        num_classes: channels of the class scores.
        addition: add the encoders' maps.
        reduction: reduce the deepest map to one channel for each class, so that decoders work on
            class scores; without, they have 64 channels and a classifier follows the last.
    """

    def __init__(
        self, num_classes: int = NUM_CLASSES, *, addition: bool = True, reduction: bool = True
    ) -> None:
        super().__init__()
        self.normalise = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.encoder = _basic_encoder()
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        width = num_classes if reduction else _WIDTH
        self.reduce: nn.Module = nn.Conv2d(_WIDTH, width, 1) if reduction else nn.Identity()
        # Batch normalisation follows every convolution, in the decoder, too (section 3.1).
        self.upsample = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(width, width, 8, stride=2, padding=3, bias=False),
                nn.BatchNorm2d(width),
            )
            for _ in range(_LEVELS)
        )
        self.skip = nn.ModuleList(
            (nn.Conv2d(_WIDTH, width, 1) if reduction else nn.Identity())
            for _ in range(_LEVELS - 1 if addition else 0)
        )
        self.classifier: nn.Module = (
            nn.Identity() if reduction else nn.Conv2d(_WIDTH, num_classes, 1)
        )
        initialise(self)
        for layer in self.modules():
            if isinstance(layer, nn.ConvTranspose2d):
                bilinear_upsampling(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of a frame.

        Args:
            x: (N, 3, H, W) float, BGR in 0..1; any H and W.

        Returns:
            (N, num_classes, H, W) scores before softmax.
        """
        x = self.normalise(x * 255.0)
        sizes, additions = [], []
        for level, stage in enumerate(self.encoder):
            x = stage(x)
            sizes.append(x.shape[-2:])
            x = self.pool(x)
            if level < len(self.skip):
                additions.append(self.skip[level](x))
        x = self.reduce(x)
        for upsample in self.upsample:
            height, width = sizes.pop()
            # Where ceil mode pooled an odd side, a row or column too many comes back.
            x = upsample(x)[..., :height, :width]
            if additions:
                x = x + additions.pop()
        scores: Tensor = self.classifier(x)
        return scores


class BilinearInterpolation(nn.Module):
    """SegNet-Basic's encoder and a classifier, enlarged by fixed bilinear interpolation."""

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        super().__init__()
        self.normalise = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.encoder = _basic_encoder()
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.classifier = nn.Conv2d(_WIDTH, num_classes, 1)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of a frame; see `FCNBasic.forward`."""
        size = x.shape[-2:]
        y = self.normalise(x * 255.0)
        for stage in self.encoder:
            y = self.pool(stage(y))
        return F.interpolate(self.classifier(y), size, mode="bilinear", align_corners=False)


def _basic_encoder() -> nn.ModuleList:
    return nn.ModuleList(conv_bn_relu(c, _WIDTH, kernel=7) for c in (3, *[_WIDTH] * 3))


@torch.no_grad()
def bilinear_upsampling(layer: nn.ConvTranspose2d) -> None:
    """Make a deconvolution interpolate bilinearly, each channel by itself, in place.

    Kernels twice as large as the stride interpolate exactly; larger ones blur (Long et al. 2015,
    section 4.3, start their deconvolutions so).
    """
    size = layer.kernel_size[0]
    stride = layer.stride[0]
    at = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    tent = (1 - at.abs() / stride).clamp(min=0)
    tent = tent / tent.sum() * stride
    layer.weight.zero_()
    for channel in range(layer.in_channels):
        layer.weight[channel, channel if layer.groups == 1 else 0] = torch.outer(tent, tent)
