"""Parameterizations: what they decode to (against Lucent and by hand), and that they can be
optimized and inverted.
"""

import functools
import warnings
from inspect import unwrap  # off with the type checker that tests run under, to see our own message

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlens.optvis import param
from tests.pictures import H, W, photo

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


@pytest.fixture
def key():
    return jax.random.key(5)


# Most of this file's time is compilation; without LLVM's optimizations it takes half as long.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@quick_jit
def start(p, key):
    """Theta and its images, compiled once per kind of parameterization for the whole file."""
    theta = p.init(key)
    return theta, p.to_image(theta)


@quick_jit
def decode(p, theta):
    return p.to_image(theta)


def some_theta(p, sd=1.0):
    """A theta of the right shape; from NumPy, because compiling a `jax.random` draw takes a second
    for every shape.
    """
    theta = jax.eval_shape(p.init, jax.random.key(0))
    assert theta.dtype == jnp.float32  # real, also for Fourier
    return jnp.asarray(sd * np.random.default_rng(1).standard_normal(theta.shape), jnp.float32)


SIZES = [(name, H, W) for name in CONFIGURATIONS] + [("default", 16, 22), ("default", 17, 8), ("pixels", 16, 22)]


@pytest.mark.parametrize(("name", "h", "w"), SIZES)
def test_images_are_valid(name, h, w):
    options = CONFIGURATIONS[name]
    p = param.image(w, h, batch=2, **options)
    for sd in (0.01, 1e4):
        images = decode(p, some_theta(p, sd))
        assert images.shape == p.shape == (2, h, w, options.get("channels", 4 if options.get("alpha") else 3))
        assert images.dtype == jnp.float32
        assert float(images.min()) >= 0 and float(images.max()) <= 1
        assert not np.array_equal(images[0], images[1])


@pytest.mark.parametrize("fft", [True, False])
def test_start(fft, key):
    p = param.image(W, H, batch=2, fft=fft)
    theta, images = start(p, key)
    np.testing.assert_allclose(np.std(theta), 0.01, rtol=0.05)  # Lucid's default
    np.testing.assert_allclose(np.mean(theta), 0, atol=5e-4)
    np.testing.assert_allclose(images, 0.5, atol=0.05)
    assert not np.array_equal(images[0], images[1])
    np.testing.assert_array_equal(theta, start(p, key)[0])  # the same key: the same start
    assert not np.array_equal(theta, start(p, jax.random.key(6))[0])


def test_start_deviation(key):
    for sd in (0.3, 0):
        theta = param.image(W, H, batch=2, sd=sd, fft=False).init(key)
        np.testing.assert_allclose(np.std(theta), sd, rtol=0.05)


def test_vmap_over_tasks_is_a_loop(key):
    p, keys = param.image(W, H, batch=2), jax.random.split(key, 3)
    _, together = quick_jit(jax.vmap(start.__wrapped__, (None, 0)))(p, keys)
    alone = np.stack([start(p, k)[1] for k in keys])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_equal_parameterizations_share_one_program():
    traces = []

    @jax.jit
    def run(p, theta):
        traces.append(p)
        return p.to_image(theta)

    p = param.image(W, H, sd=0.1)
    theta = some_theta(p)
    run(p, theta)
    run(param.image(w=W, h=H, sd=0.1, batch=1), theta)
    run(param.to_valid_rgb(param.fft_image((1, H, W, 3), sd=0.1), decorrelate=True), theta)
    assert len(traces) == 1
    run(param.image(init=photo()), theta)
    run(param.image(init=1 - photo()), theta)  # the initial image is a leaf
    assert len(traces) == 2
    run(param.image(W, H, sd=0.2), theta)
    assert len(traces) == 3  # the counter counts


