"""How images are stored while they are optimized: `init(key) -> theta`, `to_image(theta) -> images` in [0, 1]."""

from . import color as color
from ._base import Parameterization as Parameterization
from ._base import from_functions as from_functions
from ._image import image as image
from ._spatial import fft_image as fft_image
from ._spatial import pixel_image as pixel_image
from ._valid import constrain_L_inf as constrain_L_inf
from ._valid import to_valid_rgb as to_valid_rgb
