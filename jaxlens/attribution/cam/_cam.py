"""Class activation maps: a layer's channels, weighted by the score's gradient and added up.

All of them return `[B, h, w, 1]` on the layer's own grid: signed, neither rectified, normalized nor
resized, which `attribution.relu`, `normalize` and `resize` do; the papers rectify. A is a layer's
values `[h, w, K]` and g the gradient of the score there. A layer of tokens `[T, C]` is put on the
grid of its patches; class token and registers are left out.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, Literal

import jax
from jaxtyping import Array, Float

from jaxlens._checks import as_key, check_choice
from jaxlens._numerics import nonzero
from jaxlens._types import Images, Seed
from jaxlens.attribution._layers import values_and_gradients
from jaxlens.attribution._maps import relu, resize
from jaxlens.attribution._query import INPUT, ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import TargetLike
from jaxlens.attribution.cam._default_layer import cam_layer
from jaxlens.attribution.cam._principal import principal
from jaxlens.attribution.cam._several import Layers, several
from jaxlens.attribution.gradient._saliency import gradients as gradients_of
from jaxlens.model import Model, rules

Maps = Float[Array, "b h w k"]

PLUS_PLUS_EPS, X_EPS = 1e-6, 1e-7  # pytorch-grad-cam's


def _grad_cam(a: Maps, g: Maps) -> Maps:
    return g.mean((1, 2), keepdims=True) * a


def _grad_cam_plus_plus(a: Maps, g: Maps) -> Maps:
    alpha = g**2 / nonzero(2 * g**2 + a.sum((1, 2), keepdims=True) * g**3 + PLUS_PLUS_EPS)
    return (alpha * relu(g)).sum((1, 2), keepdims=True) * a


def _xgrad_cam(a: Maps, g: Maps) -> Maps:
    return (g * a).sum((1, 2), keepdims=True) / nonzero(a.sum((1, 2), keepdims=True) + X_EPS) * a


# From A and g to what is added up over channels.
METHODS: dict[str, Callable[[Any, Any], jax.Array]] = {
    "grad_cam": _grad_cam,
    "grad_cam_plus_plus": _grad_cam_plus_plus,
    "xgrad_cam": _xgrad_cam,
    "hires_cam": lambda a, g: g * a,
    "grad_cam_elementwise": lambda a, g: relu(g * a),
    "layer_cam": lambda a, g: relu(g) * a,
    "eigen_cam": lambda a, g: principal(a),
    "eigen_grad_cam": lambda a, g: principal(g * a),
}
WITHOUT_GRADIENT = ("eigen_cam",)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _combine(method: str, per_channel: bool, a: Any, g: Any) -> jax.Array:
    parts = METHODS[method](a, g)
    return parts if per_channel else parts.sum(-1, keepdims=True)


def _cam(
    method: str, model: Model, images: Images, target: Any, layer: Layers, batch_size: int | None, per_channel: bool = False
) -> Attribution:
    query, gradient = ask(model, images, target), method not in WITHOUT_GRADIENT
    name, grid = cam_layer(query, layer, gradient=gradient)
    seen = values_and_gradients(query, (name,), batch_size, gradient=gradient)
    gradients = grid.maps(seen.gradients[name]) if gradient else None
    values = _combine(method, per_channel, grid.maps(seen.values[name]), gradients)
    return Attribution(values=values, scores=seen.scores, method=method, layer=name)


@method()
@several
def grad_cam(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: Layers = None,
    per_channel: bool = False,
    batch_size: int | None = None,
) -> Attribution:
    """Return `sum_k w_k A_k` with `w_k` the mean gradient over positions: Grad-CAM.

    Selvaraju et al. 2017, arXiv:1610.02391. `[B, h, w, 1]` on the layer's own grid, signed; the
    paper takes `attribution.relu` of it, and resizes bilinearly.

    Args:
        model, images, target, batch_size: see `jaxlens.attribution`.
        layer: maps `[H, W, C]`, or tokens `[T, C]`, which are put back in rows and columns. None
            takes the last layer on a grid all of which the target can see: the last features of a
            convolutional network, and the norm before the last attention of a transformer that
            reads a class token (after it, the patches have no gradient). A list of layers gives the
            mean of their maps, each rectified, scaled to [0, 1] and resized to the image,
            `[B, H, W, 1]`, as several target layers do in pytorch-grad-cam (which scales the mean
            once more).
        per_channel: return `[B, h, w, K]`, without the sum over channels (captum's
            `attr_dim_summation=False`).

    Raises:
        ValueError: for a layer without a grid, and for one whose positions the target cannot see;
            the error names layers that would do.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.grad_cam(model, images, 3)
        >>> found.layer, found.values.shape
        ('pool3', (2, 3, 4, 1))
        >>> heat = attribution.normalize(attribution.relu(found.values))
        >>> attribution.resize(heat, (24, 32)).shape
        (2, 24, 32, 1)
    """
    return _cam("grad_cam", model, images, target, layer, batch_size, per_channel)


@method()
@several
def grad_cam_plus_plus(
    model: Model, images: Images, target: TargetLike = None, *, layer: Layers = None, batch_size: int | None = None
) -> Attribution:
    """Return `sum_k w_k A_k` with `w_k = sum a relu(g)`: Grad-CAM++.

    `a = g**2 / (2 g**2 + sum(A_k) g**3 + 1e-6)` (Chattopadhay et al. 2018, arXiv:1710.11063). The
    1e-6 is pytorch-grad-cam's: where gradients are below a thousandth it sets the weights, and not
    the formula. xplique takes 1e-4, and means where this takes sums.

    Args:
        model, images, target, layer, batch_size: see `grad_cam`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.grad_cam_plus_plus(model, images, 3, layer="conv3").values.shape
        (2, 6, 8, 1)
    """
    return _cam("grad_cam_plus_plus", model, images, target, layer, batch_size)


@method()
@several
def xgrad_cam(
    model: Model, images: Images, target: TargetLike = None, *, layer: Layers = None, batch_size: int | None = None
) -> Attribution:
    """Return `sum_k w_k A_k` with gradients weighted by activation: XGrad-CAM.

    `w_k = sum(g A_k) / (sum(A_k) + 1e-7)` (Fu et al. 2020, arXiv:2008.02312). It is made for layers
    whose values are not negative: a channel whose values nearly cancel has a huge weight.

    Args:
        model, images, target, layer, batch_size: see `grad_cam`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.xgrad_cam(model, images, 3, layer="relu3").values.shape
        (2, 6, 8, 1)
    """
    return _cam("xgrad_cam", model, images, target, layer, batch_size)


@method()
@several
def hires_cam(
    model: Model, images: Images, target: TargetLike = None, *, layer: Layers = None, batch_size: int | None = None
) -> Attribution:
    """Return `sum_k g_k A_k` at each position: HiResCAM.

    Draelos and Carin 2020, arXiv:2011.08891. Values add up to the score less its bias where only
    one linear layer, or a pool and one, follows.

    Args:
        model, images, target, layer, batch_size: see `grad_cam`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.hires_cam(model, images, 3, layer="conv3").values.shape
        (2, 6, 8, 1)
    """
    return _cam("hires_cam", model, images, target, layer, batch_size)


@method()
@several
def grad_cam_elementwise(
    model: Model, images: Images, target: TargetLike = None, *, layer: Layers = None, batch_size: int | None = None
) -> Attribution:
    """Return `sum_k relu(g_k A_k)` at each position: HiResCAM of what speaks for the target only.

    As pytorch-grad-cam's GradCAMElementWise.

    Args:
        model, images, target, layer, batch_size: see `grad_cam`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.grad_cam_elementwise(model, images, 3, layer="conv3")
        >>> bool((found.values >= 0).all())
        True
    """
    return _cam("grad_cam_elementwise", model, images, target, layer, batch_size)


@method()
@several
def layer_cam(
    model: Model, images: Images, target: TargetLike = None, *, layer: Layers = None, batch_size: int | None = None
) -> Attribution:
    """Return `sum_k relu(g_k) A_k` at each position: LayerCAM, for early layers too.

    Jiang et al. 2021, doi:10.1109/TIP.2021.3089943.

    Args:
        model, images, target, layer, batch_size: see `grad_cam`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.layer_cam(model, images, 3, layer=["relu1", "relu3"]).values.shape
        (2, 24, 32, 1)
    """
    return _cam("layer_cam", model, images, target, layer, batch_size)


@method(values="levels")
@several
def eigen_cam(
    model: Model, images: Images, target: TargetLike = None, *, layer: Layers = None, batch_size: int | None = None
) -> Attribution:
    """Return the positions' first principal component over channels: EigenCAM.

    Muhammad and Yeasin 2020, arXiv:2008.00299. The map does not depend on the target, which is
    asked for its score and default layer only, and takes no gradient. Channels are centered, so
    that the map's mean is 0. A principal component leaves its sign open (pytorch-grad-cam's is
    random); here it is that of the correlation with the sum over channels.

    Args:
        model, images, target, layer, batch_size: see `grad_cam`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.eigen_cam(model, images, layer="relu3").values.shape
        (2, 6, 8, 1)
    """
    return _cam("eigen_cam", model, images, target, layer, batch_size)


@method(values="levels")
@several
def eigen_grad_cam(
    model: Model, images: Images, target: TargetLike = None, *, layer: Layers = None, batch_size: int | None = None
) -> Attribution:
    """Return the first principal component of `g A` over channels, with the sign of HiResCAM.

    As pytorch-grad-cam's EigenGradCAM. As in `eigen_cam`, channels are centered and the map's mean
    is 0.

    Args:
        model, images, target, layer, batch_size: see `grad_cam`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.eigen_grad_cam(model, images, 3, layer="relu3").values.shape
        (2, 6, 8, 1)
    """
    return _cam("eigen_grad_cam", model, images, target, layer, batch_size)


@method(values="levels")
@several
def random_cam(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: Layers = None,
    seed: Seed = 0,
    batch_size: int | None = None,
) -> Attribution:
    """Return `sum_k w_k A_k` with random weights, the control for class activation maps.

    Weights are drawn evenly from [-1, 1], the same for every image (pytorch-grad-cam). A map that
    is no better than this one owes what it shows to the activations.

    Args:
        model, images, target, layer, batch_size: see `grad_cam`.
        seed: an int or a JAX key.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.random_cam(model, images, layer="relu3", seed=1).values.shape
        (2, 6, 8, 1)
    """
    query = ask(model, images, target)
    name, grid = cam_layer(query, layer, gradient=False)
    seen = values_and_gradients(query, (name,), batch_size, gradient=False)
    maps = grid.maps(seen.values[name])
    weights = jax.random.uniform(as_key(seed), (1, 1, 1, maps.shape[-1]), maps.dtype, -1, 1)
    values = (weights * maps).sum(-1, keepdims=True)
    return Attribution(values=values, scores=seen.scores, method="random_cam", layer=name)


@method(values="sizes")
def guided_grad_cam(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: Layers = None,
    interpolation: Literal["bilinear", "nearest"] = "bilinear",
    allow: Iterable[str] = (),
    batch_size: int | None = None,
) -> Attribution:
    """Return guided backpropagation times the rectified Grad-CAM, at the image's size.

    Selvaraju et al. 2017, arXiv:1610.02391. `[B, H, W, C]`, at the input. The Grad-CAM in it is of
    the true gradient.

    Args:
        model, images, target, layer, batch_size: see `grad_cam`.
        interpolation: of the Grad-CAM: "bilinear" as in the paper, or "nearest" as in captum.
        allow: names of nonlinearities that may keep their own gradient; see `model.rules.guided`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.guided_grad_cam(model, images, 3, layer="relu3")
        >>> found.layer, found.values.shape
        ('input', (2, 24, 32, 3))
    """
    check_choice(interpolation, "interpolation", ("bilinear", "nearest"))
    query = ask(model, images, target)
    cam = grad_cam(model, images, query.target, layer=layer, batch_size=batch_size)
    guided = query.replace(model=model.with_gradient_rule(rules.guided(allow=allow)))
    _, gradient = gradients_of(guided, batch_size)
    values = gradient * resize(relu(cam.values), query.size, interpolation)
    return Attribution(values=values, scores=cam.scores, method="guided_grad_cam", layer=INPUT)
