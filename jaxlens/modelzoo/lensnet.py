"""lensnet: InceptionV1 in miniature, for images of 64 pixels. It comes with the package.

The layers have InceptionV1's names and roles. The stem is smaller and has no pool after its first convolution, because 64
pixels leave no room for one, and no local response normalisation. `tools/train_lensnet.py` trains it, with batch norms
that are folded into the convolutions at the end.
"""

import jax

from jaxlens.model import Preprocess
from jaxlens.modelzoo._layers import Conv, MaxPool
from jaxlens.modelzoo._network import Network, Weights
from jaxlens.modelzoo.inceptionv1 import Inception, MakeConv

CLASSES = 71  # of `jaxlens.data.synthetic`
PREPROCESS = Preprocess.mean_std((0.5,) * 3, (0.25,) * 3)
# Channels of each block: 1x1; 3x3 bottleneck, 3x3; 5x5 bottleneck, 5x5; pool_reduce.
MIXED = {
    "mixed3a": (32, 32, 48, 12, 24, 24),
    "mixed3b": (48, 48, 80, 16, 32, 32),
    "mixed4a": (64, 56, 104, 16, 40, 48),
    "mixed4b": (72, 64, 120, 20, 48, 48),
    "mixed5a": (96, 88, 176, 24, 56, 56),
    "mixed5b": (112, 96, 184, 24, 56, 64),
}
POOL_BEFORE = {"mixed4a": "maxpool4", "mixed5a": "maxpool10"}


class LensNet(Inception):
    """The bundled network; see `Inception` for the names of its layers.

    Args:
        make: what makes a convolution; training puts a batch norm into it.
    """

    def __init__(self, *, num_classes: int = CLASSES, make: MakeConv = Conv):
        self._conv("conv2d0", 3, 24, 5, stride=2, make=make)
        self._conv("conv2d1", 24, 16, 1, make=make)
        self._conv("conv2d2", 16, 48, 3, make=make)
        self.maxpool1 = MaxPool(3, 2, "SAME")
        self._body(48, MIXED, POOL_BEFORE, num_classes, make=make)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self._run("conv2d2", self._run("conv2d1", self._run("conv2d0", x)[1])[1])[1]
        return self._run_body(self.maxpool1(x))


NETWORKS = (
    Network(
        "lensnet",
        LensNet,
        936_919,
        (Weights("SYNTHETIC", "lensnet.safetensors", "", PREPROCESS, "lensnet", input_size=(64, 64)),),
        "jaxlens (Apache-2.0), trained by `python -m tools.train_lensnet` on generated images; comes with the package",
        outputs=CLASSES,
        # edges, colours; stripes, dots, a boundary; rings, cells, opponent colours; an arch, a corner, a spiral, the letter A
        show=("conv2d2:2-5", "mixed3b:60,75,119,130", "mixed4b:5,65,100,137", "logits:10,24,32,65"),
    ),
)