def test_keywords_of_lucid_and_of_lucent():
    lucid = param.image(w=W, h=H, batch=2, sd=0.1, decorrelate=False, fft=False, alpha=False, channels=None)
    lucent = param.image(w=W, h=H, sd=0.1, batch=2, decorrelate=False, fft=False, channels=None)
    assert (
        jax.tree.structure(lucid) == jax.tree.structure(lucent) == jax.tree.structure(param.image(W, H, 2, 0.1, False, False))
    )
    assert param.image(128).shape == (1, 128, 128, 3)
    assert param.pixel_image((2, H, W, 3), sd=0.5).shape == param.fft_image(shape=[2, H, W, 3], sd=1, decay_power=2).shape


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
    values = np.array(theta)
    if odd:  # Lucent's unused last column: anything
        values = np.concatenate([values, np.full_like(values[..., -1:, :], 7)], axis=-2)
    assert tuple(parameter.shape) == values.shape
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(values))
        return np.moveaxis(image_f().numpy(), 1, -1)


@pytest.mark.parametrize("size", [(16, 22), (17, 8), (H, W), (18, 15)])
def test_fourier_decodes_as_lucent(size, lucent):
    h, w = size
    shape = (2, h, w, 3)
    for power in (1, 1.5):
        p = param.fft_image(shape, decay_power=power)
        theta = some_theta(p, 2.0)
        from lucent.optvis.param.spatial import fft_image

        want = lucent_twin(fft_image([2, 3, h, w], decay_power=power), theta, odd=w % 2)
        np.testing.assert_allclose(p.to_image(theta), want, rtol=1e-4, atol=2e-6 * np.abs(want).max())


@pytest.mark.parametrize("options", [{}, {"decorrelate": False}, {"channels": 3}])
def test_image_decodes_as_lucent(options, lucent):
    p = param.image(22, 16, batch=2, **options)
    theta = some_theta(p, 2.0)
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


@pytest.mark.parametrize(("name", "h", "w"), SIZES)
def test_init_comes_back(name, h, w, key):
    options = CONFIGURATIONS[name]
    image = photo(h, w, options.get("channels", 4 if options.get("alpha") else 3))
    p = param.image(init=image, **options)
    assert p.shape == (1, *image.shape)
    np.testing.assert_allclose(start(p, key)[1][0], image, atol=2e-5)
    extreme = np.round(image)
    back = start(param.image(init=extreme, **options), key)[1][0]
    assert float(np.abs(back - extreme).max()) < 1.1e-3


def test_init_fills_a_batch_and_takes_noise(key):
    image = photo()
    _, images = start(param.image(W, H, batch=3, init=image), key)
    assert images.shape == (3, H, W, 3)
    np.testing.assert_allclose(images[0], images[2], rtol=1e-6)  # lanes of one kernel may round apart
    _, noisy = start(param.image(batch=3, init=image, sd=0.1), key)
    difference = np.asarray(noisy) - image
    assert 1e-3 < np.abs(difference).mean() < 0.1
    assert not np.array_equal(difference[0], difference[1])
    stack = np.stack([image, 1 - image])
    np.testing.assert_allclose(start(param.image(init=stack), key)[1], stack, atol=2e-5)


def test_init_under_jit(key):
    @jax.jit
    def again(image):
        p = param.image(init=image)
        return p.to_image(p.init(key))

    np.testing.assert_allclose(again(photo())[0], photo(), atol=2e-5)


# --- colour and range ---


def test_colour_axes():
    np.testing.assert_allclose(np.linalg.norm(param.color.color_correlation_normalized, axis=0).max(), 1, rtol=1e-6)
    want = [[0.56282854, 0.58447580, 0.58447580], [0.19482528, 0, -0.19482528], [0.04329450, -0.10823626, 0.06494176]]
    np.testing.assert_allclose(param.color.to_rgb(jnp.eye(3)), want, atol=1e-6)  # the numbers Horama and xplique list
    t = np.random.default_rng(0).standard_normal((2, 4, 5, 3)).astype(np.float32)
    rgb = jax.jit(param.color.to_rgb)(t)
    np.testing.assert_allclose(rgb, t @ np.asarray(want, np.float32), atol=1e-5)
    np.testing.assert_allclose(jax.jit(param.color.from_rgb)(rgb), t, atol=1e-5)


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
    np.testing.assert_array_equal(
        jax.grad(lambda x: jnp.clip(x, -1, 1).sum())(x)[jnp.array([0, 5])], [0, 0]
    )  # plain clip: stuck


