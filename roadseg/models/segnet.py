"""SegNet: the VGG16 encoder-decoder (PAMI 2017, section 3, figure 2)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from roadseg.core.labels import NUM_CLASSES
from roadseg.models.blocks import initialise
from roadseg.models.pooling import SymmetricEncoderDecoder
from roadseg.models.vgg import VGG16_GROUPS, WithVGG16Encoder, vgg_group

_DECODER = (
    (512, 512, 512, 512),
    (512, 512, 512, 256),
    (256, 256, 256, 128),
    (128, 128, 64),
    (64, 64),
)


class SegNet(WithVGG16Encoder, SymmetricEncoderDecoder):
    """SegNet with 13 encoder and 13 decoder convolutions, 29.4 M parameters.

    Args:
        num_classes: channels of the class scores.
        dropout: probability after the three deepest encoder and decoder groups; the paper's
            large-scale comparison (table 3) used 0.5, its other experiments none.

    Attributes:
        takes_dropout: recipes choose its dropout; see `build_model`.
    """

    takes_dropout: ClassVar[bool] = True

    def __init__(self, num_classes: int = NUM_CLASSES, dropout: float = 0.0) -> None:
        deep = (0.0, 0.0, dropout, dropout, dropout)
        super().__init__(
            encoder=(vgg_group(c, p) for c, p in zip(VGG16_GROUPS, deep, strict=True)),
            decoder=(vgg_group(c, p) for c, p in zip(_DECODER, reversed(deep), strict=True)),
        )
        self.classifier = nn.Conv2d(64, num_classes, 3, padding=1)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of a frame.

        Args:
            x: (N, 3, H, W) float, BGR in 0..1; any H and W.

        Returns:
            (N, num_classes, H, W) scores before softmax.
        """
        scores: Tensor = self.classifier(self.features(x))
        return scores
