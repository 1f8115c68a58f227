"""Pictures that people want, each by one call: dreams, inversions, caricatures, styles, series of neurons."""

from jaxlens.recipes._compare import attribution_caricature as attribution_caricature
from jaxlens.recipes._compare import caricature as caricature
from jaxlens.recipes._compare import invert as invert
from jaxlens.recipes._compare import style_transfer as style_transfer
from jaxlens.recipes._dream import deepdream as deepdream
from jaxlens.recipes._endless import tileable as tileable
from jaxlens.recipes._endless import transparent as transparent
from jaxlens.recipes._endless import zoom as zoom
from jaxlens.recipes._near import accentuate as accentuate
from jaxlens.recipes._near import adversarial as adversarial
from jaxlens.recipes._near import maco as maco
from jaxlens.recipes._series import both_signs as both_signs
from jaxlens.recipes._series import class_visualization as class_visualization
from jaxlens.recipes._series import compare_methods as compare_methods
from jaxlens.recipes._series import diversity as diversity
from jaxlens.recipes._series import evolution as evolution
from jaxlens.recipes._series import interactions as interactions
from jaxlens.recipes._series import interpolate as interpolate
