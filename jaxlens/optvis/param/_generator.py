"""Images from a generator: any pure function from latents to images."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_function, check_int, check_reals
from jaxlens._pytree import field, pytree
from jaxlens._types import Number, Whole
from jaxlens.optvis.param._base import NotAPair
from jaxlens.optvis.param._spatial import check_sd
from jaxlens.optvis.param._types import Forward, Latent, ToImage

CAFFE_MEAN = np.array([123.0, 117.0, 104.0], np.float32)  # RGB, as Lucent rounds it


@pytree
class Generator(NotAPair):
    """See `generator`."""

    params: Any
    forward: Callable[[Any, Array], Array] = field(static=True)
    to_unit: Callable[[Array], Array] = field(static=True)
    latent: tuple[int, ...] = field(static=True)
    shape: tuple[int, int, int, int] = field(static=True)
    sd: float = field(static=True)

    def init(self, key: PRNGKeyArray) -> Float[Array, "b *latent"]:
        """Return normal latents of deviation `sd`."""
        return jax.random.normal(key, (self.shape[0], *self.latent), jnp.float32) * self.sd

    def to_image(self, theta: Float[Array, "b *latent"]) -> Float[Array, "b h w c"]:
        """Return the generator's images of the latents, in [0, 1]."""
        return self.to_unit(self.forward(self.params, theta).astype(jnp.float32))


def deepsim_colors(raw: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """Return the output of Lucent's upconvGAN as colors in [0, 1]: the `to_unit` of `generator`.

    Args:
        raw: `[B, H, W, 3]`, RGB in 0..255 less the mean of Caffe's ImageNet.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import param
        >>> [round(float(c), 3) for c in param.deepsim_colors(jnp.zeros((1, 1, 1, 3))).ravel()]
        [0.482, 0.459, 0.408]
    """
    raw = check_reals(raw, "raw")
    if raw.ndim != 4 or raw.shape[-1] != 3:
        raise ValueError(f"raw has shape {raw.shape}, but [B, H, W, 3] is needed.")
    return jnp.clip(raw + jnp.asarray(CAFFE_MEAN).reshape(1, 1, 1, 3), 0, 255) / 255


def generator(
    forward: Forward,
    params: Any,
    latent: Latent,
    *,
    batch: Whole = 1,
    sd: Number | None = 1.0,
    to_unit: ToImage = jax.nn.sigmoid,
) -> Generator:
    """Images as latents of a generator: pictures that look like its training data.

    Nguyen et al. 2016, "Synthesizing the preferred inputs for neurons in neural networks via deep
    generator networks".

    Convert the upconvolution GANs of Dosovitskiy and Brox (DeePSiM), which Lucent has, by
    `from_torch(upconvGAN("fc6"), example=torch.randn(2, 4096))`. Their colors need
    `to_unit=param.deepsim_colors`, and latents that are maps are channels last here.

    Args:
        forward: `forward(params, latents [B, *latent]) -> images [B, H, W, C]`, such as
            `model.forward` of `converters.from_torch(gan, example=latents)`. It counts by
            identity: define it once.
        params: the parameters of `forward`; they stay as they are.
        latent: how many numbers one image has, or their shape.
        batch: how many images.
        sd: the deviation of the Gaussian start; None is 0.01.
        to_unit: maps the output of `forward` to [0, 1]: a sigmoid by default, or for a tanh
            `lambda x: (x + 1) / 2`. It counts by identity too.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import param
        >>> def decode(weights, latents):
        ...     return (latents @ weights).reshape(-1, 24, 32, 3)
        >>> p = param.generator(decode, jnp.ones((16, 24 * 32 * 3)), latent=16)
        >>> p.to_image(p.init(jax.random.key(0))).shape
        (1, 24, 32, 3)
    """
    check_function(forward, "forward", "model.forward")
    check_function(to_unit, "to_unit", "jax.nn.sigmoid")
    sizes = tuple(latent) if isinstance(latent, list | tuple) else (latent,)
    sizes = tuple(check_int(n, "latent", low=1, high=2**31 - 1) for n in sizes)
    count, sd = check_int(batch, "batch", low=1, high=2**16), check_sd(sd)
    images = jax.eval_shape(forward, params, jax.ShapeDtypeStruct((count, *sizes), jnp.float32))
    shape = getattr(images, "shape", None)
    if shape is None or len(shape) != 4 or shape[0] != count:
        raise ValueError(f"forward makes {images} of {count} latents, but one array [{count}, H, W, C] is needed.")
    return Generator(params=params, forward=forward, to_unit=to_unit, latent=sizes, shape=shape, sd=sd)
