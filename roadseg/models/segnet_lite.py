"""segnet-lite: SegNet's idea inside the budget of two CPU cores.

Pool indices are remembered and unpooled as in SegNet; what differs is where the work is done.
A stride-2 stem leaves one convolution each way at half resolution, where layers are bound by
memory, and residual stages at 1/8 and 1/16 do most of the arithmetic, which INT8 makes cheap.
As in the paper's EncoderAddition variant (table 1), the encoder's map is added to the unpooled
one. All convolutions are plain ones: depthwise convolutions gain nothing from INT8 on a CPU.
"""

from __future__ import annotations

from torch import Tensor, nn

from roadseg.core.labels import NUM_CLASSES
from roadseg.models.blocks import ContextBlock, ResidualBlock, conv_bn_relu, initialise
from roadseg.models.pooling import IndexUnpool, MaxPoolIndices


def residual_stage(c_in: int, c_out: int, dilations: tuple[int, ...]) -> nn.Sequential:
    """Residual blocks in a row, one for each dilation; the first changes the channels."""
    channels = (c_in,) + (c_out,) * len(dilations)
    return nn.Sequential(
        *(ResidualBlock(channels[i], c_out, dilation) for i, dilation in enumerate(dilations))
    )


class SegNetLite(nn.Module):
    """Our real-time SegNet: 4.8 M parameters, 13.6 GFLOP at 352x480.

    Args:
        num_classes: channels of the class scores.
    """

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        super().__init__()
        self.stem = conv_bn_relu(3, 32, stride=2)  # 1/2
        self.stage4 = residual_stage(32, 64, (1,))  # 1/4
        self.stage8 = residual_stage(64, 128, (1, 1, 1))  # 1/8
        self.stage16 = residual_stage(128, 256, (1, 2, 4))  # 1/16
        self.context = ContextBlock(256, 128)
        self.decoder8 = nn.Sequential(conv_bn_relu(128, 128), conv_bn_relu(128, 64))
        self.decoder4 = nn.Sequential(conv_bn_relu(64, 64), conv_bn_relu(64, 32))
        self.decoder2 = conv_bn_relu(32, 32)
        # Each half-resolution position writes its own 2x2 pixels: full resolution without a
        # full-resolution convolution.
        self.classifier = nn.ConvTranspose2d(32, num_classes, 2, stride=2)
        self.auxiliary = nn.Conv2d(64, num_classes, 1)
        self.pool = MaxPoolIndices()
        self.unpool = IndexUnpool()
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of a frame.

        Args:
            x: (N, 3, H, W) float, BGR in 0..1; any H and W.

        Returns:
            (N, num_classes, H, W) scores before softmax.
        """
        return self._decode(x)[0]

    def forward_with_auxiliary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores as `forward` gives them, and (N, num_classes, H/8, W/8) scores for training.

        The second head reads the first decoder; it gives the deep stages a shorter path to the
        loss (Zhao et al. 2017, section 3.3) and does not exist in exported networks.
        """
        scores, eighth = self._decode(x)
        return scores, self.auxiliary(eighth)

    def _decode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        height, width = x.shape[-2:]
        half = self.stem(x)
        pooled, place2 = self.pool(half)
        quarter = self.stage4(pooled)
        pooled, place4 = self.pool(quarter)
        eighth = self.stage8(pooled)
        pooled, place8 = self.pool(eighth)
        y = self.context(self.stage16(pooled))
        decoded8 = self.decoder8(self.unpool(y, place8, eighth) + eighth)
        y = self.decoder4(self.unpool(decoded8, place4, quarter) + quarter)
        y = self.decoder2(self.unpool(y, place2, half) + half)
        # An odd side has one row or column more than the frame; it is cut off.
        return self.classifier(y)[..., :height, :width], decoded8
