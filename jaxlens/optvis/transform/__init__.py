"""Random, differentiable maps of images that a visualization should be robust to: `(key, images) -> images`."""

from ._affine import random_rotate as random_rotate
from ._affine import random_scale as random_scale
from ._base import Transform as Transform
from ._compose import compose as compose
from ._compose import identity as identity
from ._compose import per_image as per_image
from ._crop import crop_or_pad_to as crop_or_pad_to
from ._crop import jitter as jitter
from ._draw import uniform as uniform
from ._pad import pad as pad
from ._resize import resize as resize
from ._standard import standard_transforms as standard_transforms
