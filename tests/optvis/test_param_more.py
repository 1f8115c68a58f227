"""Pyramids, CPPNs, MACO, balls, masks and generators."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import ndimage

from jaxlens.optvis import objectives, param, render
from jaxlens.optvis.param import color
from tests.helpers import small_model
from tests.optvis.test_param import photo, quick_jit

H, W = 19, 27  # never square
KEY = jax.random.key(2)


def fitted(p, target, *, steps, rate=0.05):
    """The mean absolute error after so many steps of Adam: Lucid's own test."""
    optimizer = optax.adam(rate)

    def step(state, _):
        theta, memory = state
        gradient = jax.grad(lambda t: jnp.square(p.to_image(t) - target).mean())(theta)
        updates, memory = optimizer.update(gradient, memory)
        return (optax.apply_updates(theta, updates), memory), None

    def run(theta):
        return jax.lax.scan(step, (theta, optimizer.init(theta)), length=steps)[0][0]

    return float(jnp.abs(p.to_image(quick_jit(run)(p.init(KEY))) - target).mean())


@pytest.mark.parametrize(
    "make",
    [
        lambda: param.to_valid_rgb(param.laplacian_pyramid_image((1, 48, 60, 3)), decorrelate=True),
        lambda: param.aligned(60, 48, batch=2),
        lambda: param.masked(param.image(60, 48), np.zeros((48, 60, 3), np.float32), np.ones((48, 60))),
        lambda: param.ball(np.full((48, 60, 3), 0.5, np.float32), 0.6, "Linf"),
    ],
)
def test_it_can_become_a_photograph(make):
    p = make()
    assert fitted(p, photo(48, 60)[None], steps=400) < 0.01


def test_a_cppn_learns_xor():
    """Lucid's test: colours above 0.99 and below 0.01 at the corners of a 2 x 2 image."""
    p = param.cppn(2, num_output_channels=1, num_hidden_channels=24, num_layers=4)
    target = jnp.asarray([[0.0, 1.0], [1.0, 0.0]]).reshape(1, 2, 2, 1)
    optimizer = optax.adam(0.01)

    def step(state, _):
        theta, memory = state
        loss = lambda t: -jnp.log(1e-6 + 1 - jnp.abs(p.to_image(t) - target)).sum()  # noqa: E731
        updates, memory = optimizer.update(jax.grad(loss)(theta), memory)
        return (optax.apply_updates(theta, updates), memory), None

    run = quick_jit(lambda theta: jax.lax.scan(step, (theta, optimizer.init(theta)), length=200)[0][0])
    assert any(float(jnp.abs(p.to_image(run(p.init(jax.random.key(i)))) - target).max()) < 0.01 for i in range(3))


def test_cppn_is_lucids_network():
    p = param.cppn(5, 3)
    theta = p.init(KEY)
    assert sum(leaf.size for leaf in jax.tree.leaves(theta)) == 8451
    np.testing.assert_allclose(p.to_image(theta), 0.5)
    theta = jax.tree.map(lambda leaf: leaf + 0.1, theta)
    x, y = np.meshgrid(np.linspace(-(3**0.5), 3**0.5, 5), np.linspace(-(3**0.5), 3**0.5, 3))
    net = np.stack([x, y], -1)
    *hidden, (kernel, bias) = [(np.float64(k[0]), np.float64(b[0])) for k, b in theta]
    for k, b in hidden:
        a = np.arctan(net @ k + b)
        net = np.concatenate([a / 0.67, a**2 / 0.6], -1)
    np.testing.assert_allclose(p.to_image(theta)[0], 1 / (1 + np.exp(-(net @ kernel + bias))), rtol=2e-4)
    # the same picture at another size, and images of their own
    np.testing.assert_allclose(param.cppn(9, 5).to_image(theta)[:, ::2, ::2], p.to_image(theta), atol=1e-4)
    two = param.cppn(5, 3, batch=2).init(KEY)
    assert not np.array_equal(two[0][0][0], two[0][0][1])


def test_activations_are_normalised():
    x = jax.random.normal(KEY, (40000, 1))
    for activation in (param.composite_activation_unbiased, param.relu_normalized):
        np.testing.assert_allclose(activation(x).mean(0), 0, atol=0.02)
        np.testing.assert_allclose(activation(x).std(0), 1, atol=0.03)


