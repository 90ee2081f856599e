"""segnet-edge: SegNet on an encoder that knows ImageNet, as the paper's own does.

The paper starts from VGG16's ImageNet weights; so a network knows more of streets than the few
that it learns from show. VGG16 is far too slow for two CPU cores. EfficientNet-Lite2 names
pictures better with a twentieth of the arithmetic, but it has strided convolutions where VGG16 has
pools: there is nothing whose indices a decoder could take. So each map that the encoder hands on
is brought to the decoder's channels first, and pooled there for its indices alone. The decoder
unpools with them and adds the map, as in the paper's EncoderAddition (table 1). With zeros in three
places of four, rare classes came late: so what is unpooled is also repeated over its window, and
lies there twice where the maximum was.
"""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from roadseg.core.labels import NUM_CLASSES
from roadseg.models.blocks import ContextBlock, conv_bn_relu, initialise
from roadseg.models.efficientnet import EfficientNetLite2
from roadseg.models.pooling import IndexUnpool, MaxPoolIndices
from roadseg.models.segnet_lite import SegNetLite


class SegNetEdge(SegNetLite):
    """SegNet on EfficientNet-Lite2: 5.0 M parameters, 5.7 GFLOP at 352x480.

    Its two heads are segnet-lite's.

    Args:
        num_classes: channels of the class scores.
    """

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        nn.Module.__init__(self)
        self.encoder = EfficientNetLite2()
        half, quarter, eighth, sixteenth, deepest = self.encoder.channels
        self.context = ContextBlock(deepest, 128)
        self.lateral16 = conv_bn_relu(sixteenth, 128, kernel=1)
        self.lateral8 = conv_bn_relu(eighth, 96, kernel=1)
        self.lateral4 = conv_bn_relu(quarter, 64, kernel=1)
        self.lateral2 = conv_bn_relu(half, 32, kernel=1)
        self.decoder16 = conv_bn_relu(128, 96)
        self.decoder8 = conv_bn_relu(96, 64)
        self.decoder4 = conv_bn_relu(64, 32)
        self.decoder2 = conv_bn_relu(32, 32)
        # Each half-resolution position writes its own 2x2 pixels, as segnet-lite's does.
        self.classifier = nn.ConvTranspose2d(32, num_classes, 2, stride=2)
        self.auxiliary = nn.Conv2d(64, num_classes, 1)
        self.pool = MaxPoolIndices()
        self.unpool = IndexUnpool()
        initialise(self)
        # At every level the decoder's map is to count as much as the encoder's.
        for lateral in (self.lateral16, self.lateral8, self.lateral4, self.lateral2):
            for layer in lateral.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    nn.init.constant_(layer.weight, 0.5)
        # Scores start small: random ones in hundreds would first have to be unlearnt.
        for head in (self.classifier, self.auxiliary):
            nn.init.normal_(head.weight, std=0.02)

    def load_encoder(self, path: Path) -> None:
        """Start from EfficientNet-Lite2's ImageNet weights; see `EfficientNetLite2.load`."""
        self.encoder.load(path)

    def _decode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        height, width = x.shape[-2:]
        half, quarter, eighth, sixteenth, deepest = self.encoder(x)
        y = self.context(deepest)
        y = self.decoder16(self._joined(y, self.lateral16(sixteenth)))
        decoded8 = self.decoder8(self._joined(y, self.lateral8(eighth)))
        y = self.decoder4(self._joined(decoded8, self.lateral4(quarter)))
        y = self.decoder2(self._joined(y, self.lateral2(half)))
        # An odd side has one row or column more than the frame; it is cut off.
        return self.classifier(y)[..., :height, :width], decoded8

    def _joined(self, y: Tensor, encoded: Tensor) -> Tensor:
        """The encoder's map, and the decoder's: everywhere, and once more at the maxima."""
        _, places = self.pool(encoded)
        everywhere = F.interpolate(y, size=encoded.shape[-2:], mode="nearest")
        joined: Tensor = self.unpool(y, places, encoded) + everywhere + encoded
        return joined
