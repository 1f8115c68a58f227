"""The role of a parameterization, and how users bring their own."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import brief, check_function
from jaxlens._pytree import field, pytree


@runtime_checkable
class Parameterization(Protocol):
    """How the B images of one task are stored while they are optimized.

    A pytree: pass it to `jax.jit` like any argument. Two that are built alike share one compiled program.

    Attributes:
        shape: (B, H, W, C) of the images.
    """

    @property
    def shape(self) -> tuple[int, int, int, int]: ...

    def init(self, key: PRNGKeyArray) -> Any:
        """The parameters to start from: a pytree of float32 arrays."""
        ...

    def to_image(self, theta: Any) -> Float[Array, "b h w c"]:
        """The images that `theta` stands for: float32, in [0, 1] unless the maker says otherwise."""
        ...


class Whole:
    """One object, where Lucent's parameterizations are two."""

    def __iter__(self) -> Any:
        raise TypeError(
            "`params, image_f = param.image(...)` is Lucent's: here a parameterization is one object `p`, with "
            "theta = p.init(key) and images = p.to_image(theta). Give it to render(..., param=p) whole."
        )


class Wrapper(Whole):
    """A parameterization around another one: its images are what `to_image` makes of the inner ones."""

    inner: Any

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, W, C) of the images."""
        return self.inner.shape

    def init(self, key: PRNGKeyArray) -> Any:
        """The inner parameterization's start."""
        return self.inner.init(key)

    def from_image(self, images: Float[Array, "b h w c"]) -> Any:
        """The inner parameterization's theta of these images, as far as `inner` has one; `starting_at` asks."""
        return self.inner.from_image(images)


def check_inner(param: Any, name: str = "inner") -> tuple[int, ...]:
    """The shape of a parameterization's images, or an error; `each` is for tasks, and outermost."""
    if isinstance(param, type) or not all(hasattr(param, part) for part in ("init", "to_image", "shape")):
        raise TypeError(f"{name}={brief(repr(param), 80)} must be a parameterization, such as param.image(128).")
    if hasattr(param, "take"):
        raise TypeError(f"{name} is a param.each, which comes last: param.each([f(p) for p in ...]) of what it is made of.")
    return tuple(param.shape)


@pytree
class FromFunctions(Whole):
    """See `from_functions`."""

    init_function: Callable[[PRNGKeyArray], Any] = field(static=True)
    image_function: Callable[[Any], Array] = field(static=True)
    shape: tuple[int, int, int, int] = field(static=True)

    def init(self, key: PRNGKeyArray) -> Any:
        """The user's initial parameters."""
        return self.init_function(key)

    def to_image(self, theta: Any) -> Float[Array, "b h w c"]:
        """The user's images, as float32."""
        return self.image_function(theta).astype(jnp.float32)


def from_functions(init: Any, to_image: Any) -> FromFunctions:
    """A parameterization from a pair of functions: a CPPN, a generator, a texture, anything differentiable.

    Args:
        init: `key -> theta`, where theta is any pytree of float arrays.
        to_image: `theta -> images`, floats `[B, H, W, C]`. In [0, 1]: nothing is added, so end with `jax.nn.sigmoid`,
            or wrap the result in `to_valid_rgb`.

    Raises:
        TypeError: if the images are not floats.
        ValueError: if they are not `[B, H, W, C]`.

    The functions count by identity: define them once, outside of loops, or every new pair compiles anew.
    """
    check_function(init, "init", "lambda key: jax.random.normal(key, (1, 64, 64, 3))")
    check_function(to_image, "to_image", "jax.nn.sigmoid")
    images = jax.eval_shape(lambda: to_image(init(jax.random.key(0))))
    shape = getattr(images, "shape", None)
    if shape is None or len(shape) != 4:
        raise ValueError(f"to_image returns {images}, but one array [B, H, W, C] is needed; add the batch axis by [None].")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"to_image returns dtype {images.dtype}, but floats in [0, 1] are needed.")
    return FromFunctions(init_function=init, image_function=to_image, shape=shape)
