"""Random, differentiable maps of images, `(key, images) -> images`, for robust visualizations."""

from jaxlens.optvis.transform._affine import random_rotate as random_rotate
from jaxlens.optvis.transform._affine import random_scale as random_scale
from jaxlens.optvis.transform._alpha import collapse_alpha_random as collapse_alpha_random
from jaxlens.optvis.transform._anneal import anneal as anneal
from jaxlens.optvis.transform._base import Transform as Transform
from jaxlens.optvis.transform._boxes import random_boxes as random_boxes
from jaxlens.optvis.transform._boxes import random_crop as random_crop
from jaxlens.optvis.transform._compose import compose as compose
from jaxlens.optvis.transform._compose import identity as identity
from jaxlens.optvis.transform._compose import per_image as per_image
from jaxlens.optvis.transform._crop import crop_or_pad_to as crop_or_pad_to
from jaxlens.optvis.transform._crop import jitter as jitter
from jaxlens.optvis.transform._crop import roll as roll
from jaxlens.optvis.transform._draw import uniform as uniform
from jaxlens.optvis.transform._pad import pad as pad
from jaxlens.optvis.transform._pixel import blur as blur
from jaxlens.optvis.transform._pixel import color_jitter as color_jitter
from jaxlens.optvis.transform._pixel import flip as flip
from jaxlens.optvis.transform._pixel import gamma as gamma
from jaxlens.optvis.transform._pixel import noise as noise
from jaxlens.optvis.transform._pixel import normalize_gradient as normalize_gradient
from jaxlens.optvis.transform._preset import preset as preset
from jaxlens.optvis.transform._resize import resize as resize
from jaxlens.optvis.transform._standard import standard_transforms as standard_transforms
