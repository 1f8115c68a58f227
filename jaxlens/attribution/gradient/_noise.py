"""Gradients of noisy copies of an image: SmoothGrad, its squares and its variances."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._checks import as_key, check_choice, check_function, check_scalar
from jaxlens._numerics import over
from jaxlens._pytree import field, pytree
from jaxlens._types import Images, Seed
from jaxlens.attribution._batches import check_samples, size_of_batches
from jaxlens.attribution._draws import drawn
from jaxlens.attribution._entry import entry
from jaxlens.attribution._layers import scores_of
from jaxlens.attribution._query import Query, ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import TargetLike
from jaxlens.attribution.gradient._sums import QUANTITIES, Sample, gradient_sums
from jaxlens.model import Model

Quantity = Literal["gradient", "saliency", "input_x_gradient"]
Statistic = Literal["mean", "square", "variance"]
MAX_NOISE = 10.0  # images are in [0, 1]
STATISTICS = ("mean", "square", "variance")


@pytree
class Noisy:
    """Images with Gaussian noise."""

    key: Any
    sigma: Float[Array, ""]
    samples: Any
    relative: bool = field(static=True)
    most: int = field(static=True)  # different samples in a batch, which are consecutive

    def sample(self, query: Query, index: jax.Array) -> Sample:
        numbers = index[0] + jnp.arange(self.most)
        noise = drawn(self.key, numbers, query.images.shape[1:], query.images.dtype)[index - index[0]]
        noisy = query.images + over(deviation(query.images, self.sigma, self.relative), noise) * noise
        return Sample(images=noisy, weights=jnp.ones(index.shape, noisy.dtype) / self.samples)


def noise_like(image: jax.Array, key: Any, sample: Any) -> jax.Array:
    """Return the standard normal noise of one sample.

    It is the same for every image of a batch, so that none depends on its neighbors.
    """
    return jax.random.normal(jax.random.fold_in(key, sample), image.shape, image.dtype)


def deviation(images: jax.Array, sigma: Any, relative: bool) -> jax.Array:
    """Return the noise's standard deviation for each image: `sigma`, or that share of its range."""
    span = jnp.ptp(images, axis=tuple(range(1, images.ndim))) if relative else jnp.ones(images.shape[0], images.dtype)
    return sigma * span


