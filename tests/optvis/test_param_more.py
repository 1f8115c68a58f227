"""Pyramids, MACO, balls, masks, and images to start at."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import ndimage

from jaxlens.optvis import param
from jaxlens.optvis.param import color
from tests.optvis.test_param import quick_jit
from tests.pictures import photo

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


@pytest.mark.slow
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

    # local slopes of the published spectrum (3, 512, 257): about -1.2 to -1.35 below 0.05, then
    # steeper
    slope = np.log(mean(0, 0.04) / mean(0, 0.01)) / np.log(4)
    assert -1.6 < slope < -1.0
    assert np.log(mean(0, 0.3) / mean(0, 0.1)) / np.log(3) < slope + 0.3
    assert mean(0, 0.05) > mean(1, 0.05) > 0 and mean(0, 0.05) > mean(2, 0.05)
    np.testing.assert_allclose(param.natural_spectrum(20, 30).shape, (3, 20, 16))


@pytest.mark.slow
def test_fourier_phase_starts_at_an_image():
    p = param.fourier_phase(init=photo())
    np.testing.assert_allclose(p.to_image(p.init(KEY))[0], photo(), atol=2e-3)
    two = np.stack([photo(), photo()[::-1, ::-1] * 0.8])
    p = param.fourier_phase(init=two)
    np.testing.assert_allclose(p.to_image(p.init(KEY)), two, atol=2e-3)
    # whatever the phases, the mean and contrast of each image stay
    x = color.from_rgb(jax.scipy.special.logit(p.to_image(p.init(KEY) + jax.random.normal(KEY, (2, 3, H, W // 2 + 1)))))
    own = color.from_rgb(jax.scipy.special.logit(two))
    np.testing.assert_allclose(x.std((1, 2, 3)), own.std((1, 2, 3)), rtol=1e-3)
    np.testing.assert_allclose(x.mean((1, 2, 3)), own.mean((1, 2, 3)), atol=1e-3)
    natural = param.fourier_phase(init=photo(), magnitude=param.natural_spectrum(H, W))
    assert natural.moments is None and natural.to_image(natural.init(KEY)).shape == (1, H, W, 3)
    assert param.fourier_phase(W, H).init(KEY).shape == (1, 3, H, W // 2 + 1)


def test_spectrum_of_a_dataset():
    batches = [np.stack([photo(), photo()[::-1]]), photo()[None]]
    got = param.spectrum_of(batches)
    every = np.concatenate([np.asarray(color.from_rgb(jnp.asarray(b))) for b in batches])
    np.testing.assert_allclose(got, np.abs(np.fft.rfft2(np.moveaxis(every, -1, 1))).mean(0), rtol=1e-3, atol=1e-2)
    assert param.maco(40, 30, magnitude=got).magnitude.shape == (1, 3, 30, 21)


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: param.lowres_tensor((1, 8, 9, 3), (1, 9, 9, 3)), "nowhere larger than shape"),
        (lambda: param.lowres_tensor((1, 8, 9, 3), (1, 4, 4, 3), [1, 2]), "must be one integer, four, True or None"),
        (lambda: param.laplacian_pyramid_image((1, 8, 9, 3), 5), "n_levels=5 halve images of 8x9 to nothing"),
        (lambda: param.ball(photo(), 0), "radius=0 must be a finite number > 0"),
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
        (lambda: param.fourier_phase(batch=3, init=np.stack([photo()] * 2)), "init holds 2 images, but batch=3"),
        (lambda: param.image(8, decorrelate=np.ones((3, 3))), "(?s)decorrelate=.* must be True, False, or an invertible"),
        (lambda: param.image(8, decorrelate=np.zeros((3, 3))), "(?s)decorrelate=.* must be True, False, or an invertible"),
        (lambda: param.image(8, decorrelate="yes"), "(?s)decorrelate=.* must be True, False, or an invertible"),
        (lambda: param.fourier_phase(init=photo(), magnitude=np.ones((1, H, W // 2 + 1))), "but init has 3 channels"),
        (lambda: param.color.dataset_klt_matrix([]), "images has 0 pixels"),
        (lambda: param.starting_at(param.image(8), photo()), "resize them first"),
        (lambda: param.starting_at(param.cppn(8), photo(8, 8), rate=0), "rate=0 must be"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_axes_of_a_dataset():
    """The square root of the covariance of colours, and pictures along it; Lucid's axes as a matrix
    are Lucid's.
    """
    batches = [np.stack([photo(), photo()[::-1]]), photo(12, 15)[None]]
    matrix = param.color.dataset_klt_matrix(batches)
    colors = np.concatenate([np.float64(b).reshape(-1, 3) for b in batches])
    np.testing.assert_allclose(matrix @ matrix.T, np.cov(colors.T, bias=True), rtol=1e-4, atol=1e-6)
    lengths = np.linalg.norm(matrix, axis=0)
    assert lengths[0] > lengths[1] > lengths[2] and (matrix[:, 0] > 0).all()
    whitened = (colors - colors.mean(0)) @ np.linalg.inv(np.float64(matrix)).T
    np.testing.assert_allclose(np.cov(whitened.T, bias=True), np.eye(3), atol=1e-3)
    p = param.image(W, H, decorrelate=matrix, sd=0.5)
    theta = p.init(KEY)
    t = np.asarray(param.image(W, H, decorrelate=False, sd=0.5, sigmoid=False).inner.to_image(theta), np.float64)
    want = 1 / (1 + np.exp(-t @ (matrix / lengths[0]).T))
    np.testing.assert_allclose(p.to_image(theta), want, rtol=1e-4)
    np.testing.assert_allclose(p.to_image(p.from_image(jnp.asarray(photo()[None])))[0], photo(), atol=1e-3)
    lucid = param.image(W, H, decorrelate=color.color_correlation_svd_sqrt)
    np.testing.assert_allclose(lucid.to_image(theta), param.image(W, H).to_image(theta), atol=1e-6)


def test_ohtas_axes():
    p = param.to_valid_rgb(param.pixel_image((1, H, W, 3)), decorrelate=color.i1i2i3)
    theta = np.asarray(p.from_image(jnp.asarray(photo()[None])), np.float64)[0]
    r, g, b = np.moveaxis(np.asarray(jax.scipy.special.logit(photo()), np.float64), -1, 0)
    axes = np.stack([(r + g + b) / 3, (r - b) / 2, (2 * g - r - b) / 4], -1)
    scale = np.linalg.norm(color.i1i2i3, axis=0).max()
    np.testing.assert_allclose(theta, axes * scale, rtol=1e-3, atol=1e-3)


EXACT = {
    "pixels": lambda: param.to_valid_rgb(param.pixel_image((2, H, W, 3))),
    "image": lambda: param.image(W, H, batch=2),
    "clipped": lambda: param.image(W, H, batch=2, sigmoid=False),
    "alpha": lambda: param.image(W, H, batch=2, alpha=True),
    "pyramid": lambda: param.to_valid_rgb(param.laplacian_pyramid_image((2, H, W, 3), 3), decorrelate=True),
    "aligned": lambda: param.aligned(W, H, batch=2),
    "masked": lambda: param.masked(param.image(W, H, batch=2), photo(), np.ones((H, W))),
    "beside": lambda: param.beside(param.image(W, H), photo()),
    "ball, L2": lambda: param.ball(np.full((2, H, W, 3), 0.5, np.float32), 40.0),
    "ball, Linf": lambda: param.ball(np.full((2, H, W, 3), 0.5, np.float32), 0.5, "Linf"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXACT)
def test_it_starts_at_images(name):
    p = EXACT[name]()
    images = np.stack([photo(channels=p.shape[-1]), photo(channels=p.shape[-1])])
    started = param.starting_at(p, images, steps=0)  # an inverse, and no fit
    got = started.to_image(started.init(KEY))
    np.testing.assert_allclose(got, images, atol=2e-3)
    assert np.abs(p.to_image(p.init(KEY))[0] - images[0]).mean() > 0.05  # control


def test_half_a_mask_starts_where_it_can():
    p = param.masked(param.image(W, H), np.zeros((H, W, 3), np.float32), np.full((H, W), 0.5))
    started = param.starting_at(p, np.full((H, W, 3), 0.3, np.float32))
    np.testing.assert_allclose(started.to_image(started.init(KEY)), 0.3, atol=1e-3)


def test_grey_images_start_too():
    p, grey = param.grayscale(param.image(W, H, channels=1)), np.repeat(photo(channels=1), 3, axis=-1)
    started = param.starting_at(p, grey)
    np.testing.assert_allclose(started.to_image(started.init(KEY))[0], grey, atol=2e-3)


@pytest.mark.slow
def test_what_has_no_inverse_is_fitted():
    smooth = np.asarray(
        param.to_valid_rgb(param.lowres_tensor((1, H, W, 3), (1, 3, 4, 3), sd=1)).to_image(jax.random.normal(KEY, (1, 3, 4, 3)))
    )[0]
    for p, rate, near in (
        (param.to_valid_rgb(param.lowres_tensor((1, H, W, 3), (1, 3, 4, 3))), 0.05, 0.01),
        (param.cppn(W, H, num_hidden_channels=8, num_layers=3), 0.02, 0.05),
    ):
        started = param.starting_at(p, smooth, steps=200, rate=rate)
        error = np.abs(started.to_image(started.init(KEY))[0] - smooth).mean()
        assert error < near < np.abs(p.to_image(p.init(KEY))[0] - smooth).mean()
