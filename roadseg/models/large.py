"""The large networks of the paper's tables 3 and 6, and U-Net, which its section 2 discusses.

All have batch normalisation behind each 3x3 convolution, with which they train from scratch; the
published FCN and DeepLab start from ImageNet weights instead and have none.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadseg.core.labels import NUM_CLASSES
from roadseg.models.blocks import initialise
from roadseg.models.decoder_variants import bilinear_upsampling
from roadseg.models.pooling import IndexUnpool, MaxPoolIndices
from roadseg.models.vgg import VGG16_GROUPS, WithVGG16Encoder, vgg_group


class FCN8s(WithVGG16Encoder, nn.Module):
    """FCN-8s on VGG16 (Long, Shelhamer, Darrell 2015), 134 M parameters.

    Differs from the authors' Caffe network in the padding: theirs puts 100 pixels around the
    frame and crops the scores, here the convolution that was VGG16's first dense layer is padded.

    Args:
        num_classes: channels of the class scores.
        learnt_upsampling: train the deconvolutions; without, they interpolate bilinearly.
        dropout: probability behind the two 4096-channel layers.
    """

    def __init__(
        self,
        num_classes: int = NUM_CLASSES,
        *,
        learnt_upsampling: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(vgg_group(c) for c in VGG16_GROUPS)
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.dense = nn.Sequential(
            nn.Conv2d(512, 4096, 7, padding=3),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
            nn.Conv2d(4096, 4096, 1),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )
        self.score32 = nn.Conv2d(4096, num_classes, 1)
        self.score16 = nn.Conv2d(512, num_classes, 1)
        self.score8 = nn.Conv2d(256, num_classes, 1)
        self.upsample32 = nn.ConvTranspose2d(num_classes, num_classes, 4, 2, 1, bias=False)
        self.upsample16 = nn.ConvTranspose2d(num_classes, num_classes, 4, 2, 1, bias=False)
        self.upsample8 = nn.ConvTranspose2d(num_classes, num_classes, 16, 8, 4, bias=False)
        initialise(self)
        for layer in (self.upsample32, self.upsample16, self.upsample8):
            bilinear_upsampling(layer)
            layer.weight.requires_grad_(learnt_upsampling)
        # Scores start at zero, as the authors' do: the skips join gently.
        for score in (self.score32, self.score16, self.score8):
            nn.init.zeros_(score.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of a frame.

        Args:
            x: (N, 3, H, W) float, BGR in 0..1; any H and W.

        Returns:
            (N, num_classes, H, W) scores before softmax.
        """
        height, width = x.shape[-2:]
        pooled = []
        for group in self.encoder:
            x = self.pool(group(x))
            pooled.append(x)
        y = self.score32(self.dense(x))
        for upsample, score, skip in (
            (self.upsample32, self.score16, pooled[3]),
            (self.upsample16, self.score8, pooled[2]),
        ):
            h, w = skip.shape[-2:]
            y = upsample(y)[..., :h, :w] + score(skip)
        scores: Tensor = self.upsample8(y)[..., :height, :width]
        return scores


class DeepLabLargeFOV(WithVGG16Encoder, nn.Module):
    """DeepLab-LargeFOV without its CRF (Chen et al. 2015), 20.5 M parameters.

    VGG16 whose last two pools keep the resolution of 1/8 and whose convolutions behind them are
    dilated; a 3x3 convolution of dilation 12 sees as far as the 7x7 of the dense layer.
    """

    def __init__(self, num_classes: int = NUM_CLASSES, dropout: float = 0.5) -> None:
        super().__init__()
        dilations = (1, 1, 1, 1, 2)
        self.encoder = nn.ModuleList(
            vgg_group(c, dilation=d) for c, d in zip(VGG16_GROUPS, dilations, strict=True)
        )
        self.pools = nn.ModuleList(
            [nn.MaxPool2d(3, 2, 1) for _ in range(3)] + [nn.MaxPool2d(3, 1, 1) for _ in range(2)]
        )
        self.average = nn.AvgPool2d(3, 1, 1)
        self.dense = nn.Sequential(
            nn.Conv2d(512, 1024, 3, padding=12, dilation=12),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
            nn.Conv2d(1024, 1024, 1),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )
        self.classifier = nn.Conv2d(1024, num_classes, 1)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of a frame; see `FCN8s.forward`."""
        size = x.shape[-2:]
        y = x
        for group, pool in zip(self.encoder, self.pools, strict=True):
            y = pool(group(y))
        y = self.classifier(self.dense(self.average(y)))
        return F.interpolate(y, size, mode="bilinear", align_corners=False)


class DeconvNet(WithVGG16Encoder, nn.Module):
    """DeconvNet (Noh, Hong, Han 2015), 252 M parameters: SegNet's rival with dense layers.

    Unpools with the pools' indices as SegNet does, into deconvolutions, between which two dense
    layers see 7x7 positions of 1/32 resolution; sides below 193 pixels leave fewer than those.
    """

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(vgg_group(c) for c in VGG16_GROUPS)
        self.dense = nn.Sequential(
            *_unit(nn.Conv2d(512, 4096, 7, bias=False)),
            *_unit(nn.Conv2d(4096, 4096, 1, bias=False)),
            *_unit(nn.ConvTranspose2d(4096, 512, 7, bias=False)),
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(
                *(
                    layer
                    for a, b in pairwise(channels)
                    for layer in _unit(nn.ConvTranspose2d(a, b, 3, padding=1, bias=False))
                )
            )
            for channels in (
                (512, 512, 512, 512),
                (512, 512, 512, 256),
                (256, 256, 256, 128),
                (128, 128, 64),
                (64, 64, 64),
            )
        )
        self.classifier = nn.Conv2d(64, num_classes, 1)
        self.pool = MaxPoolIndices()
        self.unpool = IndexUnpool()
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of a frame; see `FCN8s.forward`. Sides of at least 193 pixels."""
        places = []
        for group in self.encoder:
            full = group(x)
            x, indices = self.pool(full)
            places.append((indices, full))
        x = self.dense(x)
        for stage in self.decoder:
            indices, full = places.pop()
            x = stage(self.unpool(x, indices, full))
        scores: Tensor = self.classifier(x)
        return scores


class UNet(nn.Module):
    """U-Net (Ronneberger, Fischer, Brox 2015), 31 M parameters: encoder maps are concatenated.

    Convolutions are padded, so that scores have the size of the frame.
    """

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        super().__init__()
        widths = (64, 128, 256, 512, 1024)
        self.encoder = nn.ModuleList(
            vgg_group((a, b, b)) for a, b in zip((3, *widths), widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 2, stride=2)
            for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.decoder = nn.ModuleList(vgg_group((2 * a, a, a)) for a in widths[-2::-1])
        self.classifier = nn.Conv2d(64, num_classes, 1)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of a frame; see `FCN8s.forward`."""
        maps = []
        for group in list(self.encoder)[:-1]:
            full = group(x)
            maps.append(full)
            x = self.pool(full)
        x = list(self.encoder)[-1](x)
        for upsample, stage in zip(self.upsample, self.decoder, strict=True):
            full = maps.pop()
            height, width = full.shape[-2:]
            x = stage(torch.cat([full, upsample(x)[..., :height, :width]], dim=1))
        scores: Tensor = self.classifier(x)
        return scores


def _unit(layer: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, ...]:
    return (layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU(inplace=True))
