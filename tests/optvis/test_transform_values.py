"""Transforms that change values, one that changes with the step, and arguments and images that are
refused.
"""

from inspect import unwrap  # off with the type checker that tests run under, to see our own message

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxlens.optvis import transform
from tests.optvis.transform_cases import H, W, numbers

# --- values ---


def test_blur_is_a_gaussian_that_does_not_darken_edges(images, key):
    def reference(x):
        return ndimage.gaussian_filter(x, (0, 1.7, 1.7, 0), mode="constant", radius=(0, 6, 6, 0))

    x = np.asarray(images, np.float64)
    np.testing.assert_allclose(transform.blur(1.7)(key, images), reference(x) / reference(np.ones_like(x)), atol=1e-5)


def test_noise_has_its_deviation_and_is_shared(key):
    zero = jnp.zeros((2, 80, 90, 3))
    for t, deviation in (
        (transform.noise(0.2), 0.2),
        (transform.noise(spread=0.3), 0.3 / 3**0.5),
        (transform.noise(0.1, 0.2), 0.1528),
    ):
        drawn = np.asarray(t(key, zero))
        assert abs(drawn.std() - deviation) < 0.02 * deviation and abs(drawn.mean()) < 0.01
        np.testing.assert_array_equal(drawn[0], drawn[1])


def test_flips(images):
    seen = {np.asarray(transform.flip(True, True)(jax.random.key(i), images)).tobytes() for i in range(40)}
    x = np.asarray(images)
    assert seen == {each.tobytes() for each in (x, x[:, ::-1], x[:, :, ::-1], x[:, ::-1, ::-1])}


def test_gamma(images, key):
    np.testing.assert_allclose(transform.gamma(1 / 2.2)(key, images), np.asarray(images) ** (1 / 2.2), rtol=1e-5)
    assert np.isfinite(jax.grad(lambda x: transform.gamma(0.5)(key, x).sum())(jnp.zeros((1, 3, 4, 3)))).all()


def test_color_jitter_changes_one_thing_at_a_time(images, key):
    x, luma = np.asarray(images, np.float64), np.array([0.299, 0.587, 0.114])
    bright = np.asarray(transform.color_jitter(brightness=0.5)(key, images)) / x
    assert bright.std() < 1e-5 and 0.5 <= bright.mean() <= 1.5 and abs(bright.mean() - 1) > 1e-3
    flat = np.asarray(transform.color_jitter(contrast=0.5)(key, images), np.float64)
    mean = (x @ luma).mean((1, 2))[:, None, None, None]
    ratio = (flat - mean) / (x - mean)
    assert ratio.std() < 1e-3 * abs(ratio.mean())
    pale = np.asarray(transform.color_jitter(saturation=0.5)(key, images), np.float64)
    np.testing.assert_allclose(pale @ luma, x @ luma, atol=1e-5)
    assert np.abs(pale - x).max() > 1e-2


def test_normalize_gradient(images, key):
    t = transform.normalize_gradient(2.0)
    np.testing.assert_array_equal(t(key, images), images)
    g = jax.grad(lambda x: jnp.square(t(key, x)).sum())(images)
    np.testing.assert_allclose(np.linalg.norm(g.reshape(2, -1), axis=1), 2, rtol=1e-5)
    np.testing.assert_allclose(g / np.abs(g).max(), images / images.max(), rtol=0.2)
    assert not np.asarray(jax.grad(lambda x: 0.0 * t(key, x).sum())(images)).any()


def test_collapse_alpha_random(key):
    rgba = numbers(2, H, W, 4)
    t = transform.collapse_alpha_random()
    behind = t(key, rgba.at[..., 3].set(0.0))
    np.testing.assert_allclose(behind[0], behind[1], atol=1e-6)  # one background for a task's images
    assert float(behind.std()) > 0.02 and float(behind.min()) >= 0 and float(behind.max()) <= 1
    np.testing.assert_allclose(t(key, rgba.at[..., 3].set(1.0)), rgba[..., :3], atol=1e-6)
    a = np.asarray(rgba[..., 3:])
    np.testing.assert_allclose(t(key, rgba), a * rgba[..., :3] + (1 - a) * behind, atol=1e-5)
    assert float(jnp.abs(t(jax.random.key(8), rgba) - t(key, rgba)).max()) > 0.05
    with pytest.raises(ValueError, match="3 channels, but 4 are needed"):
        t(key, rgba[..., :3])


