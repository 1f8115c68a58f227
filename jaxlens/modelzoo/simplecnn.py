"""The small network of the ImageNette tutorial, to train from scratch."""

from typing import Any

import jax
from flax import nnx

from jaxlens._checks import SEEDS, check_int
from jaxlens.modelzoo._activations import ReLU
from jaxlens.modelzoo._layers import AdaptiveAvgPool, MaxPool, flatten


class SimpleCNN(nnx.Module):
    """Three blocks of convolution, batch norm, ReLU and max-pool, and two linear layers.

    `simple_cnn` makes one.
    """

    def __init__(self, num_classes: int, *, rngs: nnx.Rngs):
        for i, (cin, cout) in enumerate(((3, 32), (32, 64), (64, 128)), 1):
            bounds = _torch(cin * 9)
            setattr(self, f"conv{i}", nnx.Conv(cin, cout, (3, 3), padding=1, rngs=rngs, **bounds))
            setattr(self, f"bn{i}", nnx.BatchNorm(cout, momentum=0.9, rngs=rngs))  # PyTorch's momentum 0.1
            setattr(self, f"relu{i}", ReLU())
            setattr(self, f"pool{i}", MaxPool(2, 2))
        self.adaptive_pool = AdaptiveAvgPool(4, 4)
        self.fc1 = nnx.Linear(128 * 16, 512, rngs=rngs, **_torch(128 * 16))
        self.relu4 = ReLU()
        self.dropout = nnx.Dropout(0.25, rngs=rngs)
        self.fc2 = nnx.Linear(512, num_classes, rngs=rngs, **_torch(512))

    def __call__(self, x: jax.Array) -> jax.Array:
        for i in (1, 2, 3):
            for layer in (f"conv{i}", f"bn{i}", f"relu{i}", f"pool{i}"):
                x = getattr(self, layer)(x)
        x = self.relu4(self.fc1(flatten(self.adaptive_pool(x))))
        return self.fc2(self.dropout(x))


def _torch(fan_in: int) -> dict[str, Any]:
    """Return PyTorch's default initialization: uniform between -1 and 1 over sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike = "float32", **_: object) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return {"kernel_init": init, "bias_init": init}


def simple_cnn(num_classes: Any = 10, *, seed: Any = 0) -> nnx.Module:
    """Make the tutorial's SimpleCNN, untrained.

    Three 3x3 convolutions, 3 -> 32 -> 64 -> 128, each with a batch norm, a ReLU and a 2x2 max-pool
    behind it; a pool to 4x4; two linear layers, 2048 -> 512 -> classes, with dropout 0.25 between
    them. Layers: conv1 bn1 relu1 pool1 ... adaptive_pool fc1 relu4 dropout fc2. It has 1,147,914
    parameters for 10 classes and PyTorch's default initialization.

    Args:
        num_classes: the number of outputs.
        seed: the seed of the weights and of dropout.

    Returns: an NNX module for `jaxlens.training.train_model`. It takes images of any size from 8x8
        on, normalized by `jaxlens.model.IMAGENET`.

    Example:
        >>> from jaxlens import Model, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> network = modelzoo.simple_cnn(num_classes=10)  # train it: jaxlens.training.train_model
        >>> model = Model.from_nnx(network, preprocess=IMAGENET, input_size=(24, 32))
        >>> model.layers["pool3"].shape
        (3, 4, 128)
    """
    check_int(num_classes, "num_classes", low=1, high=1 << 20)
    return SimpleCNN(int(num_classes), rngs=nnx.Rngs(check_int(seed, "seed", low=0, high=SEEDS - 1)))
