"""Gradient rules: hand-computed toys, captum, every spelling of ReLU, and what must be refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxlens._program import plain_gradient, trace
from jaxlens.errors import GradientRuleError
from jaxlens.model._rules import (
    GradientRule,
    apply_rule,
    deconvnet,
    guided,
    redirected,
    standard,
)

RELUS = {
    "jax.nn.relu": jax.nn.relu,
    "jitted": jax.jit(lambda x: jax.nn.relu(x)),
    "maximum": lambda x: jnp.maximum(x, 0),
    "maximum swapped, zeros array": lambda x: jnp.maximum(jnp.zeros(x.shape), x),
    "maximum, closed-over zeros": lambda x: jnp.maximum(x, ZEROS),
    "clip": lambda x: jnp.clip(x, 0),
    "where >": lambda x: jnp.where(x > 0, x, 0),
    "where >= jitted": jax.jit(lambda x: jnp.where(x >= 0, x, jnp.zeros_like(x))),
    "where <=": lambda x: jnp.where(x <= 0, 0, x),
    "where 0 <": lambda x: jnp.where(lax.lt(jnp.zeros_like(x), x), x, 0),
    "mask": lambda x: x * (x > 0),
    "checkpoint": jax.checkpoint(lambda x: jnp.maximum(x, 0)),
    "bfloat16 inside": lambda x: jax.nn.relu(x.astype(jnp.bfloat16)).astype(jnp.float32),
    "vmapped": lambda x: jax.vmap(jax.nn.relu)(x),
}
ZEROS = np.zeros((2, 4), np.float32)
RELU6S = {
    "jax.nn.relu6": jax.nn.relu6,
    "clip": lambda x: jnp.clip(x, 0, 6),
    "clamp": lambda x: lax.clamp(0.0, x, 6.0),
    "max(min)": lambda x: jnp.maximum(jnp.minimum(x, 6), 0),
}
X = jnp.array([[5.0, -1.0, -5.0, 10.0], [3.0, 0.5, -7.0, 2.0]])
UP, NONE = jnp.asarray(X > 0, jnp.float32), jnp.zeros_like(X)


@pytest.fixture(autouse=True)
def _broadcasting_is_legal():
    """The networks here are users' own code, which may rely on it."""
    with jax.numpy_rank_promotion("allow"):
        yield


def gradient(rule, fn, x, *args):
    """Of the sum of all outputs."""
    return jax.jit(jax.grad(lambda x: jnp.sum(apply_rule(rule, fn)(x, *args))))(x)


def count_relus(fn, *args):
    """How many ReLUs lie between the first argument of `fn(*args)` and its outputs."""
    return len(trace(fn, args).relus)


