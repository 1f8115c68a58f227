"""jaxlens looks inside image networks, in JAX."""

from jaxlens.model import Layer as Layer
from jaxlens.model import Model as Model
from jaxlens.model import activations as activations
from jaxlens.model import site as site
