"""InceptionV1 as Lucid, Lucent and the Distill articles know it.

GoogLeNet: Szegedy et al. 2014, arXiv:1409.4842. This is Google's network of the "inception5h"
release. It differs from the paper's and from torchvision's `googlenet`: 508 channels in mixed4a,
1008 outputs (1000 classes in another order, see `labels/inceptionv1.txt`), images times 255 minus
117, TensorFlow's asymmetric SAME padding, and no auxiliary heads here.

The PyTorch ports disagree with TensorFlow, and with each other, in two points. Here both are
TensorFlow's:

- Local response normalization. TensorFlow's `lrn` is
  `x / (bias + alpha * sum(x[c-radius .. c+radius]**2))**beta`, and the nodes of the frozen graph
  hold radius 5, bias 2, alpha 1e-4, beta 0.5. PyTorch divides alpha by the window, so captum's
  (size 11, alpha 11e-4, k 2) is the same function; Lucent's (size 9, alpha 1e-4, k 1) is
  `LUCENT_LRN` here.
- Padding. SAME depends on the size of the map; the ports hard-code its values for even sizes. Ours
  is SAME for all sizes, and the average pool is over the whole map (7x7 at 224), so images of any
  size pass.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import nnx

from jaxlens.model import INCEPTION
from jaxlens.modelzoo._activations import ReLU, Softmax
from jaxlens.modelzoo._layers import AdaptiveAvgPool, Concat, Conv, Linear, LocalResponseNorm, MaxPool, flatten
from jaxlens.modelzoo._network import Network, Weights

# `(channels in, channels out, size, stride=1, padding="SAME") -> layer`
MakeConv = Callable[..., Any]

# Channels of each block: 1x1; 3x3 bottleneck, 3x3; 5x5 bottleneck, 5x5; pool_reduce.
MIXED = {
    "mixed3a": (64, 96, 128, 16, 32, 32),
    "mixed3b": (128, 128, 192, 32, 96, 64),
    "mixed4a": (192, 96, 204, 16, 48, 64),
    "mixed4b": (160, 112, 224, 24, 64, 64),
    "mixed4c": (128, 128, 256, 24, 64, 64),
    "mixed4d": (112, 144, 288, 32, 64, 64),
    "mixed4e": (256, 160, 320, 32, 128, 128),
    "mixed5a": (256, 160, 320, 48, 128, 128),
    "mixed5b": (384, 192, 384, 48, 128, 128),
}
POOL_BEFORE = {"mixed4a": "maxpool4", "mixed5a": "maxpool10"}

# Radius, bias, alpha and beta in the nodes of tensorflow_inception_graph.pb.
TENSORFLOW_LRN = (5, 2.0, 1e-4, 0.5)
# lucent/modelzoo/inceptionv1: size 9, k 1, and PyTorch divides alpha by the size.
LUCENT_LRN = (4, 1.0, 1e-4 / 9, 0.5)


class Inception(nnx.Module):
    """The base of InceptionV1 and its miniature: convolutions with ReLUs, mixed blocks, the head.

    A convolution is `<layer>_pre_relu_conv` and its ReLU `<layer>`. `mixed4a` concatenates the four
    branches, and `mixed4a_pre_relu` the branches before their ReLUs, as in Lucid. The network
    returns the logits, `softmax2_pre_activation_matmul`; `softmax2` are the probabilities.
    """

    def _conv(self, name: str, cin: int, cout: int, size: int, stride: int = 1, *, make: MakeConv = Conv) -> None:
        setattr(self, f"{name}_pre_relu_conv", make(cin, cout, size, stride, "SAME"))
        setattr(self, name, ReLU())

    def _body(
        self,
        cin: int,
        mixed: Mapping[str, tuple[int, ...]],
        pools: Mapping[str, str],
        num_classes: int,
        *,
        make: MakeConv = Conv,
    ) -> None:
        """Add the mixed blocks, the pools before some of them, and the head."""
        self.blocks = tuple((name, pools.get(name)) for name in mixed)
        for name, (c1, b3, c3, b5, c5, pool) in mixed.items():
            if name in pools:
                setattr(self, pools[name], MaxPool(3, 2, "SAME"))
            self._conv(f"{name}_1x1", cin, c1, 1, make=make)
            self._conv(f"{name}_3x3_bottleneck", cin, b3, 1, make=make)
            self._conv(f"{name}_3x3", b3, c3, 3, make=make)
            self._conv(f"{name}_5x5_bottleneck", cin, b5, 1, make=make)
            self._conv(f"{name}_5x5", b5, c5, 5, make=make)
            setattr(self, f"{name}_pool", MaxPool(3, 1, "SAME"))
            self._conv(f"{name}_pool_reduce", cin, pool, 1, make=make)
            setattr(self, f"{name}_pre_relu", Concat())
            setattr(self, name, Concat())
            cin = c1 + c3 + c5 + pool
        self.avgpool = AdaptiveAvgPool(1, 1)
        self.softmax2_pre_activation_matmul = Linear(cin, num_classes)
        self.softmax2 = Softmax()

    def _run(self, name: str, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return a convolution's output before and after its ReLU."""
        y = getattr(self, f"{name}_pre_relu_conv")(x)
        return y, getattr(self, name)(y)

    def _mixed(self, name: str, x: jax.Array) -> jax.Array:
        branches = [
            self._run(f"{name}_1x1", x),
            self._run(f"{name}_3x3", self._run(f"{name}_3x3_bottleneck", x)[1]),
            self._run(f"{name}_5x5", self._run(f"{name}_5x5_bottleneck", x)[1]),
            self._run(f"{name}_pool_reduce", getattr(self, f"{name}_pool")(x)),
        ]
        getattr(self, f"{name}_pre_relu")([before for before, _ in branches])  # a layer to look at; nothing uses it
        return getattr(self, name)([after for _, after in branches])

    def _run_body(self, x: jax.Array) -> jax.Array:
        for name, pool in self.blocks:
            if pool is not None:
                x = getattr(self, pool)(x)
            x = self._mixed(name, x)
        logits = self.softmax2_pre_activation_matmul(flatten(self.avgpool(x)))
        self.softmax2(logits)
        return logits


