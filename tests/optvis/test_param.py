"""Parameterizations: what they decode to (against Lucent and by hand), and that they can be optimized and inverted."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlens.optvis import param

H, W = 19, 27  # never square


def photo(h=H, w=W, channels=3):
    """A photo-like image: a smooth background, an edge, and correlated colours, within [0.05, 0.95]."""
    y, x = np.mgrid[:h, :w] / max(h, w)
    grey = 0.5 + 0.25 * np.sin(5 * x + 2 * y) + 0.2 * ((x - 0.6) ** 2 + (y - 0.3) ** 2 < 0.05)
    tint = [0.9, 1.0, 0.8, 0.95, 1.05][:channels]
    noise = 0.02 * np.random.default_rng(0).standard_normal((h, w, channels))
    return np.clip(grey[..., None] * tint + noise, 0.05, 0.95).astype(np.float32)


CONFIGURATIONS = {
    "default": {},
    "pixels": {"fft": False},
    "correlated": {"decorrelate": False},
    "clipped": {"sigmoid": False},
    "clipped_pixels": {"sigmoid": False, "fft": False, "decorrelate": False},
    "alpha": {"alpha": True},
    "channels": {"channels": 5},
    "white": {"decay_power": 0},
}
every_configuration = pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())


@pytest.fixture
def key():
    return jax.random.key(5)


@every_configuration
@pytest.mark.parametrize("size", [(H, W), (16, 22), (17, 8)])
def test_images_are_valid(options, size, key):
    h, w = size
    p = param.image(w, h, batch=2, **options)
    theta = p.init(key)
    images = p.to_image(theta)
    assert images.shape == p.shape == (2, h, w, options.get("channels", 4 if options.get("alpha") else 3))
    assert images.dtype == jnp.float32
    assert 0 <= float(images.min()) and float(images.max()) <= 1
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(theta))  # real, also for Fourier
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images, p.to_image(p.init(jax.random.key(6))))
    far = p.to_image(jax.tree.map(lambda t: 1e4 * t, theta))
    assert 0 <= float(far.min()) and float(far.max()) <= 1


@every_configuration
def test_vmap_over_tasks_is_a_loop(options, key):
    p, keys = param.image(W, H, **options), jax.random.split(key, 3)
    together = jax.jit(lambda p, keys: jax.vmap(lambda k: p.to_image(p.init(k)))(keys))(p, keys)
    alone = jnp.stack([p.to_image(p.init(k)) for k in keys])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_equal_parameterizations_share_one_program(key):
    traces = []

    @jax.jit
    def run(p, key):
        traces.append(p)
        return p.to_image(p.init(key))

    run(param.image(W, H, sd=0.1), key)
    run(param.image(w=W, h=H, sd=0.1, batch=1), jax.random.key(1))
    run(param.to_valid_rgb(param.fft_image((1, H, W, 3), sd=0.1), decorrelate=True), key)
    assert len(traces) == 1
    run(param.image(init=photo()), key)
    run(param.image(init=1 - photo()), key)  # the initial image is a leaf
    assert len(traces) == 2
    run(param.image(W, H, sd=0.2), key)
    assert len(traces) == 3  # the counter counts


def test_keywords_of_lucid_and_of_lucent():
    lucid = param.image(w=W, h=H, batch=2, sd=0.1, decorrelate=False, fft=False, alpha=False, channels=None)
    lucent = param.image(w=W, h=H, sd=0.1, batch=2, decorrelate=False, fft=False, channels=None)
    assert jax.tree.structure(lucid) == jax.tree.structure(lucent) == jax.tree.structure(param.image(W, H, 2, 0.1, False, False))
    assert param.image(128).shape == (1, 128, 128, 3)
    assert param.pixel_image((2, H, W, 3), sd=0.5).shape == param.fft_image(shape=[2, H, W, 3], sd=1, decay_power=2).shape


@pytest.mark.parametrize("fft", [True, False])
def test_start_has_the_deviation_asked_for(fft, key):
    for sd, want in ((None, 0.01), (0.3, 0.3), (0, 0)):
        theta = np.asarray(param.image(64, 48, sd=sd, fft=fft).init(key))
        np.testing.assert_allclose(theta.std(), want, rtol=0.05)
        np.testing.assert_allclose(theta.mean(), 0, atol=0.02 * want + 1e-9)


# --- against Lucent ---


@pytest.fixture(scope="module")
def lucent():
    pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("lucent.optvis.param")


def lucent_twin(module_image, theta, odd):
    """Lucent's image function with our coefficients put in, as NHWC."""
    import torch

    (parameter,), image_f = module_image
    values = np.asarray(theta)
    if odd:  # Lucent's unused last column: anything
        values = np.concatenate([values, np.full_like(values[..., -1:, :], 7)], axis=-2)
    assert tuple(parameter.shape) == values.shape
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values))
        return np.moveaxis(image_f().numpy(), 1, -1)


