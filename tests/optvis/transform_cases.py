"""Pictures and one compiled call, for the tests of transforms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

H, W = 21, 31  # never square; both odd, so that a centre pixel exists


def numbers(*shape):
    """Data in [0, 1]; from NumPy, because compiling a `jax.random` draw takes a second for every
    shape.
    """
    return jnp.asarray(np.random.default_rng(7).random(shape, np.float32))


def smooth(h=H, w=W):
    """A pattern that linear interpolation reproduces to about 1e-2."""
    y, x = np.mgrid[:h, :w]
    waves = [np.sin(x / 5 + c) * np.cos(y / 6 - c) for c in range(3)]
    return jnp.asarray(np.stack(waves, -1)[None] * 0.4 + 0.5, jnp.float32)


# Most of these tests' time is compilation; without LLVM's optimizations it takes half as long.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@quick_jit
def apply(t, key, images):
    """Compiled once per kind of transform for a whole file: transforms are pytrees."""
    return t(key, images)
