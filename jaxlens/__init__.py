"""jaxlens looks inside image networks, in JAX."""

from jaxlens._package import VERSION as __version__  # noqa: F401
from jaxlens.model import Layer as Layer
from jaxlens.model import Model as Model
from jaxlens.model import activations as activations
from jaxlens.model import site as site