@pytest.mark.parametrize("size", [(16, 22), (17, 8), (H, W), (18, 15)])
def test_fourier_decodes_as_lucent(size, lucent, key):
    h, w = size
    shape = (2, h, w, 3)
    for power in (1, 1.5):
        p = param.fft_image(shape, sd=2.0, decay_power=power)
        theta = p.init(key)
        from lucent.optvis.param.spatial import fft_image

        want = lucent_twin(fft_image([2, 3, h, w], decay_power=power), theta, odd=w % 2)
        np.testing.assert_allclose(p.to_image(theta), want, rtol=1e-4, atol=2e-6 * np.abs(want).max())


@pytest.mark.parametrize("options", [{}, {"decorrelate": False}, {"channels": 3}])
def test_image_decodes_as_lucent(options, lucent, key):
    p = param.image(22, 16, batch=2, sd=2.0, **options)
    theta = p.init(key)
    want = lucent_twin(lucent.image(22, 16, batch=2, **options), theta, odd=False)
    np.testing.assert_allclose(p.to_image(theta), want, atol=1e-5)
    if options:
        default = param.image(22, 16, batch=2).to_image(theta)
        assert float(np.abs(default - want).max()) > 0.05  # the option matters


# --- fitting and inverting ---


@pytest.mark.parametrize("fft", [True, False])
def test_fits_a_photo(fft, key):
    """Lucid's own test: mean error below 0.01 within 1000 steps of Adam(0.05)."""
    target, p, optimizer = jnp.asarray(photo()[None]), param.image(W, H, fft=fft), optax.adam(0.05)

    def step(carry, _):
        theta, state = carry
        gradient = jax.grad(lambda t: jnp.square(p.to_image(t) - target).mean())(theta)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(theta, updates), state), None

    theta = p.init(key)
    assert float(jnp.abs(p.to_image(theta) - target).mean()) > 0.1
    (theta, _), _ = jax.jit(lambda carry: jax.lax.scan(step, carry, length=1000))((theta, optimizer.init(theta)))
    assert float(jnp.abs(p.to_image(theta) - target).mean()) < 0.01


@every_configuration
@pytest.mark.parametrize("size", [(H, W), (16, 22)])
def test_init_comes_back(options, size, key):
    channels = options.get("channels", 4 if options.get("alpha") else 3)
    start = photo(*size, channels)
    p = param.image(init=start, **options)
    assert p.shape == (1, *start.shape)
    np.testing.assert_allclose(p.to_image(p.init(key))[0], start, atol=2e-5)
    extreme = np.round(start)
    q = param.image(init=extreme, **options)
    assert float(np.abs(q.to_image(q.init(key))[0] - extreme).max()) < 1.1e-3


def test_init_fills_a_batch_and_takes_noise(key):
    start = photo()
    p = param.image(W, H, batch=3, init=start)
    images = p.to_image(p.init(key))
    assert images.shape == (3, H, W, 3)
    np.testing.assert_array_equal(images[0], images[2])
    noisy = param.image(batch=3, init=start, sd=0.1)
    difference = np.asarray(noisy.to_image(noisy.init(key)) - start)
    assert 1e-3 < np.abs(difference).mean() < 0.1
    assert not np.array_equal(difference[0], difference[1])
    stack = np.stack([start, 1 - start])
    q = param.image(init=stack)
    np.testing.assert_allclose(q.to_image(q.init(key)), stack, atol=2e-5)


def test_init_under_jit(key):
    @jax.jit
    def again(start):
        p = param.image(init=start)
        return p.to_image(p.init(key))

    np.testing.assert_allclose(again(photo())[0], photo(), atol=2e-5)


# --- colour and range ---


def test_colour_axes(key):
    np.testing.assert_allclose(np.linalg.norm(param.color.color_correlation_normalized, axis=0).max(), 1, rtol=1e-6)
    want = [[0.56282854, 0.58447580, 0.58447580], [0.19482528, 0, -0.19482528], [0.04329450, -0.10823626, 0.06494176]]
    np.testing.assert_allclose(param.color.to_rgb(jnp.eye(3)), want, atol=1e-6)  # the numbers Horama and xplique list
    t = jax.random.normal(key, (2, 4, 5, 3))
    np.testing.assert_allclose(param.color.to_rgb(t), t @ np.asarray(want, np.float32), atol=1e-5)
    np.testing.assert_allclose(param.color.from_rgb(param.color.to_rgb(t)), t, atol=1e-5)


def test_to_valid_rgb_on_arrays():
    zero = jnp.zeros((1, 2, 4, 3))
    np.testing.assert_allclose(param.to_valid_rgb(zero), 0.5)
    np.testing.assert_allclose(param.to_valid_rgb(zero, sigmoid=False), 0)
    mean = param.to_valid_rgb(zero, decorrelate=True, sigmoid=False)
    np.testing.assert_allclose(mean, np.broadcast_to([0.48, 0.46, 0.41], zero.shape), atol=1e-6)
    np.testing.assert_allclose(param.to_valid_rgb(zero + 9, sigmoid=False), 1)
    np.testing.assert_allclose(param.to_valid_rgb(zero + 0.3, sigmoid=False), 0.3, atol=1e-6)


