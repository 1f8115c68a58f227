"""Numbers that make no picture are refused where they are given, in words: they made NaN, or
nothing, or no end.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens.optvis import objectives, param, transform
from tests.helpers import images

A = np.asarray(images(2, (6, 7)))
NAN = float("nan")

CASES = {
    "a border of nothing": (lambda: objectives.penalize_boundary_complexity((1, 6, 7, 3), w=-1), "w=-1 must be"),
    "a border of NaN": (lambda: objectives.penalize_boundary_complexity((1, 6, 7, 3), w=NAN), "w=nan must be"),
    "a shape of three": (lambda: objectives.penalize_boundary_complexity((6, 7, 3)), r"shp=\(6, 7, 3\) must be"),
    "an image with itself": (
        lambda: objectives.l1_compare("a", batch=0, comp_batch=0),
        "comp_batch=0 are one image",
    ),
    "a cosine with itself": (lambda: objectives.cossim_compare("a", batch=1, comp_batch=1), "are one image"),
    "a difference with itself": (lambda: objectives.activation_difference("a", difference_to=0), "are one image"),
    "no channel": (lambda: objectives.channel("a", None), "n_channel=None must be an integer"),
    "a channel of 2**70": (lambda: objectives.channel("a", 2**70), "n_channel=1180591620717411303424"),
    "a constant of text": (lambda: objectives.L1("a", constant="x"), "constant='x' must be a number"),
    "a constant of NaN": (lambda: objectives.L2("a", constant=NAN), "constant=nan must be finite"),
    "a vector of NaN": (lambda: objectives.direction("a", np.full(4, NAN)), "vec=.*must be finite"),
    "an endless power": (lambda: objectives.direction("a", np.ones(4), float("inf")), "cossim_pow=inf must be finite"),
    "a weight of NaN": (lambda: NAN * objectives.channel("a", 1), "must be finite"),
    "a division by nothing": (lambda: objectives.channel("a", 1) / 0, "cannot be divided by 0"),
    "a decay that grows": (lambda: objectives.alignment("a", decay_ratio=-1), "decay_ratio=-1 must be above 0"),
    "a negative image": (lambda: objectives.deepdream("a", batch=-1), "batch=-1 must be"),
    "no layer": (lambda: objectives.deepdream(None), "layer=None must be the name of a layer"),
    "no layers": (lambda: objectives.style([]), r"layers=\[\] is empty"),
    "no loss": (lambda: objectives.style("a", loss_f=None), "loss_f=None must be a function"),
    "the mean of NaN": (lambda: objectives.mean_L1(jnp.array([NAN]), jnp.zeros(1)), "a holds NaN"),
    "the distance to NaN": (lambda: objectives.mean_L2(jnp.zeros(1), jnp.array([NAN])), "b holds NaN"),
    "a gram of NaN": (lambda: objectives.gram(jnp.full((1, 2, 2, 3), NAN)), "a holds NaN"),
    "colours of NaN": (lambda: param.color.to_rgb(jnp.full((2, 3), NAN)), "t holds NaN"),
    "colours back of NaN": (lambda: param.color.from_rgb(jnp.full((2, 3), NAN)), "rgb holds NaN"),
    "squashed NaN": (lambda: param.to_valid_rgb(jnp.full((2, 3), NAN)), "t holds NaN"),
    "a steep spectrum": (lambda: param.fft_image((1, 6, 7, 3), decay_power=1e9), "decay_power=1000000000.0 must be"),
    "an endless start": (lambda: param.fft_image((1, 6, 7, 3), sd=1e30), "sd=1e.30 must be"),
    "a spectrum of no width": (lambda: param.natural_spectrum(6, -1), "w=-1 must be"),
    "a network of no height": (lambda: param.cppn(16, h=0), "h=0 must be"),
    "images of no height": (lambda: param.aligned(16, h=0), "h=0 must be"),
    "phases of no height": (lambda: param.fourier_phase(h=0, init=A[0]), "h=0 must be"),
    "an image of 2**70": (lambda: param.image(2**70), "w=1180591620717411303424 must be"),
    "an image of terabytes": (lambda: param.image(2**14, batch=2**14), "numbers"),
    "each of nothing": (lambda: param.each(3), "params=3 must be a list"),
    "each of other things": (lambda: param.each([1, 2]), "params=1 must be a parameterization"),
    "each inside": (
        lambda: param.beside(param.each([param.image(init=a) for a in A]), A[0]),
        "inner is a param.each",
    ),
    "a ball of NaN": (lambda: param.ball(A, NAN), "radius=nan must be"),
    "a mask of NaN": (lambda: param.masked(param.image(7, 6), A[0], np.full((6, 7), NAN)), "mask holds NaN"),
    "a fit of ages": (lambda: param.starting_at(param.cppn(7, 6), A[0], steps=2**70), "steps=1180591620717411303424 must be"),
    "a pad of 2**70": (lambda: transform.pad(2**70), "w=1180591620717411303424 must be"),
    "a resize to 1e6": (lambda: transform.resize(10**6, 8), "height=1000000 must be"),
    "boxes of three": (lambda: transform.random_boxes(2, 8, (0.1, 0.2, 0.3)), "box=.*2 numbers"),
    "a blur of text": (lambda: transform.blur("x"), "sigma='x' must be"),
    "noise of infinity": (lambda: transform.noise(1e300), "must be finite numbers"),
    "an anneal of nothing": (
        lambda: transform.anneal(object(), transform.random_boxes(1, 8), 3),
        "first=.*must be a function, such as random_boxes",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_makes_no_picture_is_refused_in_words(name):
    call, message = CASES[name]
    with pytest.raises((TypeError, ValueError, ZeroDivisionError), match=message):
        call()


def test_numbers_of_one_task_each_are_still_a_batch_and_masks_are_weights():
    weights = np.array([1.0, -2.0])
    assert (objectives.channel("a", [0, 1]) * weights).weight.shape == (2,)
    mask = np.array([True, False, True])
    assert objectives.channel_weight("a", mask).weight.tolist() == [1, 0, 1]
    traced = jax.jit(lambda c: objectives.L1("a", c)({"a": jnp.ones((1, 2, 2, 3))}))(0.25)
    assert float(traced) == pytest.approx(0.75 * 12)


@pytest.mark.slow
@pytest.mark.parametrize(("sigma", "size"), [(100.0, (16, 5)), (1e9, (6, 7)), (0.7, (9, 8))])
def test_a_blur_wider_than_the_image_is_exact(sigma, size):
    """Against a product with the matrix of all distances, each row of sum 1."""
    x = np.asarray(images(1, size))
    found = np.asarray(transform.blur(sigma)(jax.random.key(0), jnp.asarray(x)))
    want = x
    for axis, n in ((1, size[0]), (2, size[1])):
        matrix = np.exp(-0.5 * ((np.arange(n)[:, None] - np.arange(n)) / sigma) ** 2)
        matrix[np.abs(np.arange(n)[:, None] - np.arange(n)) > np.ceil(3 * sigma)] = 0
        want = np.moveaxis(np.tensordot(matrix / matrix.sum(1, keepdims=True), want, (1, axis)), 0, axis)
    np.testing.assert_allclose(found, want, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_aligned_images_have_any_number_of_channels(channels):
    p = param.aligned(14, 12, batch=2, channels=channels)
    drawn = np.asarray(p.to_image(p.init(jax.random.key(0))))
    assert drawn.shape == p.shape == (2, 12, 14, channels) and np.isfinite(drawn).all()
    assert np.corrcoef(drawn[0].ravel(), drawn[1].ravel())[0, 1] > 0.2  # they share their coarse structure
