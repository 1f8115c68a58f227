"""Transforms: one contract for all of them, and the geometry of each against an independent implementation."""

import functools
import warnings
from inspect import unwrap  # off with the type checker that tests run under, to see our own message

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxlens.optvis import transform
from jaxlens.optvis.transform import _preset, _resample

H, W = 21, 31  # never square; both odd, so that a centre pixel exists


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


def numbers(*shape):
    """Data in [0, 1]; from NumPy, because compiling a `jax.random` draw takes a second for every shape."""
    return jnp.asarray(np.random.default_rng(7).random(shape, np.float32))


@pytest.fixture
def images():
    return numbers(2, H, W, 3)


@pytest.fixture
def key():
    return jax.random.key(3)


def smooth(h=H, w=W):
    """A pattern that linear interpolation reproduces to about 1e-2."""
    y, x = np.mgrid[:h, :w]
    waves = [np.sin(x / 5 + c) * np.cos(y / 6 - c) for c in range(3)]
    return jnp.asarray(np.stack(waves, -1)[None] * 0.4 + 0.5, jnp.float32)


# Most of this file's time is compilation; without LLVM's optimizations it takes half as long.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@quick_jit
def apply(t, key, images):
    """Compiled once per kind of transform for the whole file: transforms are pytrees."""
    return t(key, images)


@quick_jit
def apply_to_tasks(t, keys, images):
    return jax.vmap(t)(keys, images)


@quick_jit
def sum_and_gradient(t, key, images, weights):
    return jax.value_and_grad(lambda x: jnp.vdot(t(key, x), weights))(images)


# --- the contract ---


@every_transform
def test_repeats_itself_and_is_the_same_compiled(name, images, key):
    compiled = apply(EVERY[name](), key, images)
    assert np.isfinite(compiled).all()
    np.testing.assert_array_equal(apply(EVERY[name](), key, images), compiled)
    if name not in ("compose", "scale", "rotate_by_any"):  # made of the same parts, and slow without jit
        np.testing.assert_allclose(EVERY[name]()(key, images), compiled, atol=1e-5)


@every_transform
def test_keeps_dtype(name, images, key):
    t, x = EVERY[name](), images.astype(jnp.bfloat16)
    full, half = apply(t, key, images), apply(t, key, x)
    assert (full.dtype, half.dtype) == (jnp.float32, jnp.bfloat16)
    assert half.shape == full.shape
    np.testing.assert_allclose(np.float32(half), full, atol=2e-2)


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


# --- scale and rotation ---


def reference(images, scale, degrees, fill):
    """Bilinear resampling by SciPy; counter-clockwise as displayed, that is from +x towards -y."""
    a, (_, h, w, _) = np.deg2rad(degrees), images.shape
    y, x = np.mgrid[:h, :w] - np.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
    points = np.stack([np.cos(a) * y + np.sin(a) * x, -np.sin(a) * y + np.cos(a) * x]) / scale
    points += np.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
    planes = np.moveaxis(np.asarray(images, np.float64), -1, 1).reshape(-1, h, w)
    out = [ndimage.map_coordinates(p, points, order=1, mode="grid-constant", cval=fill) for p in planes]
    return np.moveaxis(np.reshape(out, (-1, images.shape[-1], h, w)), 1, -1)


@pytest.mark.parametrize("degrees", [0, 7, -33, 45, 90, 135, 180, -270, 360])
def test_rotation_is_bilinear(degrees, images, key):
    turned = transform.random_rotate([degrees], fill=0.25)(key, images)
    np.testing.assert_allclose(turned, reference(images, 1, degrees, 0.25), atol=2e-5)
    radians = transform.random_rotate([np.deg2rad(degrees)], "radians", fill=0.25)(key, images)
    np.testing.assert_allclose(radians, turned, atol=1e-5)


@pytest.mark.parametrize("scale", [0.4, 0.9, 1, 1.1, 2, 5])
def test_scaling_is_bilinear(scale, images, key):
    scaled = transform.random_scale([scale], fill=1)(key, images)
    np.testing.assert_allclose(scaled, reference(images, scale, 0, 1), atol=2e-5)


def test_right_angles_by_hand(images, key):
    def turn(degrees):
        return transform.random_rotate([degrees])(key, images)

    cut = (W - H) // 2
    np.testing.assert_allclose(turn(0), images, atol=1e-6)
    np.testing.assert_allclose(turn(180), images[:, ::-1, ::-1], atol=2e-5)
    quarter = np.rot90(images[:, :, cut:-cut], axes=(1, 2))
    np.testing.assert_allclose(turn(90)[:, :, cut:-cut], quarter, atol=2e-5)
    assert float(np.abs(turn(-90)[:, :, cut:-cut] - quarter).max()) > 0.1  # the direction is tested
    np.testing.assert_allclose(turn(90)[:, :, : cut - 1], 0.5, atol=1e-6)  # grey, where the canvas has nothing