def one_conv(relu, image):
    """Captum's OneConv toy, class 0: conv 1->2 of ones, biases -50 and -75, then a row of five ones
    and three minus ones.
    """
    conv = lax.conv_general_dilated(image, jnp.ones((3, 3, 1, 2)), (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    flat = jnp.moveaxis(relu(conv + jnp.array([-50.0, -75.0])), -1, 1).reshape(-1)  # channels first, as torch flattens
    return relu(flat @ jnp.array([1.0, 1, 1, 1, 1, -1, -1, -1]))


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
def test_every_spelling(relu):

    def fn(x, w):
        return relu(x) * w

    w = jnp.array([[1.0, -2.0, 3.0, -4.0], [5.0, 6.0, 7.0, -8.0]])
    assert count_relus(fn, X, w) == 1
    value, plain_value, got = jax.jit(lambda x: (apply_rule(guided(), fn)(x, w), fn(x, w), gradient(guided(), fn, x, w)))(X)
    np.testing.assert_array_equal(value, plain_value)
    np.testing.assert_array_equal(got, UP * np.maximum(w, 0))


@pytest.mark.parametrize("spelling", ["jax.nn.relu", "jitted", "maximum", "where >"])
def test_one_conv(spelling):
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    fn = functools.partial(one_conv, RELUS[spelling])
    results = [jax.jit(jax.value_and_grad(apply_rule(rule, fn)))(image) for rule in (standard(), guided(), deconvnet())]
    assert [float(value) for value, _ in results] == [54, 54, 54]
    plain, by_guided, by_deconvnet = (np.asarray(gradient)[0, :, :, 0] for _, gradient in results)
    np.testing.assert_array_equal(by_guided, [[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1]])
    np.testing.assert_array_equal(by_deconvnet, [[2, 3, 3, 1], [3, 5, 5, 2], [3, 5, 5, 2], [1, 2, 2, 1]])
    assert not np.array_equal(plain, by_guided)  # control: the toy tells a rule from the plain gradient
    assert not np.array_equal(plain, by_deconvnet)
    assert count_relus(fn, jax.ShapeDtypeStruct(image.shape, image.dtype)) == 2


def test_xplique_toys():
    x = jnp.array([5.0, 0.0, -5.0, 10.0])
    square, scaled = (lambda x: -jnp.square(jax.nn.relu(x))), (lambda x: 10 * jax.nn.relu(x))
    assert jnp.array_equal(gradient(guided(allow="square"), square, x), jnp.zeros(4))
    assert jnp.array_equal(gradient(deconvnet(), scaled, x), jnp.full(4, 10.0))
    assert jnp.array_equal(gradient(standard(), square, x), jnp.array([-10.0, 0, 0, -20]))
    assert jnp.array_equal(jax.grad(lambda x: scaled(x).sum())(x), jnp.array([10.0, 0, 0, 10]))  # untouched


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Setting .*hooks:UserWarning")  # captum says so on every use
@pytest.mark.parametrize(("rule", "method"), [(guided(), "GuidedBackprop"), (deconvnet(), "Deconvolution")])
def test_captum(rule, method):
    torch, attr = pytest.importorskip("torch"), pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    nn = torch.nn
    first, second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 5, 3, stride=2)
    head = (nn.ReLU(), nn.Flatten(), nn.Linear(20, 4), nn.ReLU())
    net = nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second, *head)
    image = torch.rand(2, 3, 11, 10)
    target = int(net(image).sum(0).argmax())
    want = getattr(attr, method)(net).attribute(image.requires_grad_(), target=target).detach()
    weights = {name: jnp.asarray(value.numpy()) for name, value in net.state_dict().items()}

    def conv(x, name, stride, pad):
        kernel = weights[f"{name}.weight"]
        dims = lax.conv_dimension_numbers(x.shape, kernel.shape, ("NCHW", "OIHW", "NCHW"))
        y = lax.conv_general_dilated(x, kernel, (stride,) * 2, [(pad, pad)] * 2, dimension_numbers=dims, precision="highest")
        return y + weights[f"{name}.bias"][:, None, None]

    def score(x):
        x = jax.nn.relu(conv(x[None], "0", 1, 1))
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        x = jnp.maximum(conv(x, "3", 2, 0), 0).reshape(-1)
        return jax.nn.relu(x @ weights["6.weight"].T + weights["6.bias"])[target]

    got = np.asarray(jax.vmap(functools.partial(gradient, rule, score))(image.detach().numpy()))
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-5, atol=1e-5 * np.abs(want.numpy()).max())
    assert np.abs(want.numpy()).max() > 0
    plain = jax.vmap(jax.grad(score))(image.detach().numpy())
    assert np.abs(got - plain).max() > 0.1 * np.abs(got).max()  # control


# Rows: a live image, one whose every gradient is cut, one that is cut and partly pushed lower.
PRE = jnp.array([[1.0, -1.0, 2.0], [-1.0, -2.0, -3.0], [-1.0, -2.0, -0.5]])
UPSTREAM = jnp.array([[1.0, 2.0, -3.0], [1.0, 2.0, 3.0], [-1.0, 2.0, -3.0]])


def weighted(x, w):
    return jax.nn.relu(x) * w


def redirect(x, w, active):
    return jax.grad(lambda x: apply_rule(redirected(active), weighted)(x, w).sum())(x)


def test_redirected_is_per_image():
    got = jax.jit(jax.vmap(redirect, (0, 0, None)))(PRE, UPSTREAM, True)
    assert jnp.array_equal(got, jnp.array([[1.0, 0, -3], [1, 2, 3], [0, 2, 0]]))


def test_redirected_switches_off_without_retracing():
    traces = []

    @jax.jit
    def run(x, active):
        traces.append(x.shape)
        return jax.vmap(redirect, (0, 0, None))(x, UPSTREAM[: len(x)], active)

    plain = jax.vmap(jax.grad(lambda x, w: weighted(x, w).sum()))(PRE, UPSTREAM)
    assert jnp.array_equal(run(PRE, jnp.array(False)), plain)
    assert not jnp.array_equal(run(PRE, jnp.array(True)), plain)
    assert len(traces) == 1
    run(PRE[:2], jnp.array(True))
    assert len(traces) == 2  # control: the counter does count


