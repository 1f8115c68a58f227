"""Ready-made interceptors, for `jaxlens.activations`."""

from jaxlens.model._interceptors import ablate as ablate
from jaxlens.model._interceptors import perturb as perturb
from jaxlens.model._interceptors import replace as replace