def test_clipping_lets_pixels_return():
    x = jnp.array([-3.0, -1.0, -0.5, 0.5, 1.0, 3.0])
    pull = jax.vjp(param.constrain_L_inf, x)[1]
    np.testing.assert_array_equal(pull(jnp.ones(6))[0], [1, 1, 1, 1, 0, 0])  # the score rises with x
    np.testing.assert_array_equal(pull(-jnp.ones(6))[0], [0, 0, -1, -1, -1, -1])
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.clip(x, -1, 1).sum())(x)[jnp.array([0, 5])], [0, 0])  # plain clip: stuck


def test_clipped_pixels_leave_the_border_when_the_score_asks():
    p = param.image(W, H, fft=False, decorrelate=False, sigmoid=False)
    theta = jnp.full(p.shape, 2.0)  # far outside: white
    score = jax.jit(jax.value_and_grad(lambda t: -jnp.square(p.to_image(t) - 0.7).mean() * t.size))
    for _ in range(200):
        theta = theta + 0.05 * score(theta)[1]
    np.testing.assert_allclose(p.to_image(theta), 0.7, atol=1e-2)


@every_configuration
def test_float32_under_x64(options, key):
    with jax.enable_x64(True):
        p = param.image(W, H, **options)
        theta = p.init(key)
        gradient = jax.grad(lambda t: p.to_image(t).sum())(theta)
        assert theta.dtype == p.to_image(theta).dtype == gradient.dtype == jnp.float32


# --- users' own ---


def test_from_functions(key):
    def init(key):
        return {"rows": jax.random.normal(key, (H, 1, 3)), "columns": jnp.zeros((1, W, 3))}

    def to_image(theta):
        return (theta["rows"] + theta["columns"])[None]

    p = param.from_functions(init, to_image)
    assert p.shape == (1, H, W, 3)
    valid = param.to_valid_rgb(p, decorrelate=True)
    theta = valid.init(key)
    np.testing.assert_allclose(valid.to_image(theta), param.to_valid_rgb(to_image(theta), decorrelate=True), atol=1e-6)
    assert jax.tree.structure(p) == jax.tree.structure(param.from_functions(init, to_image))


# --- bad input ---


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: param.image(), ValueError, "w=None leaves the size open"),
        (lambda: param.image(0), ValueError, "w=0 must be an integer >= 1"),
        (lambda: param.image(32.0), TypeError, "w=32.0"),
        (lambda: param.image(32, batch=0), ValueError, "batch=0"),
        (lambda: param.image(32, 24, 0.05), TypeError, "Lucent's third argument is sd: write sd=0.05"),
        (lambda: param.image(32, sd=-1), ValueError, "sd=-1"),
        (lambda: param.image(32, channels=0), ValueError, "channels=0"),
        (lambda: param.image(32, channels=2, alpha=True), ValueError, "exclude each other"),
        (lambda: param.image(32, decay_power="1"), ValueError, "decay_power='1'"),
        (lambda: param.image(init=(photo() * 255).astype(np.uint8)), TypeError, "init has dtype uint8.*/ 255"),
        (lambda: param.image(init=photo() * 255), ValueError, "init has values in .* Divide by 255"),
        (lambda: param.image(init=np.full((H, W, 3), np.nan, np.float32)), ValueError, "init has values in"),
        (lambda: param.image(init=photo().transpose(2, 0, 1)), ValueError, "init .*channels-first.*moveaxis"),
        (lambda: param.image(init=photo()[..., 0]), ValueError, "init has shape"),
        (lambda: param.image(init="cat.png"), TypeError, "init must be an array"),
        (lambda: param.image(W, init=photo()), ValueError, r"init has shape \(1, 19, 27, 3\).*Leave them out"),
        (lambda: param.image(batch=3, init=np.stack([photo()] * 2)), ValueError, "batch=3"),
        (lambda: param.fft_image((1, 3, 32, 40)), ValueError, "channels-first"),
        (lambda: param.pixel_image((32, 40, 3)), ValueError, r"must be \(B, H, W, C\)"),
        (lambda: param.to_valid_rgb(lambda: 0), TypeError, "t=.*image_f"),
        (lambda: param.to_valid_rgb(param.fft_image((1, H, W, 4)), decorrelate=True), ValueError, "3 colour channels, but t has 4"),
        (lambda: param.from_functions(1, lambda t: t), TypeError, "init=1 must be a function"),
        (lambda: param.from_functions(lambda k: 0, lambda t: jnp.zeros((H, W, 3))), ValueError, "one array"),
        (lambda: param.from_functions(lambda k: 0, lambda t: jnp.zeros((1, H, W, 3), int)), TypeError, "int32"),
    ],
)
def test_errors(make, error, match):
    with pytest.raises(error, match=match):
        make()
