"""Transforms that move pixels, against independent implementations: scale and rotation, frames,
boxes.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxlens.optvis import transform
from jaxlens.optvis.transform import _resample
from tests.optvis.transform_cases import H, W, apply, numbers, quick_jit, smooth

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


def test_roll_moves_around(images, key):
    rolled = np.asarray(transform.roll()(key, images))
    shifts = [(i, j) for i in range(H) for j in range(W) if np.array_equal(np.roll(images, (i, j), (1, 2)), rolled)]
    assert len(shifts) == 1
    drawn = {np.asarray(transform.roll()(jax.random.key(i), images))[0, 0, 0, 0].item() for i in range(20)}
    assert len(drawn) > 10 and drawn <= set(np.asarray(images)[0, ..., 0].ravel().tolist())