def test_lowres_is_interpolation_of_pixel_centres():
    p = param.lowres_tensor((2, H, W, 3), (1, 5, 7, 3))
    theta = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 7, 3)), jnp.float32)
    images = p.to_image(theta)
    assert images.shape == p.shape == (2, H, W, 3)
    np.testing.assert_array_equal(images[0], images[1])
    rows, columns = ((np.arange(m) + 0.5) * n / m - 0.5 for n, m in ((5, H), (7, W)))
    points = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    for c in range(3):
        want = ndimage.map_coordinates(np.float64(theta[0, ..., c]), points, order=1, mode="nearest")
        np.testing.assert_allclose(images[0, ..., c], want, atol=1e-5)
    moved = param.lowres_tensor((2, H, W, 3), (1, 5, 7, 3), offset=[0, 2, 4, 0]).to_image(theta)
    np.testing.assert_allclose(moved[:, :-2, :-4], images[:, 2:, 4:], atol=1e-5)
    along = param.lowres_tensor((5, 4, 6, 1), (2, 4, 6, 1)).to_image(jnp.stack([jnp.zeros((4, 6, 1)), jnp.ones((4, 6, 1))]))
    np.testing.assert_allclose(along[:, 0, 0, 0], [0, 0.1, 0.5, 0.9, 1], atol=1e-6)


def test_pyramid_round_trip():
    p = param.to_valid_rgb(param.laplacian_pyramid_image((1, H, W, 3), 3))
    image = jnp.asarray(photo()[None])
    np.testing.assert_allclose(p.to_image(p.from_image(image)), image, atol=1e-4)


def test_aligned_images_move_together():
    p = param.aligned(40, 32, batch=4, sd=0.3)
    images = p.to_image(p.init(KEY))
    apart = param.image(40, 32, batch=4, sd=0.3)
    own = apart.to_image(apart.init(KEY))

    def likeness(x):
        x = np.asarray(x).reshape(4, -1)
        return np.corrcoef(x)[np.triu_indices(4, 1)].mean()

    assert images.shape == (4, 32, 40, 3) and likeness(images) > 0.3 > 0.1 > abs(likeness(own))


def test_maco_has_the_magnitudes_it_is_given():
    size = np.abs(np.fft.rfft2(np.random.default_rng(0).normal(size=(3, H, W)))).astype(np.float32)
    p = param.maco(W, H, batch=2, magnitude=size)
    theta = p.init(KEY)
    images = p.to_image(theta)
    assert images.shape == p.shape == (2, H, W, 3) and float(images.min()) > 0 and float(images.max()) < 1
    x = np.moveaxis(np.asarray(color.from_rgb(jax.scipy.special.logit(images))), -1, 1)
    np.testing.assert_allclose(x.std((1, 2, 3)), 1, rtol=1e-3)
    got = np.abs(np.fft.rfft2(x))
    inner = np.s_[:, :, 1 : H // 2, 1 : W // 2]
    ratio = got[inner] / size[None][inner]
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1, :1, :1], ratio.shape), rtol=2e-2)
    # phases count up to their mean and deviation
    np.testing.assert_allclose(p.to_image(3 * theta + 1), images, atol=1e-3)
    assert float(np.abs(p.to_image(-theta) - images).max()) > 0.05


def test_natural_spectrum_falls_as_natural_images_do():
    size = np.asarray(param.natural_spectrum(512, 512))
    assert size.shape == (3, 512, 257) and (size > 0).all()
    ring = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512))

    def mean(channel, f):
        return size[channel][np.abs(ring - f) < 0.1 * f].mean()

    # local slopes of the published spectrum (3, 512, 257): about -1.2 to -1.35 below 0.05, then steeper
    slope = np.log(mean(0, 0.04) / mean(0, 0.01)) / np.log(4)
    assert -1.6 < slope < -1.0
    assert np.log(mean(0, 0.3) / mean(0, 0.1)) / np.log(3) < slope + 0.3
    assert mean(0, 0.05) > mean(1, 0.05) > 0 and mean(0, 0.05) > mean(2, 0.05)
    np.testing.assert_allclose(param.natural_spectrum(20, 30).shape, (3, 20, 16))


