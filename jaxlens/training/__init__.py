"""Training of small networks, with Flax NNX and optax."""

from jaxlens.training._history import History as History
from jaxlens.training._train import evaluate as evaluate
from jaxlens.training._train import train_model as train_model