def test_turns_as_lucent_does(key):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lucent = pytest.importorskip("lucent.optvis.transform")
    x = smooth()
    theirs = lucent.random_rotate([20])(torch.from_numpy(np.moveaxis(np.asarray(x), -1, 1).copy()))
    theirs = np.moveaxis(theirs.numpy(), 1, -1)
    ours, wrong = (transform.random_rotate([a], fill=0)(key, x) for a in (20, -20))
    inner = np.s_[:, 6:-6, 10:-10]
    assert np.abs(ours[inner] - theirs[inner]).max() < 0.05  # an older kornia samples half a pixel away
    assert np.abs(wrong[inner] - theirs[inner]).max() > 0.2


def test_scale_then_rotation_is_one_interpolation(key):
    x = smooth()
    scale, turn = transform.random_scale([0.9]), transform.random_rotate([12])
    composed = transform.compose([scale, turn])(key, x)
    np.testing.assert_allclose(composed, reference(x, 0.9, 12, 0.5), atol=2e-5)
    two_steps = turn(jax.random.fold_in(key, 1), scale(jax.random.fold_in(key, 0), x))
    inner = np.s_[:, 4:-4, 5:-5]
    np.testing.assert_allclose(composed[inner], two_steps[inner], atol=0.02)
    there_and_back = [transform.random_scale([2.0]), transform.random_scale([0.5])]
    np.testing.assert_allclose(transform.compose(there_and_back)(key, x), x, atol=1e-6)
    apart = [there_and_back[0], transform.random_scale([0.5], fill=0)]  # another colour: not one interpolation
    assert float(np.abs(transform.compose(apart)(key, x) - x).max()) > 0.1


def test_composed_draws_are_those_of_the_stages(images, key):
    stages = [transform.jitter(3), transform.random_rotate(range(9)), transform.pad(2, "constant", "uniform")]
    want = images
    for i, stage in enumerate(stages):
        want = apply(stage, jax.random.fold_in(key, i), want)
    np.testing.assert_allclose(apply(transform.compose(stages), key, images), want, atol=1e-5)


@pytest.mark.parametrize(("scale", "degrees"), [(1.0, 0.0), (1.1, 10.0), (1.6, -135.0)])
def test_the_gather_gradient_is_the_scatter_gradient(scale, degrees, key):
    a = np.deg2rad(degrees)
    forward = jnp.asarray([scale * np.cos(a), scale * np.sin(a)], jnp.float32)
    backward = jnp.asarray([np.cos(a) / scale, np.sin(a) / scale], jnp.float32)
    planes, weights = numbers(2, H, W, 3) - 0.5
    (want,) = quick_jit(lambda x, g: jax.vjp(lambda x: _resample._warp(x, backward), x)[1](g))(planes, weights)
    adjoint = quick_jit(_resample._warp_adjoint, static_argnums=0)
    reach = int(np.ceil(2 * scale * (abs(np.cos(a)) + abs(np.sin(a)))))
    np.testing.assert_allclose(adjoint(reach, weights, backward, forward), want, atol=1e-5)
    short = adjoint(reach - 1, weights, backward, forward)
    assert degrees == 0 or np.abs(short - want).max() > 0.02  # one target less per axis is seen


def test_draws_cover_choices_and_intervals():
    def draws(source):
        return jax.lax.map(lambda i: source.draw(jax.random.fold_in(jax.random.key(0), i)), jnp.arange(400))

    drawn = draws(transform.random_rotate([1, 2, 2, 2]).angles)
    assert set(np.unique(drawn)) == {1.0, 2.0}
    assert abs(float((drawn == 2).mean()) - 0.75) < 0.1
    drawn = draws(transform.uniform(-2, 6))
    assert -2 <= float(drawn.min()) < -1.8 < 5.8 < float(drawn.max()) < 6
    assert abs(float(drawn.mean()) - 2) < 0.5


# --- frames ---


def test_jitter_is_a_crop_at_every_offset(images):
    d, seen = 2, set()
    t = jax.jit(transform.jitter(d))
    for seed in range(80):
        out = t(jax.random.key(seed), images)
        fits = {
            (y, x) for y in range(d + 1) for x in range(d + 1) if np.array_equal(out, images[:, y : H - d + y, x : W - d + x])
        }
        assert len(fits) == 1
        seen |= fits
    assert len(seen) == (d + 1) ** 2  # 0 and d included


@pytest.mark.parametrize(
    ("mode", "numpy_mode"), [("reflect", "reflect"), ("Symmetric", "symmetric"), ("edge", "edge"), ("circular", "wrap")]
)
def test_pad_modes_are_numpys(mode, numpy_mode, images, key):
    want = np.pad(images, ((0, 0), (5, 5), (5, 5), (0, 0)), mode=numpy_mode)
    np.testing.assert_array_equal(transform.pad(5, mode)(key, images), want)


