"""Whether what traces a function wants to read JAX's own operators in it."""

import jax

# Set while a function is traced for something that reads pools or convolutions as such. Hand-written kernels (`_kernels`) then
# use JAX's own operators, whose windows can be read. A context of JAX's, so that inner `jax.jit`s are traced anew for it.
OPERATORS_WANTED = jax.make_user_context(False)


def operators_wanted() -> bool:
    """Whether what traces the function reads JAX's own pools and convolutions in it."""
    return OPERATORS_WANTED.value
