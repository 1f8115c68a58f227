"""Class activation maps weighted by scores instead of gradients: Score-CAM and Ablation-CAM."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlens._checks import check_choice, check_int
from jaxlens._pytree import field, pytree
from jaxlens._types import Images
from jaxlens.attribution._layers import scores_of, values_and_gradients
from jaxlens.attribution._maps import normalize, resize
from jaxlens.attribution._query import Query, ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import BaselineLike, TargetLike
from jaxlens.attribution.cam._default_layer import cam_layer
from jaxlens.attribution.cam._several import Layers, several
from jaxlens.attribution.perturbation._masked import masked_scores
from jaxlens.model import Model


@pytree
class ChannelMasks:
    """Masks from channels: number s shows where an image's s-th channel is high.

    A mask is the channel, resized to the image and brought to [0, 1].
    """

    maps: Float[Array, "b h w k"]

    def masks(self, query: Query, image: jax.Array, number: jax.Array) -> Float[Array, "n h w 1"]:
        chosen = self.maps[image, :, :, number][..., None]
        return normalize(resize(chosen, query.size))


@pytree
class WithoutChannel:
    """Masks that ablate a channel: number s puts the baseline in place of `channels[image, s]`.

    They do so at every position.
    """

    channels: Int[Array, "b s"]
    total: int = field(static=True)

    def masks(self, query: Query, image: jax.Array, number: jax.Array) -> Any:
        keep = 1 - jax.nn.one_hot(self.channels[image, number], self.total)
        return keep.reshape(len(image), *(1,) * (query.values.ndim - 2), self.total)


@method()
@several
def score_cam(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: Layers = None,
    baseline: BaselineLike = None,
    weights: Literal["softmax", "increase"] = "softmax",
    channels: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return `sum_k w_k A_k`, `w_k` from the score of the image seen through channel k: Score-CAM.

    Wang et al. 2020, arXiv:1910.01279. `[B, h, w, 1]`, as `grad_cam`. Each channel is resized to
    the image bilinearly and brought to [0, 1] (a constant one to 0): the mask m of
    `m x + (1 - m) x'`. It takes one evaluation per channel and no gradient.

    Args:
        model, images, target, layer, batch_size: see `grad_cam`. Scores go through a softmax as
            they are. Of logits, as in pytorch-grad-cam, the largest of a few dozen takes all the
            weight.
        baseline: what is behind the mask; black by default. pytorch-grad-cam multiplies the
            normalized image, so that its baseline is the mean color. It also resizes with
            `align_corners=True`, which the paper's code does not.
        weights: "softmax" of the scores over channels (the paper's algorithm 1; it subtracts the
            baseline's score, which cancels), or the "increase" over the baseline's score itself
            (its definition 3).
        channels: use only so many of each image's channels, those of the largest mean `|A_k|`; None
            for all.
        progress: show a bar when it takes longer than two seconds.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.score_cam(model, images, 3, layer="relu3", channels=8).values.shape
        (2, 6, 8, 1)
    """
    check_choice(weights, "weights", ("softmax", "increase"))
    query = ask(model, images, target, baseline=baseline)
    name, grid = cam_layer(query, layer, gradient=False)
    seen = values_and_gradients(query, (name,), batch_size, gradient=False)
    maps = grid.maps(seen.values[name])
    maps = jnp.take_along_axis(maps, most_active(maps, channels)[:, None, None], axis=3)
    found = masked_scores(
        query, ChannelMasks(maps=maps), maps.shape[3], batch_size=batch_size, progress=progress, label="Score-CAM"
    )
    start = None
    if weights == "increase":
        start = scores_of(query, query.baseline, batch_size)
        found = found - start[:, None]
    else:
        found = jax.nn.softmax(found, axis=1)
    values = weighted(maps, found)
    return Attribution(values=values, scores=seen.scores, baseline_scores=start, method="score_cam", layer=name)


@method()
@several
def ablation_cam(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: Layers = None,
    channels: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return `sum_k w_k A_k` with `w_k = (y - y_k) / |y|`, `y_k` without channel k: Ablation-CAM.

    Desai and Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360. `[B, h, w, 1]`, as `grad_cam`. y
    is the score, `y_k` the score with channel k at 0. It takes one evaluation per channel and no
    gradient.

    The paper divides by y. For y < 0 that turns the map round, and what speaks for the target comes
    out negative. With `|y|` positive values always speak for it, and nothing changes where y > 0.
    pytorch-grad-cam divides by y, and puts -1e7 in place of 0 at layers that have negative values.

    Args:
        model, images, target, layer, batch_size: see `grad_cam`. In layers of tokens the channel is
            0 at all of them, class token included.
        channels: use only so many of each image's channels, those of the largest mean `|A_k|`; the
            others have weight 0.
        progress: show a bar when it takes longer than two seconds.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.ablation_cam(model, images, 3, layer="relu3", channels=8).values.shape
        (2, 6, 8, 1)
    """
    query = ask(model, images, target)
    name, grid = cam_layer(query, layer, gradient=False)
    seen = values_and_gradients(query, (name,), batch_size, gradient=False)
    values, maps = seen.values[name], grid.maps(seen.values[name])
    chosen = most_active(maps, channels)
    there = query.replace(layer=name, values=values, baseline=jnp.zeros_like(values))
    masks = WithoutChannel(channels=chosen, total=maps.shape[3])
    without = masked_scores(there, masks, chosen.shape[1], batch_size=batch_size, progress=progress, label="Ablation-CAM")
    size = jnp.abs(seen.scores)
    weights = (seen.scores[:, None] - without) / jnp.where(size > 0, size, 1)[:, None]
    maps = jnp.take_along_axis(maps, chosen[:, None, None], axis=3)
    return Attribution(values=weighted(maps, weights), scores=seen.scores, method="ablation_cam", layer=name)


def most_active(maps: Float[Array, "b h w k"], channels: int | None) -> Int[Array, "b s"]:
    """Return the channels to look at, for each image."""
    count, total = maps.shape[0], maps.shape[3]
    if channels is None:
        return jnp.broadcast_to(jnp.arange(total), (count, total))
    return jax.lax.top_k(jnp.abs(maps).mean((1, 2)), check_int(channels, "channels", low=1, high=total))[1]


def weighted(maps: Float[Array, "b h w s"], weights: Float[Array, "b s"]) -> Float[Array, "b h w 1"]:
    """Return the sum of weighted maps."""
    return (maps * weights[:, None, None]).sum(-1, keepdims=True)