def test_pad_colours(images, key):
    grey = transform.pad(3, "constant")(key, images)
    np.testing.assert_array_equal(grey[:, 3:-3, 3:-3], images)
    assert bool((grey[:, :3] == 0.5).all()) and bool((grey[:, :, -3:] == 0.5).all())
    drawn = transform.pad(3, "constant", "uniform")(key, images)
    border = np.unique(drawn[:, :3])
    assert border.size == 1 and 0 <= border[0] < 1


@pytest.mark.parametrize("size", [(40, 36), (9, 17), (21, 64), (1, 5), (22, 30)])
def test_resize_is_torchs(size, images, key):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(np.moveaxis(np.asarray(images), -1, 1).copy()), size=size, mode="bilinear", align_corners=True
    )
    np.testing.assert_allclose(transform.resize(*size)(key, images), np.moveaxis(theirs.numpy(), 1, -1), atol=1e-5)


def test_crop_or_pad_to_is_centred(images, key):
    out = transform.crop_or_pad_to(12, 40, fill=0)(key, images)  # 21 -> 12 from row 4; 31 -> 40 from column 4
    assert out.shape == (2, 12, 40, 3)
    np.testing.assert_array_equal(out[:, :, 4:35], images[:, 4:16])
    assert not out[:, :, :4].any() and not out[:, :, 35:].any()


def test_standard_list(key):
    extended = [*transform.standard_transforms.copy(), transform.crop_or_pad_to(20, 50)]
    assert len(transform.standard_transforms) == 5
    shapes = [
        jax.eval_shape(transform.compose(t), key, jnp.zeros((1, 40, 56, 3))).shape
        for t in (transform.standard_transforms, extended)
    ]
    assert shapes == [(1, 40 + 24 - 12, 56 + 24 - 12, 3), (1, 20, 50, 3)]


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


def test_random_boxes_are_bilinear_samples(key):
    """Where a part is enlarged nothing is blurred: SciPy's interpolation at the same places."""
    x = smooth(60, 80)
    t = transform.random_boxes(4, (40, 50), (0.3, 0.4), None)
    got = np.asarray(apply(t, key, x))
    side, place = jax.random.split(key)
    sides = np.asarray(jax.random.uniform(side, (4,), jnp.float32, 0.3, 0.4), np.float64)
    centers = 0.5 + (np.asarray(jax.random.uniform(place, (4, 2), jnp.float32)) - 0.5) * (1 - sides[:, None])
    for image, s, (cy, cx) in zip(got, sides, centers, strict=True):
        rows = ((np.arange(40) + 0.5) / 40 * s + cy - s / 2) * 60 - 0.5
        columns = ((np.arange(50) + 0.5) / 50 * s + cx - s / 2) * 80 - 0.5
        points = np.stack(np.meshgrid(rows, columns, indexing="ij"))
        want = [
            ndimage.map_coordinates(np.asarray(x[0, ..., c], np.float64), points, order=1, mode="nearest") for c in range(3)
        ]
        np.testing.assert_allclose(image, np.stack(want, -1), atol=2e-4)


def test_boxes_keep_an_images_parts_together(key):
    x = jnp.stack([jnp.zeros((20, 30, 3)), jnp.ones((20, 30, 3))])
    parts = transform.random_boxes(3, 8, (0.2, 0.3), None)(key, x)
    np.testing.assert_allclose(parts.mean((1, 2, 3)), [0, 0, 0, 1, 1, 1], atol=1e-5)


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


@pytest.mark.parametrize("name", sorted(_preset.PRESETS))
def test_presets_run_on_small_and_oblong_images(name, key):
    out = jax.eval_shape(transform.compose(transform.preset(name, 64)), key, jax.ShapeDtypeStruct((1, 72, 90, 3), jnp.float32))
    assert out.shape[-1] == 3 and min(out.shape[1:3]) > 8
    assert all(isinstance(t, transform.Transform) for t in transform.preset(name))
    transform.preset(name).clear()  # a list of one's own
    assert transform.preset(name)


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


def test_roll_moves_around(images, key):
    rolled = np.asarray(transform.roll()(key, images))
    shifts = [(i, j) for i in range(H) for j in range(W) if np.array_equal(np.roll(images, (i, j), (1, 2)), rolled)]
    assert len(shifts) == 1
    drawn = {np.asarray(transform.roll()(jax.random.key(i), images))[0, 0, 0, 0].item() for i in range(20)}
    assert len(drawn) > 10 and drawn <= set(np.asarray(images)[0, ..., 0].ravel().tolist())


def test_anneal_goes_from_one_to_the_other(images, key):
    first, last = (transform.random_boxes(2, 9, box) for box in ((0.4, 0.5), (0.1, 0.2)))
    moves = transform.compose([transform.per_image(transform.anneal(first, last, 8))])
    for step, want in ((0, (0.4, 0.5)), (2, (0.325, 0.425)), (8, (0.1, 0.2)), (50, (0.1, 0.2))):
        box = moves.at(jnp.uint32(step)).stages[0].inner.box
        np.testing.assert_allclose(box, want, rtol=1e-5)
