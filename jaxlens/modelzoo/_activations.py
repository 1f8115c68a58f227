"""Activations as modules, because PyTorch names them."""

import jax
from flax import nnx

from jaxlens import _kernels


class ReLU(nnx.Module):
    """`max(x, 0)`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.relu(x)


class ReLU6(nnx.Module):
    """`min(max(x, 0), 6)`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.relu6(x)


class SiLU(nnx.Module):
    """`x * sigmoid(x)`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.silu(x)


class GELU(nnx.Module):
    """`x * Phi(x)`, exact."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return _kernels.gelu(x)


class Hardswish(nnx.Module):
    """`x * relu6(x + 3) / 6`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return _kernels.hardswish(x)


class Hardsigmoid(nnx.Module):
    """`relu6(x + 3) / 6`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return _kernels.hardsigmoid(x)


class Sigmoid(nnx.Module):
    """`1 / (1 + exp(-x))`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(x)


class Tanh(nnx.Module):
    """`tanh(x)`."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.numpy.tanh(x)


class Softmax(nnx.Module):
    """Logits to probabilities."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return _kernels.softmax(x)
