# pyright: strict
"""What a user may write: no error for the type checker. It is read, not run."""

import jax
import numpy as np

import jaxlens
from jaxlens import attribution, recipes
from jaxlens.optvis import objectives, param, render, transform

model = jaxlens.modelzoo.load("lensnet")
photos = np.zeros((2, 64, 48, 3), np.float32)
logits = model(photos)
values = jaxlens.activations(model, photos, ["mixed4a"])["mixed4a"]
result = render.render(
    model,
    objectives.channel("mixed4a", range(8)),
    size=(64, 48),
    steps=8,
    seed=jax.random.key(1),
    transforms=[transform.jitter(4)],
    batch_size=4,
    thresholds=(1, 8),
)
more = recipes.diversity(model, "mixed4a:3", "mixed4a", count=3, steps=8, batch_size=2, seed=3)
dream = recipes.deepdream(model, photos[0], ["mixed4a"], octaves=2, compute_dtype="bfloat16")
maps = attribution.integrated_gradients(model, photos, "letter-A", steps=20, batch_size=16, quadrature="middle")
noisy = attribution.smooth_grad(model, photos, [0, 1], samples=8, seed=2)
print(result.images.shape, result.scores.mean(), more.names, dream.finished, maps.values.shape, maps.delta, noisy.scores)
other = jaxlens.Model.from_function(lambda params, x: x.mean((1, 2)) @ params, np.eye(3), input_size=(8, 8), name="mean")
q = param.to_valid_rgb(param.fft_image((1, 24, 32, 3)), decorrelate=True)
print(model.layers["mixed4a"].channels, other.name, logits.shape, values.dtype, param.image(64).shape, jaxlens.__version__)


def darken(key: jax.Array, x: jax.Array) -> jax.Array:
    return x * jax.random.uniform(key)


several = transform.compose([transform.pad(4, "constant", 0.5), darken, transform.random_scale([0.9, 1]), transform.identity])
starts = param.each([param.image(init=photo) for photo in photos])
wrapped = param.masked(param.grayscale(param.image(48, 64, channels=1)), photos, np.ones((64, 48)))
fitted = param.starting_at(param.cppn(48, 64), photos[0], steps=2)
own = param.from_functions(lambda key: jax.random.normal(key, (1, 8, 8, 3)), jax.nn.sigmoid)
colors = param.to_valid_rgb(np.zeros((2, 3)))
axes = param.image(8, decorrelate=param.color.i1i2i3)
slow = transform.anneal(transform.random_boxes(2, 8), transform.random_boxes(2, (8, 8), (0.1, 0.2)), 8)
turn = transform.random_rotate(range(-10, 11)), transform.blur(transform.uniform(0.5, 1)), transform.gamma(0.5)
shown = render.render(model, "mixed4a:3", param=fitted, transforms=[darken, several, slow])
print(
    starts.count, wrapped.shape, own.shape, colors.shape, axes.shape, turn, shown.names, transform.preset("lucid", 64), q.shape
)
