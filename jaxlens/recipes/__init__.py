"""Pictures by one call each: dreams, inversions, caricatures, styles, series of neurons."""

from jaxlens.recipes._accentuation import accentuate as accentuate
from jaxlens.recipes._adversarial import adversarial as adversarial
from jaxlens.recipes._caricature import attribution_caricature as attribution_caricature
from jaxlens.recipes._caricature import caricature as caricature
from jaxlens.recipes._class_visualization import class_visualization as class_visualization
from jaxlens.recipes._deepdream import deepdream as deepdream
from jaxlens.recipes._diversity import diversity as diversity
from jaxlens.recipes._interactions import both_signs as both_signs
from jaxlens.recipes._interactions import interactions as interactions
from jaxlens.recipes._interpolation import interpolate as interpolate
from jaxlens.recipes._inversion import invert as invert
from jaxlens.recipes._maco import maco as maco
from jaxlens.recipes._methods import compare_methods as compare_methods
from jaxlens.recipes._style_transfer import style_transfer as style_transfer
from jaxlens.recipes._tileable import tileable as tileable
from jaxlens.recipes._transparent import transparent as transparent
from jaxlens.recipes._zoom import zoom as zoom
