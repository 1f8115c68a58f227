"""jaxlens looks inside image networks, in JAX."""

from jaxlens import _startup

if _startup.is_command():  # before anything that takes its time
    _startup.leave_on_interrupt()

from jaxlens._package import VERSION as __version__  # noqa: F401
from jaxlens.model import Layer as Layer
from jaxlens.model import Model as Model
from jaxlens.model import activations as activations
from jaxlens.model import site as site
