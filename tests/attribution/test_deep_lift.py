"""DeepLift through every function of one value, equal inputs, infinities and half precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens import attribution
from jaxlens.errors import NonFiniteWarning
from tests.attribution.toys import image, vector_model

X, X0 = jnp.asarray([[-3.0, 2.0, 0.5, -0.5, 3.0, 1.0]]), jnp.asarray([[1.0, -2.0, 0.5, 2.0, -3.0, 0.0]])
WEIGHTS = jnp.asarray([[1.0, -2, 3, -4, 5, -6]])


def odd(x):
    return jnp.tanh(x)


custom = jax.custom_vjp(odd)
custom.defvjp(lambda x: (odd(x), None), lambda _, g: (7 * g,))
FUNCTIONS = {
    "leaky ReLU": jax.nn.leaky_relu, "ELU": jax.nn.elu, "SELU": jax.nn.selu, "softplus": jax.nn.softplus,
    "GELU": jax.nn.gelu, "SiLU": jax.nn.silu, "hard swish": jax.nn.hard_swish, "hard tanh": jax.nn.hard_tanh,
    "ReLU6": jax.nn.relu6, "step": lambda x: (x > 0).astype(x.dtype), "mask": lambda x: x * (x > 1),
    "shrink": lambda x: jnp.where(jnp.abs(x) > 0.5, x, 0), "own derivative": custom,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("fn", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_function_of_one_value_hands_on_its_rise(fn):
    model = vector_model(lambda x: (fn(x) * WEIGHTS).sum(-1), 6, scale=8.0, shift=-4.0)
    found = attribution.deep_lift(model, image(X, 8.0, -4.0), 0, baseline=image(X0, 8.0, -4.0))
    np.testing.assert_allclose(found.values[0, 0, :, 0], ((fn(X) - fn(X0)) * WEIGHTS)[0], atol=1e-5)
    np.testing.assert_allclose(found.delta, 0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Setting:UserWarning")  # captum says that it sets hooks
@pytest.mark.parametrize(("name", "fn"), [("LeakyReLU", jax.nn.leaky_relu), ("ELU", jax.nn.elu), ("Softplus", jax.nn.softplus)])
def test_activations_are_captums(name, fn):
    """Between two linear maps; one hidden unit is the same for image and baseline, and has the
    derivative for a slope.
    """
    torch, captum = pytest.importorskip("torch"), pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    first, last = torch.nn.Linear(6, 5), torch.nn.Linear(5, 1)
    with torch.no_grad():
        first.weight[0] = torch.tensor([1.0, 1, 0, 0, 0, 0])  # 3 - 4 = -1 and -1
        first.bias[0] = 0
    net = torch.nn.Sequential(first, getattr(torch.nn, name)(), last)
    given, start = (torch.tensor(np.asarray(x)) for x in (X, X0))
    want = captum.DeepLift(net).attribute(given.requires_grad_(), start)
    (w, b), (v, c) = ([jnp.asarray(p.detach().numpy()) for p in layer.parameters()] for layer in (first, last))
    model = vector_model(lambda x: fn(x @ w.T + b[None]) @ v.T + c[None], 6, scale=8.0, shift=-4.0)
    found = attribution.deep_lift(model, image(X, 8.0, -4.0), 0, baseline=image(X0, 8.0, -4.0))
    assert float(first(given).detach()[0, 0]) == float(first(start).detach()[0, 0])
    np.testing.assert_allclose(found.values[0, 0, :, 0], want.detach().numpy()[0], atol=1e-4)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: jax.nn.softmax(jnp.where(jnp.arange(6)[None] < 4, x, -jnp.inf), -1) @ WEIGHTS.T,
        lambda x: jnp.sqrt(jnp.square(x - x.mean(-1, keepdims=True)).sum(-1) + jnp.square(x[:, 2] - 0.5)),
        lambda x: jnp.sqrt(jnp.maximum(x[:, 2] - 0.5, 0)) + x[:, 0],
        lambda x: jnp.maximum(x, -jnp.inf).max(-1) + jnp.where(WEIGHTS > 0, x, -jnp.inf).max(-1),
    ],
    ids=["a masked softmax", "a standard deviation", "a root at 0", "masked maxima"],
)
def test_zero_by_zero_and_infinities_are_no_nan(fn):
    model = vector_model(fn, 6, scale=8.0, shift=-4.0)
    found = attribution.deep_lift(model, image(X, 8.0, -4.0), 0, baseline=image(X0, 8.0, -4.0))
    assert bool(jnp.isfinite(found.values).all())
    np.testing.assert_allclose(found.delta, 0, atol=1e-4)


def test_what_is_not_finite_is_told():
    """A number that is infinite for one of the two only has no slope."""
    model = vector_model(lambda x: jnp.where(x > 0, x, -jnp.inf).max(-1), 6, scale=8.0, shift=-4.0)
    with pytest.warns(NonFiniteWarning, match=r"deep_lift is NaN or infinite for image\(s\) 0 of 1"):
        attribution.deep_lift(model, image(X, 8.0, -4.0), 0, baseline=image(X0, 8.0, -4.0))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_half_precision_and_strict_promotion(dtype):
    weights = jnp.asarray([[0.5, -1], [1, 0.25], [-0.5, 1], [2, 1], [1, -1], [0.5, 0.5]], dtype)

    def forward(x):
        y = jax.nn.silu(jax.nn.leaky_relu(x.astype(dtype) @ weights + jnp.asarray([[0.25, 1.0]], dtype)))
        return (y * jnp.asarray([[1, -2]], dtype)).astype(jnp.float32).sum(-1)

    model = vector_model(forward, 6, scale=8.0, shift=-4.0)
    x, start = image(X, 8.0, -4.0), image(X0, 8.0, -4.0)
    with jax.numpy_dtype_promotion("strict"):
        lifted = attribution.deep_lift(model, x, 0, baseline=start)
        relevance = {rule: attribution.lrp(model, x, 0, rule=rule) for rule in ("epsilon", "gamma", "alpha_beta")}
        biases = attribution.full_grad(model, x, 0, absolute=False)
    exact = 0.05 if dtype == jnp.bfloat16 else 0.02
    np.testing.assert_allclose(lifted.delta, 0, atol=exact * float(jnp.abs(lifted.scores).max()))
    for found in (lifted, biases, *relevance.values()):
        assert bool(jnp.isfinite(found.values).all()) and float(jnp.abs(found.values).max()) > 0.1
