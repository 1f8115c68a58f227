"""Activations and targets for the tests of objectives, drawn once."""

import jax.numpy as jnp
import numpy as np

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 5, 7, 4)).astype(np.float32)  # B, H, W, C
X = RNG.uniform(size=(3, 9, 11, 3)).astype(np.float32)
DENSE = RNG.normal(size=(3, 4)).astype(np.float32)
ACTS = {
    "step": jnp.uint32(3),
    "memory": {},
    "a": jnp.asarray(A),
    "input": jnp.asarray(X),
    "dense": jnp.asarray(DENSE),
    "logits": jnp.asarray(DENSE),
}
V = RNG.normal(size=4).astype(np.float32)
T = RNG.normal(size=(3, 4, 4)).astype(np.float32)
FULL = RNG.normal(size=(5, 7, 4)).astype(np.float32)
S = RNG.normal(size=(4, 4)).astype(np.float32)
RGBA = RNG.uniform(size=(3, 9, 11, 4)).astype(np.float32)
ACTS |= {"rgba": jnp.asarray(RGBA), "step": jnp.float32(3)}


def grams(a):
    return [f.reshape(-1, f.shape[-1]).T @ f.reshape(-1, f.shape[-1]) / (f.shape[0] * f.shape[1]) for f in a]
