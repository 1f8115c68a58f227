"""Lucid's default list of transforms."""

from jaxlens.optvis.transform._affine import random_rotate, random_scale
from jaxlens.optvis.transform._base import Transform
from jaxlens.optvis.transform._crop import jitter
from jaxlens.optvis.transform._pad import pad

# lucid/optvis/transform.py and lucent/optvis/transform.py, `standard_transforms`. Copy it to
# change it.
standard_transforms: list[Transform] = [
    pad(12, mode="constant", constant_value=0.5),
    jitter(8),
    random_scale([1 + (i - 5) / 50 for i in range(11)]),
    random_rotate([*range(-10, 11), *5 * [0]]),
    jitter(4),
]