@method(values="sizes")
def smooth_grad(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    quantity: Quantity = "gradient",
    samples: int = 25,
    sigma: float = 0.15,
    relative: bool = True,
    statistic: Statistic = "mean",
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return the mean gradient of noisy copies, `E g(x + e)` with `e ~ N(0, s**2)`.

    Smilkov et al. 2017, arXiv:1706.03825. `noise_tunnel` does this to any other method.

    Args:
        model, images, target, layer, batch_size: see `jaxlens.attribution`. The noise is added to
            the image, also where there is a layer.
        quantity: what is averaged: the signed "gradient", its absolute value, "saliency", or
            "input_x_gradient".
        samples: noisy copies per image; the paper uses 50. captum: 5.
        sigma: the noise's standard deviation; the paper finds 0.1 to 0.2 good.
        relative: whether sigma is a share of the image's range, max - min, as in the paper.
            Otherwise it is in the image's units (captum's `stdevs`, 1.0 of a normalized input;
            xplique's 0.2).
        statistic: the "mean" over copies, the mean "square" (`smooth_grad_squared`), or the
            "variance", divided by `samples` (`var_grad(unbiased=False)`).
        seed: an int or a JAX key. The noise is the same for every image of a batch.
        progress: show a bar when it takes longer than two seconds.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.smooth_grad(model, images, 3, samples=4).values.shape
        (2, 24, 32, 3)
    """
    check_choice(quantity, "quantity", QUANTITIES)
    check_choice(statistic, "statistic", STATISTICS)
    samples = check_samples(samples)
    query = ask(model, images, target, layer=layer)
    most = -(-size_of_batches(batch_size, query.count * samples) // query.count) + 1
    noise = Noisy(
        key=as_key(seed),
        sigma=check_sigma(sigma, query),
        samples=jnp.asarray(samples),
        relative=relative,
        most=min(most, samples),
    )
    second = statistic != "mean"
    options: dict[str, Any] = {"batch_size": batch_size, "progress": progress, "label": "smooth_grad"}
    sums = gradient_sums(query, noise, samples, quantity=quantity, second=second, **options)
    values = _statistic(statistic, sums.first, sums.second)
    return Attribution(
        values=values, scores=scores_of(query, query.values, batch_size), method="smooth_grad", layer=query.layer
    )


@method(values="sizes")
def smooth_grad_squared(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    quantity: Quantity = "gradient",
    samples: int = 25,
    sigma: float = 0.15,
    relative: bool = True,
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return the mean square of the gradients of noisy copies, `E g(x + e)**2`.

    Hooker et al. 2019, arXiv:1806.10758.

    Args:
        model, images, target, layer, quantity, samples, sigma, relative, seed, batch_size,
            progress: see `smooth_grad`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.smooth_grad_squared(model, images, 3, samples=4)
        >>> bool((found.values >= 0).all())
        True
    """
    options: dict[str, Any] = {"layer": layer, "quantity": quantity, "samples": samples, "sigma": sigma, "relative": relative}
    options |= {"seed": seed, "batch_size": batch_size, "progress": progress}
    return smooth_grad(model, images, target, statistic="square", **options).replace(method="smooth_grad_squared")


@method(values="sizes")
def var_grad(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    unbiased: bool = True,
    layer: str | None = None,
    quantity: Quantity = "gradient",
    samples: int = 25,
    sigma: float = 0.15,
    relative: bool = True,
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return the variance of the gradients of noisy copies.

    Adebayo et al. 2018, arXiv:1810.03307.

    Args:
        unbiased: divide by `samples - 1`, as xplique does; False divides by `samples`, as captum
            does.
        model, images, target, layer, quantity, samples, sigma, relative, seed, batch_size,
            progress: see `smooth_grad`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.var_grad(model, images, 3, samples=4)
        >>> bool((found.values >= 0).all())
        True
    """
    samples = check_samples(samples, low=2 if unbiased else 1)
    options: dict[str, Any] = {"layer": layer, "quantity": quantity, "samples": samples, "sigma": sigma, "relative": relative}
    options |= {"seed": seed, "batch_size": batch_size, "progress": progress}
    found = smooth_grad(model, images, target, statistic="variance", **options).replace(method="var_grad")
    return found.replace(values=found.values * samples / (samples - 1)) if unbiased else found


def _statistic(name: str, mean: jax.Array, square: Any) -> jax.Array:
    if name == "variance":
        return jnp.maximum(square - jnp.square(mean), 0)
    return mean if name == "mean" else square


def check_sigma(sigma: Any, query: Query, name: str = "sigma") -> jax.Array:
    """Return a standard deviation of noise, not negative and not far beyond the images' range."""
    return jnp.asarray(check_scalar(sigma, name, low=0, high=MAX_NOISE), query.images.dtype)


@entry
def noise_tunnel(
    method: Callable[..., Attribution],
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    statistic: Statistic = "mean",
    samples: int = 5,
    sigma: float = 0.15,
    relative: bool = True,
    seed: Seed = 0,
    **options: Any,
) -> Attribution:
    """Average any method over noisy copies of the images, clipped to [0, 1]: captum's NoiseTunnel.

    Args:
        method: a method, such as `attribution.integrated_gradients`.
        model, images, target: what the method takes; target None is the top class of the clean
            image.
        statistic: of the method's values: their "mean", mean "square" or (biased) "variance".
        samples, sigma, relative, seed: see `smooth_grad`.
        options: the method's own keywords.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.noise_tunnel(attribution.grad_cam, model, images, samples=3)
        >>> found.method, found.values.shape
        ('grad_cam in noise', (2, 3, 4, 1))
    """
    check_choice(statistic, "statistic", STATISTICS)
    check_function(method, "method", "attribution.integrated_gradients")
    samples, query = check_samples(samples), ask(model, images, target)
    images = query.images
    size, key = over(deviation(images, check_sigma(sigma, query), relative), images), as_key(seed)
    noisy = (jnp.clip(images + size * noise_like(images[0], key, sample)[None], 0, 1) for sample in range(samples))
    runs = (method(model, each, query.target, **options) for each in noisy)
    last = first = next(runs)
    total, squares = first.values, jnp.square(first.values)
    for last in runs:
        total, squares = total + last.values, squares + jnp.square(last.values)
    values = _statistic(statistic, total / samples, squares / samples)
    scores = scores_of(query, query.values, options.get("batch_size"))
    return Attribution(values=values, scores=scores, method=f"{last.method} in noise", layer=last.layer)
