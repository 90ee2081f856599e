"""segnet-nano: segnet-lite once more, for processors that are twice as slow.

Channels and blocks were chosen by timing candidates in INT8 with AVX2 and with AVX-512 VNNI
(docs/speed.md): layers at half resolution are bound by memory, so 16 channels there; stages
at 1/8 and 1/16 keep most of the arithmetic, in multiples of 16 channels.
"""

from __future__ import annotations

from torch import nn

from roadseg.core.labels import NUM_CLASSES
from roadseg.models.blocks import ContextBlock, conv_bn_relu, initialise
from roadseg.models.pooling import IndexUnpool, MaxPoolIndices
from roadseg.models.segnet_lite import SegNetLite, residual_stage


class SegNetNano(SegNetLite):
    """A third of segnet-lite's arithmetic: 1.9 M parameters, 4.6 GFLOP at 352x480.

    Args:
        num_classes: channels of the class scores.
    """

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        nn.Module.__init__(self)
        self.stem = conv_bn_relu(3, 16, stride=2)  # 1/2
        self.stage4 = conv_bn_relu(16, 64)  # 1/4
        self.stage8 = residual_stage(64, 96, (1, 1))  # 1/8
        self.stage16 = residual_stage(96, 160, (1, 2, 4))  # 1/16
        self.context = ContextBlock(160, 96)
        self.decoder8 = conv_bn_relu(96, 64)
        self.decoder4 = conv_bn_relu(64, 16)
        self.decoder2 = conv_bn_relu(16, 16)
        self.classifier = nn.ConvTranspose2d(16, num_classes, 2, stride=2)
        self.auxiliary = nn.Conv2d(64, num_classes, 1)
        self.pool = MaxPoolIndices()
        self.unpool = IndexUnpool()
        initialise(self)
