"""The role of a parameterization, and how users bring their own."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_function, one_line
from jaxlens._pytree import field, pytree
from jaxlens.optvis.param._types import Init, ToImage


@runtime_checkable
class Parameterization(Protocol):
    """How the B images of one task are stored while they are optimized.

    A parameterization is a pytree: pass it to `jax.jit` like any argument. Two that are built alike
    share one compiled program. `from_functions` makes one from two functions.

    Attributes:
        shape: (B, H, W, C) of the images.

    Example:
        >>> import jax
        >>> from jaxlens.optvis import param
        >>> p = param.image(48, 32)
        >>> theta = p.init(jax.random.key(0))
        >>> p.to_image(theta).shape == p.shape == (1, 32, 48, 3)
        True
        >>> isinstance(p, param.Parameterization)
        True
    """

    @property
    def shape(self) -> tuple[int, int, int, int]: ...

    def init(self, key: PRNGKeyArray, /) -> Any:
        """Return the parameters to start from: a pytree of float32 arrays."""
        ...

    def to_image(self, theta: Any, /) -> Float[Array, "b h w c"]:
        """Return the images of `theta`: float32, in [0, 1] unless the maker says otherwise."""
        ...


@runtime_checkable
class Invertible(Parameterization, Protocol):
    """A parameterization that can say which theta gives an image."""

    def from_image(self, images: Float[Array, "b h w c"], /) -> Any:
        """Return the theta of these images, or of the nearest ones that can be expressed."""
        ...


def theta_of(param: Parameterization, images: Float[Array, "b h w c"]) -> Any:
    """Return the theta of images, for a parameterization that has an inverse."""
    if not isinstance(param, Invertible):
        raise TypeError(f"{type(param).__name__} has no from_image: `param.starting_at` fits it to images.")
    return param.from_image(images)


class NotAPair:
    """Refuse to be unpacked: a parameterization is one object, where Lucent has two."""

    def __iter__(self) -> Any:
        raise TypeError(
            "`params, image_f = param.image(...)` is Lucent's: here a parameterization is one object `p`, with "
            "theta = p.init(key) and images = p.to_image(theta). Give it to render(..., param=p) whole."
        )


class Wrapper(NotAPair):
    """A parameterization around another one: `to_image` changes the images of `inner`."""

    inner: Parameterization

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, W, C) of the images."""
        return self.inner.shape

    def init(self, key: PRNGKeyArray) -> Any:
        """Return the start of the inner parameterization."""
        return self.inner.init(key)

    def from_image(self, images: Float[Array, "b h w c"]) -> Any:
        """Return the inner parameterization's theta of these images, if `inner` is `Invertible`."""
        return theta_of(self.inner, images)


def check_inner(param: Any, name: str = "inner") -> tuple[int, ...]:
    """Return the shape of a parameterization's images, or raise; `each` must be the outermost."""
    if isinstance(param, type) or not isinstance(param, Parameterization):
        raise TypeError(f"{name}={one_line(repr(param), 80)} must be a parameterization, such as param.image(128).")
    if hasattr(param, "take"):
        raise TypeError(f"{name} is a param.each, which comes last: param.each([f(p) for p in ...]) of what it is made of.")
    return tuple(param.shape)


@pytree
class FromFunctions(NotAPair):
    """See `from_functions`."""

    init_function: Callable[[PRNGKeyArray], Any] = field(static=True)
    image_function: Callable[[Any], Array] = field(static=True)
    shape: tuple[int, int, int, int] = field(static=True)

    def init(self, key: PRNGKeyArray) -> Any:
        """Return the user's initial parameters."""
        return self.init_function(key)

    def to_image(self, theta: Any) -> Float[Array, "b h w c"]:
        """Return the user's images as float32."""
        return self.image_function(theta).astype(jnp.float32)


def from_functions(init: Init, to_image: ToImage) -> FromFunctions:
    """Make a parameterization from two differentiable functions: a texture, a CPPN, a generator.

    The functions count by identity: define them once, outside of loops, because every new pair is
    compiled anew.

    Args:
        init: `key -> theta`. Theta is any pytree of float arrays.
        to_image: `theta -> images`, floats `[B, H, W, C]` in [0, 1]. Nothing is added to them: end
            with `jax.nn.sigmoid`, or wrap the result in `to_valid_rgb`.

    Raises:
        TypeError: if the images are not floats.
        ValueError: if they are not `[B, H, W, C]`.

    Example:
        >>> import jax
        >>> from jaxlens.optvis import param
        >>> def start(key):
        ...     return jax.random.normal(key, (1, 24, 32, 3))
        >>> p = param.from_functions(start, jax.nn.sigmoid)
        >>> p.to_image(p.init(jax.random.key(0))).shape
        (1, 24, 32, 3)
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
