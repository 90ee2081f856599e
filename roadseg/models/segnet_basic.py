"""SegNet-Basic: the paper's four-level network for controlled comparisons (section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn

from roadseg.core.labels import NUM_CLASSES
from roadseg.models.blocks import conv_bn, conv_bn_relu, initialise
from roadseg.models.pooling import SymmetricEncoderDecoder


class SegNetBasic(SymmetricEncoderDecoder):
    """Four encoders and four decoders of 64 channels with 7x7 kernels, 1.425 M parameters.

    The input passes a local response normalisation; the decoders have batch normalisation and
    no ReLU; a 1x1 convolution classifies.
    """

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        super().__init__(
            encoder=(conv_bn_relu(c, 64, kernel=7) for c in (3, 64, 64, 64)),
            decoder=(conv_bn(64, 64, kernel=7) for _ in range(4)),
        )
        # The scores of a pixel depend on 0..255 intensities in the authors' Caffe layer; on 0..1
        # the same alpha would do nothing, hence the factor in `forward`.
        self.normalise = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.classifier = nn.Conv2d(64, num_classes, 1)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of a frame.

        Args:
            x: (N, 3, H, W) float, BGR in 0..1; any H and W.

        Returns:
            (N, num_classes, H, W) scores before softmax.
        """
        scores: Tensor = self.classifier(self.features(self.normalise(x * 255.0)))
        return scores
