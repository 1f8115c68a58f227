"""What to maximise."""

from jaxlens.optvis.objectives._base import Objective as Objective
from jaxlens.optvis.objectives._base import stack as stack
from jaxlens.optvis.objectives._image import L1 as L1
from jaxlens.optvis.objectives._image import L2 as L2
from jaxlens.optvis.objectives._image import total_variation as total_variation
from jaxlens.optvis.objectives._layer import channel as channel
from jaxlens.optvis.objectives._layer import class_logit as class_logit
from jaxlens.optvis.objectives._layer import deepdream as deepdream
from jaxlens.optvis.objectives._layer import direction as direction
from jaxlens.optvis.objectives._layer import direction_neuron as direction_neuron
from jaxlens.optvis.objectives._layer import diversity as diversity
from jaxlens.optvis.objectives._layer import neuron as neuron
from jaxlens.optvis.objectives._parse import as_objective as as_objective
from jaxlens.optvis.objectives._parse import wrap_objective as wrap_objective