def test_clipped_pixels_leave_the_border_when_the_score_asks():
    p = param.image(W, H, fft=False, decorrelate=False, sigmoid=False)
    theta = jnp.full(p.shape, 2.0)  # far outside: white
    score = jax.jit(jax.value_and_grad(lambda t: -jnp.square(p.to_image(t) - 0.7).mean() * t.size))
    for _ in range(200):
        theta = theta + 0.05 * score(theta)[1]
    np.testing.assert_allclose(p.to_image(theta), 0.7, atol=1e-2)


@pytest.mark.parametrize("name", ["default", "clipped"])
def test_float32_under_x64(name, key):
    with jax.enable_x64(True):
        fresh = jax.eval_shape(param.image(W, H, **CONFIGURATIONS[name]).init, key)
        p = param.image(init=photo(), **CONFIGURATIONS[name])
        theta, images = start(p, key)
        gradient = jax.jit(jax.grad(lambda t: p.to_image(t).sum()))(theta)
        assert fresh.dtype == theta.dtype == images.dtype == gradient.dtype == jnp.float32


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
        (lambda: unwrap(param.image)(32.0), TypeError, "w=32.0"),
        (lambda: param.image(32, batch=0), ValueError, "batch=0"),
        (lambda: unwrap(param.image)(32, 24, 0.05), TypeError, "Lucent's third argument is sd: write sd=0.05"),
        (lambda: param.image(32, sd=-1), ValueError, "sd=-1"),
        (lambda: param.image(32, channels=0), ValueError, "channels=0"),
        (lambda: param.image(32, channels=2, alpha=True), ValueError, "exclude each other"),
        (lambda: unwrap(param.fft_image)((1, H, W, 3), decay_power="1"), ValueError, "decay_power='1'"),
        (lambda: param.image(init=(photo() * 255).astype(np.uint8)), TypeError, "init has dtype uint8.*/ 255"),
        (lambda: param.image(init=photo() * 255), ValueError, "init has values in .* Divide by 255"),
        (lambda: param.image(init=np.full((H, W, 3), np.nan, np.float32)), ValueError, "init holds NaN"),
        (lambda: param.image(init=photo().transpose(2, 0, 1)), ValueError, "init .*channels-first.*moveaxis"),
        (lambda: param.image(init=photo()[..., 0]), ValueError, "init has shape"),
        (lambda: param.image(init="cat.png"), TypeError, "init must be an array"),
        (lambda: param.image(W, init=photo()), ValueError, r"init has shape \(1, 19, 27, 3\).*Leave them out"),
        (lambda: param.image(batch=3, init=np.stack([photo()] * 2)), ValueError, "batch=3"),
        (lambda: param.fft_image((1, 3, 32, 40)), ValueError, "channels-first"),
        (lambda: param.pixel_image((32, 40, 3)), ValueError, r"must be \(B, H, W, C\)"),
        (lambda: param.to_valid_rgb(lambda: 0), TypeError, "t=.*image_f"),
        (
            lambda: param.to_valid_rgb(param.fft_image((1, H, W, 4)), decorrelate=True),
            ValueError,
            "3 colour channels, but t has 4",
        ),
        (lambda: unwrap(param.from_functions)(1, lambda t: t), TypeError, "init=1 must be a function"),
        (lambda: param.from_functions(lambda k: 0, lambda t: jnp.zeros((H, W, 3))), ValueError, "one array"),
        (lambda: param.from_functions(lambda k: 0, lambda t: jnp.zeros((1, H, W, 3), int)), TypeError, "int32"),
    ],
)
def test_errors(make, error, match):
    with pytest.raises(error, match=match):
        make()