def test_anneal_goes_from_one_to_the_other(images, key):
    first, last = (transform.random_boxes(2, 9, box) for box in ((0.4, 0.5), (0.1, 0.2)))
    moves = transform.compose([transform.per_image(transform.anneal(first, last, 8))])
    for step, want in ((0, (0.4, 0.5)), (2, (0.325, 0.425)), (8, (0.1, 0.2)), (50, (0.1, 0.2))):
        box = moves.at(jnp.uint32(step)).stages[0].inner.box
        np.testing.assert_allclose(box, want, rtol=1e-5)


# --- bad input ---


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: transform.jitter(0), ValueError, "d=0 must be an integer >= 1"),
        (lambda: unwrap(transform.jitter)(1.5), TypeError, "d=1.5"),
        (lambda: transform.pad(-1), ValueError, "w=-1"),
        (lambda: transform.pad(2, "mirror"), ValueError, "mode='mirror' is unknown; use one of .*reflect"),
        (lambda: transform.pad(2, "constant", "random"), ValueError, "constant_value='random'.*'uniform'"),
        (lambda: transform.random_scale([]), ValueError, r"scales=\[\] must be a non-empty list"),
        (lambda: transform.random_scale([1, 0]), ValueError, r"scales=\[1, 0\] must all be positive"),
        (lambda: transform.random_scale(transform.uniform(-1, 1)), ValueError, r"scales=uniform\(-1.0, 1.0\)"),
        (lambda: unwrap(transform.random_scale)(1.1), ValueError, "scales=1.1 must be a non-empty list"),
        (lambda: unwrap(transform.random_scale)(["big"]), TypeError, "scales="),
        (lambda: unwrap(transform.random_scale)([1], fill="grey"), ValueError, "fill='grey'"),
        (lambda: transform.random_rotate([np.nan]), ValueError, "angles=.* finite"),
        (lambda: transform.random_rotate([1], "turns"), ValueError, "units='turns' is unknown.*radians"),
        (lambda: transform.uniform(2, 1), ValueError, "low=2.0 must be less than high=1.0"),
        (lambda: transform.resize(0, 5), ValueError, "height=0"),
        (lambda: unwrap(transform.crop_or_pad_to)(5, "5"), TypeError, "width='5'"),
        (lambda: unwrap(transform.compose)(transform.jitter(2)), TypeError, "in a list"),
        (lambda: unwrap(transform.compose)([8]), TypeError, r"transforms\[0\]=8 is not a transform"),
        (lambda: transform.compose([transform.jitter]), TypeError, "call factories"),
        (lambda: transform.compose([lambda x: x * 255]), TypeError, "lambda key, images"),
    ],
)
def test_errors_at_construction(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ("t", "shape", "match"),
    [
        (transform.jitter(4), (H, W, 3), "add the batch axis|Add the batch axis"),
        (transform.random_scale([1]), (H, W), "random_scale got images of shape"),
        (transform.jitter(H), (1, H, W, 3), "jitter d=21 leaves nothing of images of 21x31"),
        (transform.pad(H), (1, H, W, 3), "pad w=21 with mode='reflect'.*w <= 20"),
    ],
)
def test_errors_at_the_call(t, shape, match, key):
    with pytest.raises(ValueError, match=match):
        t(key, jnp.zeros(shape))


def test_integers_are_refused(key):
    with pytest.raises(TypeError, match="uint8.*/ 255"):
        transform.resize(4, 5)(key, jnp.zeros((1, H, W, 3), jnp.uint8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: transform.preset("lucids"), "name='lucids' is not a preset. Closest: lucid"),
        (lambda: transform.noise(), "one must be above 0"),
        (lambda: transform.noise(-1), "must not be negative"),
        (lambda: transform.blur(0), "sigma=0 must be above 0"),
        (lambda: transform.flip(False), "a flip of nothing"),
        (lambda: transform.gamma([1, -2]), "power=.* must be above 0"),
        (lambda: transform.color_jitter(), "one must be above 0"),
        (lambda: transform.normalize_gradient(0), "grad_scale=0 must be above 0"),
        (lambda: transform.random_boxes(2, 8, (0.4, 0.2)), "two fractions of the image in ascending order"),
        (lambda: transform.random_boxes(0, 8), "count=0"),
        (lambda: transform.random_crop(0), "height=0"),
        (
            lambda: transform.random_crop(40)(jax.random.key(0), jnp.zeros((1, 30, 50, 3))),
            "40x40 does not fit",
        ),
        (lambda: transform.collapse_alpha_random(-1), "sd=-1.0 must not be negative"),
    ],
)
def test_new_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
