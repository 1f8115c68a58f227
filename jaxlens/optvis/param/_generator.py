"""Images from a generator: any pure decoder from latents to images."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_function, check_int, check_reals
from jaxlens._pytree import field, pytree
from jaxlens.optvis.param._base import Whole
from jaxlens.optvis.param._spatial import check_sd

CAFFE_MEAN = np.array([123.0, 117.0, 104.0], np.float32)  # RGB, as Lucent rounds it


@pytree
class Generator(Whole):
    """See `generator`."""

    params: Any
    forward: Callable[[Any, Array], Array] = field(static=True)
    to_unit: Callable[[Array], Array] = field(static=True)
    latent: tuple[int, ...] = field(static=True)
    shape: tuple[int, int, int, int] = field(static=True)
    sd: float = field(static=True)

    def init(self, key: PRNGKeyArray) -> Float[Array, "b *latent"]:
        """Normal latents of deviation `sd`."""
        return jax.random.normal(key, (self.shape[0], *self.latent), jnp.float32) * self.sd

    def to_image(self, theta: Float[Array, "b *latent"]) -> Float[Array, "b h w c"]:
        """What the generator makes of the latents, in [0, 1]."""
        return self.to_unit(self.forward(self.params, theta).astype(jnp.float32))


def deepsim_colors(raw: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """What Lucent's upconvGAN puts out, RGB in 0..255 less the mean of Caffe's ImageNet, in [0, 1]: for `generator`."""
    raw = check_reals(raw, "raw")
    if raw.ndim != 4 or raw.shape[-1] != 3:
        raise ValueError(f"raw has shape {raw.shape}, but [B, H, W, 3] is needed.")
    return jnp.clip(raw + jnp.asarray(CAFFE_MEAN).reshape(1, 1, 1, 3), 0, 255) / 255


def generator(
    forward: Any,
    params: Any,
    latent: Any,
    *,
    batch: Any = 1,
    sd: Any = 1.0,
    to_unit: Any = jax.nn.sigmoid,
) -> Generator:
    """Images as latents of a generator, such as an upconvolution GAN: pictures that look like its training data.

    Args:
        forward: `forward(params, latents [B, *latent]) -> images [B, H, W, C]`; `model.forward` of `converters.from_torch(gan,
            example=latents)`, for one.
        params: its parameters, which stay as they are.
        latent: how many numbers one image has, or their shape.
        batch: how many images.
        sd: the deviation of the Gaussian start.
        to_unit: from what the generator makes to [0, 1]; a sigmoid by default, `lambda x: (x + 1) / 2` for a tanh.
            It counts by identity: define it once.

    The upconvolution GANs of Dosovitskiy and Brox (DeePSiM), which Lucent has, are converted by
    `from_torch(upconvGAN("fc6"), example=torch.randn(2, 4096))`; their colours are `to_unit=param.deepsim_colors`, and latents
    that are maps are channels last here.

    Nguyen et al. 2016, "Synthesizing the preferred inputs for neurons in neural networks via deep generator networks".
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
