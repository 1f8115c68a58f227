"""Transforms: one contract for all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens.optvis import transform
from jaxlens.optvis.transform import _preset
from tests.helpers import mostly_slow
from tests.optvis.transform_cases import H, W, apply, numbers, quick_jit


def flip_sometimes(key, images):
    """A user's transform: a plain function."""
    return jnp.where(jax.random.bernoulli(key), images, images[:, :, ::-1])


FIXED = {
    "pad_reflect": lambda: transform.pad(3),
    "pad_constant": lambda: transform.pad(2, mode="constant", constant_value=0.3),
    "pad_edge": lambda: transform.pad(2, "REPLICATE"),
    "pad_wrap": lambda: transform.pad(2, "circular"),
    "resize_up": lambda: transform.resize(40, 36),
    "resize_down": lambda: transform.resize(9, 17),
    "crop_or_pad_to": lambda: transform.crop_or_pad_to(12, 40),
    "identity": lambda: transform.compose([transform.identity]),
    "blur": lambda: transform.blur(1.3),
}
RANDOM = {
    "pad_uniform": lambda: transform.pad(2, "constant", "uniform"),
    "jitter": lambda: transform.jitter(4),
    "scale": lambda: transform.random_scale([0.9, 1.0, 1.1]),
    "scale_by_any": lambda: transform.random_scale(transform.uniform(0.5, 4.0)),  # takes the scatter gradient
    "rotate": lambda: transform.random_rotate(range(-10, 11)),
    "rotate_by_any": lambda: transform.random_rotate(transform.uniform(-3, 3), units="radians", fill=0),
    "compose": lambda: transform.compose([*transform.standard_transforms, transform.identity]),
    "per_image": lambda: transform.per_image(transform.jitter(5)),
    "user": lambda: transform.compose([flip_sometimes]),
    "blur_by_any": lambda: transform.blur(transform.uniform(0.5, 2)),
    "noise": lambda: transform.noise(0.08, 0.04),
    "flip": lambda: transform.flip(True, True),
    "color_jitter": lambda: transform.color_jitter(0.2, 0.3, 0.4),
    "random_crop": lambda: transform.random_crop(9, 14),
    "random_boxes": lambda: transform.random_boxes(3, (13, 17), (0.3, 0.9)),
    "roll": lambda: transform.roll(),
    "anneal": lambda: transform.anneal(transform.random_boxes(2, 9, (0.4, 0.5)), transform.random_boxes(2, 9, (0.1, 0.2)), 8),
    "random_boxes_inside": lambda: transform.random_boxes(2, 40, (0.2, 0.25), None),
}
EVERY = {**FIXED, **RANDOM}
every_transform = pytest.mark.parametrize("name", EVERY)


@quick_jit
def apply_to_tasks(t, keys, images):
    return jax.vmap(t)(keys, images)


@quick_jit
def sum_and_gradient(t, key, images, weights):
    return jax.value_and_grad(lambda x: jnp.vdot(t(key, x), weights))(images)


# --- the contract ---


@pytest.mark.parametrize("name", mostly_slow(EVERY, [*EVERY][::3]))
def test_repeats_itself_and_is_the_same_compiled(name, images, key):
    compiled = apply(EVERY[name](), key, images)
    assert np.isfinite(compiled).all()
    np.testing.assert_array_equal(apply(EVERY[name](), key, images), compiled)
    if name not in ("compose", "scale", "rotate_by_any"):  # made of the same parts, and slow without jit
        np.testing.assert_allclose(EVERY[name]()(key, images), compiled, atol=1e-5)


@pytest.mark.slow
@every_transform
def test_keeps_dtype(name, images, key):
    t, x = EVERY[name](), images.astype(jnp.bfloat16)
    full, half = apply(t, key, images), apply(t, key, x)
    assert (full.dtype, half.dtype) == (jnp.float32, jnp.bfloat16)
    assert half.shape == full.shape
    np.testing.assert_allclose(np.float32(half), full, atol=2e-2)


@pytest.mark.slow
@every_transform
def test_vmap_over_tasks_is_a_loop(name, key):
    t = EVERY[name]()
    keys, x = jax.random.split(key, 3), numbers(3, 2, H, W, 3)
    alone = np.stack([apply(t, k, images) for k, images in zip(keys, x, strict=True)])
    np.testing.assert_allclose(apply_to_tasks(t, keys, x), alone, atol=1e-5)


@pytest.mark.parametrize("name", RANDOM)
def test_other_keys_give_other_results(name, images):
    drawn = [np.asarray(apply(RANDOM[name](), jax.random.key(seed), images)) for seed in range(8)]
    assert len({d.tobytes() for d in drawn}) > 1
    assert len({d.shape for d in drawn}) == 1


@every_transform
def test_gradient_is_the_exact_adjoint(name, images, key):
    t = EVERY[name]()
    mapped, of_zero = (np.asarray(apply(t, key, x)) for x in (images, np.zeros_like(images)))
    linear = np.float64(mapped) - of_zero  # all are affine in the image
    weights = np.asarray(numbers(*linear.shape)) - 0.5
    gradient = np.float64(sum_and_gradient(t, key, images, weights)[1])
    scale = np.linalg.norm(linear) * np.linalg.norm(weights)
    assert scale > 1
    assert abs(np.vdot(linear, weights) - np.vdot(images, gradient)) < 1e-6 * scale


def test_keeps_float32_under_x64(images, key):
    t = EVERY["compose"]()
    weights = np.ones_like(apply(t, key, images))
    with jax.enable_x64(True):
        value, gradient = sum_and_gradient(t, key, np.asarray(images), weights)
    assert value.dtype == gradient.dtype == jnp.float32


def test_equal_lists_share_one_program(images, key):
    traces = []

    @jax.jit
    def run(t, key, images):
        traces.append(t)
        return t(key, images)

    def build(d):
        return transform.compose([transform.pad(4), transform.jitter(d), flip_sometimes, transform.random_rotate([1, 2])])

    run(build(2), key, images)
    run(build(2), jax.random.key(9), images)
    assert len(traces) == 1
    run(build(3), key, images)
    assert len(traces) == 2  # the counter counts


def test_one_draw_for_the_images_of_a_call(key):
    image = numbers(1, H, W, 3)
    pair = jnp.concatenate([image] * 6)
    shared = transform.jitter(5)(key, pair)
    assert bool((shared == shared[:1]).all())
    own = apply(transform.per_image(transform.jitter(5)), key, pair)
    assert not bool((own == own[:1]).all())
    fewer = apply(transform.per_image(transform.jitter(5)), key, pair[:2])
    np.testing.assert_array_equal(own[:2], fewer)  # neighbours do not matter


@pytest.mark.parametrize("name", sorted(_preset.PRESETS))
def test_presets_run_on_small_and_oblong_images(name, key):
    out = jax.eval_shape(transform.compose(transform.preset(name, 64)), key, jax.ShapeDtypeStruct((1, 72, 90, 3), jnp.float32))
    assert out.shape[-1] == 3 and min(out.shape[1:3]) > 8
    assert all(isinstance(t, transform.Transform) for t in transform.preset(name))
    transform.preset(name).clear()  # a list of one's own
    assert transform.preset(name)