@pytest.mark.parametrize("relu6", RELU6S.values(), ids=RELU6S)
def test_relu6(relu6):
    x, dead, w = np.array([[-1.0, 3, 3, 7, 8], [-1, -2, 9, 7, 8], [1, 2, -2, 3, -3]], np.float32)

    def fn(x, w):
        return relu6(x) * w

    assert count_relus(fn, x, w) == 1

    @jax.jit
    def run(x, dead, w):
        cases = [(guided(), x, w), (deconvnet(), x, w), (redirected(), x, w), (redirected(), dead, w), (redirected(), dead, -w)]
        return [gradient(rule, fn, x, w) for rule, x, w in cases], apply_rule(guided(), fn)(x, w), fn(x, w)

    got, value, plain_value = run(x, dead, w)
    np.testing.assert_array_equal(got[0], [0, 2, 0, 0, 0])
    np.testing.assert_array_equal(got[1], [1, 2, 0, 3, 0])
    np.testing.assert_array_equal(got[2], [0, 2, -2, 0, 0])  # alive: the plain gradient
    np.testing.assert_array_equal(got[3], [1, 2, -2, 0, -3])
    np.testing.assert_array_equal(got[4], [0, 0, 0, -3, 0])
    np.testing.assert_array_equal(value, plain_value)


def custom_vjp(fn, backward):
    """`fn` with `backward(g)` for a gradient."""
    made = jax.custom_vjp(fn)
    made.defvjp(lambda x: (fn(x), None), lambda _, g: (backward(g),))
    return made


def loop(body):
    return lambda x: lax.scan(lambda c, _: (body(c), None), x, None, length=2)[0]


REFUSED = {
    "tanh": (jnp.tanh, "tanh"),
    "gelu": (jax.nn.gelu, "tanh"),
    "exact gelu": (functools.partial(jax.nn.gelu, approximate=False), "erf"),
    "silu": (jax.nn.silu, "logistic"),
    "hardswish": (jax.nn.hard_swish, r"mul \(two image-dependent"),
    "leaky_relu": (jax.nn.leaky_relu, "select_n"),
    "leaky as a max": (lambda x: jnp.maximum(x, 0.1 * x), r"max \(two functions of the same"),
    "abs as a max": (lambda x: jnp.maximum(x, -x), r"max \(two functions of the same"),
    "elu": (jax.nn.elu, "expm1"),
    "softplus": (jax.nn.softplus, "log1p"),
    "clip to 1": (lambda x: jnp.clip(x, 0, 1), "min"),
    "step": (lambda x: jnp.where(x > 0, 1.0, 0.0), "select_n"),
    "float of a bool": (lambda x: (x > 0).astype(jnp.float32), "convert_element_type"),
    "hidden by stop_gradient": (lambda x: jnp.where(lax.stop_gradient(x) > 0, x, 0.1 * x), "select_n"),
    "threshold": (lambda x: jnp.where(x > 1, x, 0), "select_n"),
    "attention": (lambda x: x @ x.T, r"dot_general \(two"),
    "norm": (lambda x: x / jnp.sum(x), "div"),
    "scan with a relu": (loop(jax.nn.relu), r"scan \(its body holds a ReLU"),
    "scan with a tanh": (loop(jnp.tanh), r"scan \(its body holds tanh"),
    "cond on the image": (lambda x: lax.cond(x[0, 0] > 0, lambda x: x, lambda x: 2 * x, x), "cond"),
    "custom_vjp of a tanh": (custom_vjp(jnp.tanh, lambda g: g), "tanh"),
}


@pytest.mark.parametrize(("fn", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(fn, message):
    with pytest.raises(GradientRuleError, match=message):
        apply_rule(guided(), lambda x: jax.nn.relu(fn(x)))(X)


ALLOWED = {
    "pool": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 1), "VALID"),
    "maxout": lambda x: jnp.maximum(x[:, :2], x[:, 2:]),
    "resize": lambda x: jax.image.resize(x, (3, 6), "bilinear"),
    "batch norm": lambda x: (x - 1) * lax.rsqrt(jnp.arange(1.0, 5)) / jnp.arange(1.0, 5),
    "indexing": lambda x: x[jnp.array([1, 0]), 1:].at[0, 0].set(2.0),
    "linear scan": loop(lambda c: 2 * c[:, ::-1]),
    "cond": lambda x: lax.cond(jnp.array(True), lambda x: x, lambda x: 2 * x, x),
    "dropout": lambda x: jnp.where(jax.random.bernoulli(jax.random.key(0), 0.5, x.shape), x, 0),
    "stopped": lambda x: x + lax.stop_gradient(jnp.tanh(jax.nn.relu(x))),
    "fft": lambda x: jnp.fft.irfft(jnp.fft.rfft(x, axis=1), axis=1),
    "marked": plain_gradient(jnp.tanh),
}


@pytest.mark.parametrize("fn", ALLOWED.values(), ids=ALLOWED)
def test_what_a_network_may_hold_besides(fn):
    def whole(x):
        return fn(-jax.nn.relu(x))

    @jax.jit
    def run(x):
        upstream = jax.grad(lambda y: fn(y).sum())(-jax.nn.relu(x))
        return gradient(guided(), whole, x), UP * jnp.maximum(-upstream, 0), apply_rule(guided(), whole)(x), whole(x)

    got, want, value, plain_value = run(X)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_array_equal(value, plain_value)
    assert count_relus(whole, X) == 1


