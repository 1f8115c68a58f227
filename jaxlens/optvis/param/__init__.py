"""How images are stored while they are optimized: `init(key) -> theta`, `to_image(theta) -> images` in [0, 1]."""

from . import color as color
from ._base import Parameterization as Parameterization
from ._base import from_functions as from_functions
from ._bounded import ball as ball
from ._bounded import beside as beside
from ._bounded import grayscale as grayscale
from ._bounded import masked as masked
from ._cppn import composite_activation as composite_activation
from ._cppn import composite_activation_unbiased as composite_activation_unbiased
from ._cppn import cppn as cppn
from ._cppn import relu_normalized as relu_normalized
from ._each import each as each
from ._generator import generator as generator
from ._image import image as image
from ._maco import fourier_phase as fourier_phase
from ._maco import maco as maco
from ._maco import natural_spectrum as natural_spectrum
from ._maco import spectrum_of as spectrum_of
from ._pyramid import aligned as aligned
from ._pyramid import laplacian_pyramid_image as laplacian_pyramid_image
from ._pyramid import lowres_tensor as lowres_tensor
from ._spatial import fft_image as fft_image
from ._spatial import pixel_image as pixel_image
from ._valid import constrain_L_inf as constrain_L_inf
from ._valid import to_valid_rgb as to_valid_rgb
