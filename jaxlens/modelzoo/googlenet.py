"""GoogLeNet (Szegedy et al. 2014, arXiv:1409.4842) as torchvision has it, with its layer names.

It differs from the paper, and from Google's network of the Distill articles (`inceptionv1.py`):
convolutions have batch norm and no bias, there is no local response normalization, and the branches
of 5x5 convolutions are 3x3. As in torchvision, the ReLU after a batch norm has no name.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxlens import _kernels
from jaxlens.modelzoo._blocks import IMAGENET_TO_HALVES, BasicConv
from jaxlens.modelzoo._layers import AdaptiveAvgPool, Dropout, Linear, MaxPool, Sequential, flatten

# Channels of each block: branch 1; bottleneck and convolution of branch 2; of branch 3; branch 4.
BLOCKS = {
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}
POOL_AFTER = {"inception3b": "maxpool3", "inception4e": "maxpool4"}
AUX_AFTER = {"inception4a": "aux1", "inception4d": "aux2"}


class Inception(nnx.Module):
    """Four branches side by side: 1x1; bottleneck and 3x3, twice; pool and 1x1."""

    def __init__(self, cin: int, c1: int, b2: int, c2: int, b3: int, c3: int, c4: int):
        self.branch1 = BasicConv(cin, c1, 1)
        self.branch2 = Sequential(BasicConv(cin, b2, 1), BasicConv(b2, c2, 3))
        self.branch3 = Sequential(BasicConv(cin, b3, 1), BasicConv(b3, c3, 3))
        self.branch4 = Sequential(MaxPool(3, 1, 1, ceil_mode=True), BasicConv(cin, c4, 1))

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.concatenate([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], axis=-1)


class InceptionAux(nnx.Module):
    """A classifier halfway through the network, which helped in training."""

    def __init__(self, cin: int, num_classes: int):
        self.conv = BasicConv(cin, 128, 1)
        self.fc1, self.dropout, self.fc2 = Linear(128 * 4 * 4, 1024), Dropout(), Linear(1024, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = flatten(self.conv(_kernels.adaptive_avg_pool(x, (4, 4))))
        return self.fc2(self.dropout(jax.nn.relu(self.fc1(x))))


class GoogLeNet(nnx.Module):
    """GoogLeNet.

    Args:
        num_classes: the number of outputs.
        aux_logits: whether to have the auxiliary classifiers `aux1` and `aux2`. They are layers to
            look at; nothing uses them.
        transform_input: whether images have ImageNet's normalization, as torchvision's do; else
            they are in [-1, 1].
    """

    unused_tensors = r"^aux[12]\."

    def __init__(self, *, num_classes: int = 1000, aux_logits: bool = False, transform_input: bool = True):
        self.transform_input = transform_input
        self.conv1, self.maxpool1 = BasicConv(3, 64, 7, 2), MaxPool(3, 2, ceil_mode=True)
        self.conv2, self.conv3 = BasicConv(64, 64, 1), BasicConv(64, 192, 3)
        self.maxpool2, self.maxpool3 = MaxPool(3, 2, ceil_mode=True), MaxPool(3, 2, ceil_mode=True)
        self.maxpool4 = MaxPool(2, 2, ceil_mode=True)
        cin = 192
        for name, (c1, b2, c2, b3, c3, c4) in BLOCKS.items():
            setattr(self, name, Inception(cin, c1, b2, c2, b3, c3, c4))
            cin = c1 + c2 + c3 + c4
            if aux_logits and name in AUX_AFTER:
                setattr(self, AUX_AFTER[name], InceptionAux(cin, num_classes))
        self.aux_logits = aux_logits
        self.avgpool, self.dropout, self.fc = AdaptiveAvgPool(1, 1), Dropout(), Linear(cin, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.transform_input:
            x = IMAGENET_TO_HALVES(x)
        x = self.conv3(self.conv2(self.maxpool1(self.conv1(x))))
        x = self.maxpool2(x)
        for name in BLOCKS:
            x = getattr(self, name)(x)
            if self.aux_logits and name in AUX_AFTER:
                getattr(self, AUX_AFTER[name])(x)  # a layer to look at; nothing uses it
            if name in POOL_AFTER:
                x = getattr(self, POOL_AFTER[name])(x)
        return self.fc(self.dropout(flatten(self.avgpool(x))))


NETWORKS = {"googlenet": GoogLeNet}