def test_zero_relus():
    with pytest.raises(GradientRuleError, match="plain gradient") as error:
        apply_rule(deconvnet(), lambda x: 2 * x)(X)
    assert error.value.unknown == ()
    assert jnp.array_equal(gradient(standard(), jnp.tanh, NONE), jnp.ones_like(X))  # never raises


def test_error_lists_everything_with_its_layer():
    def net(x):
        for name in ("block1", "block2"):
            with jax.named_scope(name):
                x = jnp.sin(jax.nn.silu(jax.nn.relu(x)))
        return x

    with pytest.raises(GradientRuleError) as error:
        apply_rule(guided(), net)(X)
    message = str(error.value)
    assert "logistic: 2x, in block1/silu, block2/silu" in message
    assert "sin: 2x, in block1, block2" in message
    assert error.value.unknown == ("logistic", "mul", "sin")
    assert gradient(guided(allow=error.value.unknown), net, X).shape == X.shape
    by_function, by_primitive = (gradient(guided(allow=names), net, X) for names in (("silu", "sin"), error.value.unknown))
    assert jnp.array_equal(by_function, by_primitive)
    first, second = (functools.partial(gradient, guided(allow=names), net, X) for names in (("block1", "block2"), "block1"))
    with pytest.raises(GradientRuleError, match="found no ReLU"):
        first()  # an allowed layer keeps its ReLU's gradient as well
    with pytest.raises(GradientRuleError, match="sin: 1x, in block2\n"):
        second()


def test_unused_head_is_no_concern():
    def net(x):
        features = jax.nn.relu(x)
        return {"features": features, "head": jax.nn.softmax(features @ jnp.ones((4, 5)))}

    assert jnp.array_equal(gradient(guided(), lambda x: jax.jit(net)(x)["features"], X), UP)
    with pytest.raises(GradientRuleError, match="exp"):
        apply_rule(guided(), net)(X)


def test_plain_gradient_mark():
    traces = []

    def normalise(x, *, power):
        traces.append(power)
        return x / (1 + jnp.sum(x**2)) ** power

    def net(x):
        return plain_gradient(functools.partial(normalise, power=0.5))(-jax.nn.relu(x))

    with pytest.raises(GradientRuleError, match="in normalise|integer_pow|square"):
        apply_rule(guided(), lambda x: normalise(jax.nn.relu(x), power=0.5))(X)
    want = UP * jnp.maximum(-jax.grad(lambda y: normalise(y, power=0.5).sum())(-jax.nn.relu(X)), 0)
    got = jax.jit(jax.vmap(jax.grad(lambda x: apply_rule(guided(), net)(x).sum())))(X[None])[0]
    np.testing.assert_allclose(got, want, rtol=1e-6)
    traces.clear()
    for _ in range(3):
        plain_gradient(functools.partial(normalise, power=0.25))(X)
    static = plain_gradient(normalise, static_argnames="power")
    assert static(X, power=0.25).shape == X.shape
    assert traces == [0.25]


def test_custom_derivatives_are_kept_or_replaced():
    reverse, own_relu = custom_vjp(lambda x: 1.0 * x, lambda g: -g), custom_vjp(lambda x: jnp.maximum(x, 0), lambda g: 7 * g)
    assert jnp.array_equal(gradient(guided(), lambda x: -reverse(own_relu(x)), X), UP)


def test_traced_params_rules_and_leaks():
    def net(x, params):
        return jax.nn.relu(jax.nn.relu(x @ params["w"]) @ params["w"].T - params["b"])

    params = {"w": jnp.linspace(-1, 1, 12).reshape(4, 3), "b": jnp.float32(0.1)}
    rule = redirected(jnp.array(True))

    @jax.jit
    def run(rule, x, params):
        return jax.vmap(jax.grad(lambda x: apply_rule(rule, net)(x, params).sum()))(x)

    with jax.checking_leaks():
        got = run(rule, X[:, None], params)
    alone = jnp.concatenate([run(rule, x[None, None], params) for x in X])
    np.testing.assert_allclose(got, alone, rtol=1e-6)
    assert np.abs(got).max() > 0


def test_rules_are_pure_functions():
    for make in (standard, guided, deconvnet, redirected):
        rule = make()
        assert rule.relu(X, X).shape == rule.relu6(X, X).shape == X.shape
        assert isinstance(rule, GradientRule)
    assert guided(allow="tanh").allow == ("tanh",)