class InceptionV1(Inception):
    """InceptionV1 with Lucent's layer names; see `Inception` for them.

    Args:
        num_classes: the number of outputs.
        lrn: radius, bias, alpha and beta of the local response normalization.
    """

    def __init__(self, *, num_classes: int = 1008, lrn: tuple[int, float, float, float] = TENSORFLOW_LRN):
        self._conv("conv2d0", 3, 64, 7, stride=2)
        self.maxpool0 = MaxPool(3, 2, "SAME")
        self.localresponsenorm0 = _lrn(lrn)
        self._conv("conv2d1", 64, 64, 1)
        self._conv("conv2d2", 64, 192, 3)
        self.localresponsenorm1 = _lrn(lrn)
        self.maxpool1 = MaxPool(3, 2, "SAME")
        self._body(192, MIXED, POOL_BEFORE, num_classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.localresponsenorm0(self.maxpool0(self._run("conv2d0", x)[1]))
        x = self._run("conv2d2", self._run("conv2d1", x)[1])[1]
        return self._run_body(self.maxpool1(self.localresponsenorm1(x)))


def _lrn(constants: tuple[int, float, float, float]) -> LocalResponseNorm:
    radius, bias, alpha, beta = constants
    return LocalResponseNorm(radius=radius, bias=bias, alpha=alpha, beta=beta)


NETWORKS = (
    Network(
        "inceptionv1",
        InceptionV1,
        7_066_380,
        (
            Weights(
                "INCEPTION5H",
                # The address in lucent/modelzoo/inceptionv1; the blob id is git's for this file.
                "https://github.com/ProGamerGov/pytorch-old-tensorflow-models/raw/master/inception5h.pth",
                "gitblob:119f77db85c8352960933e025312b507d9a96ed7",
                preprocess=INCEPTION,
                labels="inceptionv1",
            ),
        ),
        "Google's inception5h (Apache-2.0), as a PyTorch file by ProGamerGov; trained on ImageNet",
        outputs=1008,
    ),
)