def test_fourier_phase_starts_at_an_image():
    p = param.fourier_phase(init=photo())
    image = p.to_image(p.init(KEY))[0]
    corr = np.corrcoef(np.asarray(image).ravel(), photo().ravel())[0, 1]
    assert corr > 0.97
    assert param.fourier_phase(W, H).init(KEY).shape == (1, 3, H, W // 2 + 1)


def test_spectrum_of_a_dataset():
    batches = [np.stack([photo(), photo()[::-1]]), photo()[None]]
    got = param.spectrum_of(batches)
    every = np.concatenate([np.asarray(color.from_rgb(jnp.asarray(b))) for b in batches])
    np.testing.assert_allclose(got, np.abs(np.fft.rfft2(np.moveaxis(every, -1, 1))).mean(0), rtol=1e-3, atol=1e-2)
    assert param.maco(40, 30, magnitude=got).magnitude.shape == (3, 30, 21)


@pytest.mark.parametrize("norm", ["L2", "Linf"])
def test_balls(norm):
    p = param.ball(photo(), 0.5, norm)
    for sd in (1e-3, 1, 100):
        theta = sd * jax.random.normal(KEY, p.shape)
        image = p.to_image(theta)
        change = np.asarray(image - photo()[None])
        size = np.linalg.norm(change) if norm == "L2" else np.abs(change).max()
        assert size <= 0.5 + 1e-4 and float(image.min()) >= 0 and float(image.max()) <= 1
    assert size > 0.45
    assert np.isfinite(jax.grad(lambda t: p.to_image(t).sum())(jnp.zeros(p.shape))).all()


def test_masks_keep_the_rest():
    mask = np.zeros((H, W))
    mask[4:9, 3:20] = 1
    p = param.masked(param.image(W, H, batch=2), photo(), mask)
    images = p.to_image(p.init(KEY))
    outside = mask == 0
    np.testing.assert_array_equal(images[:, outside], np.stack([photo()[outside]] * 2))
    assert float(np.abs(np.asarray(images)[:, ~outside] - photo()[~outside]).mean()) > 0.05


def test_grayscale():
    p = param.grayscale(param.image(W, H, channels=1, sd=1))
    images = p.to_image(p.init(KEY))
    assert images.shape == p.shape == (1, H, W, 3)
    np.testing.assert_array_equal(images[..., 0], images[..., 2])


def decoder(params, z):
    return jnp.tanh(z @ params).reshape(len(z), 24, 28, 3)


def test_a_generator_in_a_render():
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(16, 24 * 28 * 3)), jnp.float32)
    p = param.generator(decoder, weights, 16, batch=2)
    result = render.render(
        small_model(),
        objectives.channel("blocks.0.conv2", 1),
        param=p,
        steps=5,
        transforms=[],
        fixed_image_size=(24, 28),
        progress=False,
        redirect_steps=0,
    )
    assert result.scores[0, -1] > result.scores[0, 0] and result.theta.shape == (1, 2, 16)
    np.testing.assert_allclose(p.to_image(jnp.asarray(result.theta[0])), result.images[0], atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: param.lowres_tensor((1, 8, 9, 3), (1, 9, 9, 3)), "nowhere larger than shape"),
        (lambda: param.lowres_tensor((1, 8, 9, 3), (1, 4, 4, 3), [1, 2]), "must be one integer, four, True or None"),
        (lambda: param.laplacian_pyramid_image((1, 8, 9, 3), 5), "n_levels=5 halve images of 8x9 to nothing"),
        (lambda: param.ball(photo(), 0), "radius=0 must be a number above 0"),
        (lambda: param.ball(photo(), 1, "L1"), "norm='L1' must be one of L2, Linf"),
        (lambda: param.masked(param.image(8), photo(8, 8), np.ones((8, 9))), "must be of the size of inner"),
        (lambda: param.masked(param.image(8), photo(8, 8), 2 * np.ones((8, 8))), "mask has values in \\[2, 2\\]"),
        (lambda: param.grayscale(param.image(8)), "inner makes 3 channels, but 1 is needed"),
        (lambda: param.generator(lambda p, z: z, {}, 4), "one array \\[1, H, W, C\\] is needed"),
        (lambda: param.maco(8, magnitude=np.zeros((3, 8, 5))), "not all 0"),
        (lambda: param.maco(8, magnitude=np.ones((8, 5))), "magnitude has shape"),
        (lambda: param.fourier_phase(), "w=None leaves the size open"),
        (lambda: param.fourier_phase(9, init=photo()), "Leave them out"),
        (lambda: param.spectrum_of([]), "images is empty"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()
