"""Random, differentiable maps of images that a visualization should be robust to: `(key, images) -> images`."""

from ._affine import random_rotate as random_rotate
from ._affine import random_scale as random_scale
from ._alpha import collapse_alpha_random as collapse_alpha_random
from ._anneal import anneal as anneal
from ._base import Transform as Transform
from ._boxes import random_boxes as random_boxes
from ._boxes import random_crop as random_crop
from ._compose import compose as compose
from ._compose import identity as identity
from ._compose import per_image as per_image
from ._crop import crop_or_pad_to as crop_or_pad_to
from ._crop import jitter as jitter
from ._crop import roll as roll
from ._draw import uniform as uniform
from ._pad import pad as pad
from ._pixel import blur as blur
from ._pixel import color_jitter as color_jitter
from ._pixel import flip as flip
from ._pixel import gamma as gamma
from ._pixel import noise as noise
from ._pixel import normalize_gradient as normalize_gradient
from ._preset import preset as preset
from ._resize import resize as resize
from ._standard import standard_transforms as standard_transforms
