"""Pictures that people want, each by one call: dreams, inversions, caricatures, styles, series of neurons."""

from jaxlens.recipes._compare import caricature as caricature
from jaxlens.recipes._compare import invert as invert
from jaxlens.recipes._compare import style_transfer as style_transfer
from jaxlens.recipes._dream import deepdream as deepdream
from jaxlens.recipes._series import accentuate as accentuate
from jaxlens.recipes._series import adversarial as adversarial
from jaxlens.recipes._series import both_signs as both_signs
from jaxlens.recipes._series import diversity as diversity
from jaxlens.recipes._series import evolution as evolution
from jaxlens.recipes._series import interactions as interactions
from jaxlens.recipes._series import interpolate as interpolate
from jaxlens.recipes._series import maco as maco
