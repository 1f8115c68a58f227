"""A Model and the module it was made of: it has weights of its own, and `update` takes whatever has
changed.
"""

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx

import jaxlens
from jaxlens import attribution
from jaxlens.model import Model, Preprocess, interceptors
from jaxlens.optvis import param
from tests.helpers import images, relative_error

pytestmark = pytest.mark.filterwarnings("ignore:Using .Module.sow")  # outside of `nnx.capture`, as in older code
SIZE = (12, 16)
OPTIONS = {"preprocess": Preprocess(), "input_size": SIZE}
X = images(count=2, size=SIZE)


class Net(nnx.Module):
    def __init__(self, rngs):
        self.conv, self.act, self.scale = nnx.Conv(3, 5, (3, 3), rngs=rngs), nnx.relu, 2.0

    def __call__(self, x):
        x = self.conv(x)
        self.sow(nnx.Intermediate, "seen", x)
        return self.act(x).mean((1, 2)) * self.scale


class Eqx(eqx.Module):
    conv: eqx.nn.Conv2d
    scale: float
    act: object

    def __call__(self, x):
        return self.act(self.conv(x)).mean((1, 2)) * self.scale


def test_settings_of_an_nnx_module_are_taken_too():
    net = Net(nnx.Rngs(0))
    model = Model.from_nnx(net, **OPTIONS)
    changes = [lambda: setattr(net, "scale", 3.0), lambda: setattr(net, "act", jnp.tanh), lambda: net(X)]
    changes.append(lambda: setattr(net.conv, "strides", (2, 2)))
    for change in changes:
        change()
        assert relative_error(model.update(net)(X), net(X)) < 1e-5
    plain = model.update(net)
    assert plain.update(net).forward is plain.forward  # nothing changed: the same program


def test_settings_of_an_equinox_module_are_taken_too():
    conv = eqx.nn.Conv2d(3, 5, 3, key=jax.random.key(0))
    model = Model.from_equinox(Eqx(conv, 2.0, jax.nn.relu), **OPTIONS)
    for other in (Eqx(conv, 3.0, jax.nn.relu), Eqx(conv, 2.0, jnp.tanh)):
        want = jax.vmap(other)(jnp.moveaxis(X, -1, 1))
        assert relative_error(model.update(other)(X), want) < 1e-5
    assert model.update(Eqx(conv, 2.0, jax.nn.relu)).forward is model.forward


def three_times(tree):
    return jax.tree.map(lambda x: x * 3, tree)


def linen_model():
    module = linen.Dense(5)
    variables = dict(module.init(jax.random.key(0), X))
    return Model.from_linen(module, variables, output=lambda y: y.mean((1, 2)), **OPTIONS), lambda: variables.update(
        three_times(variables)
    )


def function_model():
    params = {"w": jnp.ones((3, 5))}
    model = Model.from_function(lambda p, x: x.mean((1, 2)) @ p["w"], params, **OPTIONS)
    return model, lambda: params.update(three_times(params))


def haiku_model():
    net = hk.transform(lambda x: hk.Linear(5)(x.mean((1, 2))))
    params = net.init(jax.random.key(0), X)
    return Model.from_haiku(net, params, **OPTIONS), lambda: params["linear"].update(three_times(params["linear"]))


def numpy_model():
    weights = np.ones((3, 5), np.float32)
    return Model.from_function(lambda p, x: x.mean((1, 2)) @ p, weights, **OPTIONS), lambda: np.multiply(
        weights, 3, out=weights
    )


def updated_model():
    model, weights = numpy_model()[0], np.full((3, 5), 2, np.float32)
    return model.update(weights), lambda: np.multiply(weights, 3, out=weights)


def replaced_model():
    model, weights = function_model()[0], {"w": np.full((3, 5), 2, np.float32)}
    return model.replace(params=weights), lambda: weights.update(three_times(weights))


@pytest.mark.parametrize("make", [linen_model, function_model, haiku_model, numpy_model, updated_model, replaced_model])
def test_what_happens_to_the_callers_weights_does_not_happen_to_the_models(make):
    model, change = make()
    before = np.array(model(X))
    change()
    np.testing.assert_array_equal(model(X), before)


def test_a_training_step_may_donate_the_weights():
    net = Net(nnx.Rngs(0))
    model = Model.from_nnx(net, **OPTIONS)
    before = np.array(model(X))

    @nnx.jit(donate_argnums=0)
    def step(net):
        net.conv.kernel[...] = net.conv.kernel[...] * 2
        return net(X)

    after = np.array(step(net))
    second = model.update(net)
    step(net)
    np.testing.assert_array_equal(model(X), before)
    assert relative_error(second(X), after) < 1e-5


def test_haiku_without_random_keys():
    net = hk.without_apply_rng(hk.transform(lambda x: hk.Linear(5)(x.mean((1, 2)))))
    params = net.init(jax.random.key(0), X)
    assert relative_error(Model.from_haiku(net, params, **OPTIONS)(X), net.apply(params, X)) < 1e-6
    stateful = hk.without_apply_rng(
        hk.transform_with_state(lambda x: x.mean((1, 2)) * hk.get_state("s", [1, 3], init=jnp.ones))
    )
    params, state = stateful.init(jax.random.key(0), X)
    want, _ = stateful.apply(params, state, X)
    assert relative_error(Model.from_haiku(stateful, params, state, **OPTIONS)(X), want) < 1e-6
    dropping = hk.transform(lambda x: hk.dropout(hk.next_rng_key(), 0.5, x).mean((1, 2)))
    with pytest.raises(ValueError, match=r"draws random numbers.*evaluation mode"):
        Model.from_haiku(dropping, {}, **OPTIONS)(X)


def test_another_size_for_a_network_of_one_size_is_told_with_the_right_one():
    class Mlp(nnx.Module):
        def __init__(self, rngs):
            self.fc = nnx.Linear(12 * 16 * 3, 5, rngs=rngs)

        def __call__(self, x):
            return self.fc(x.reshape(x.shape[0], -1))

    model, other = Model.from_nnx(Mlp(nnx.Rngs(0)), **OPTIONS), images(count=1, size=(20, 24))
    for call in (model, lambda x: attribution.saliency(model, x, 1), lambda x: jaxlens.activations(model, x, ["fc"])):
        with pytest.raises(
            ValueError, match=r"Mlp does not take images of 20x24, but of 12x16 only.*fixed_image_size=\(12, 16\)"
        ):
            call(other)


def test_what_pytorch_holds_is_no_update():
    model = function_model()[0]
    for source in (torch.nn.Linear(3, 5), torch.nn.Linear(3, 5).state_dict()):
        with pytest.raises(TypeError, match=r"PyTorch's tensors.*Model\.from_torch"):
            model.update(source)


def at_an_even_place(shape, value):
    """A NumPy array that begins where JAX takes it over without a copy."""
    size = 4 * int(np.prod(shape))
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    array = raw[start : start + size].view(np.float32).reshape(shape)
    array[...] = value
    return array


def test_arrays_that_are_filled_anew_do_not_change_what_was_made_of_them():
    """As the buffers of a loader are."""
    model = Model.from_function(lambda _, x: x.mean((1, 2)), np.zeros(()), **OPTIONS | {"input_size": (600, 500)})
    for _ in range(3):
        buffer, weights = (at_an_even_place((1, 600, 500, 3), value) for value in (0.5, 1.0))
        start, other, plain = (
            param.image(init=buffer[0]),
            interceptors.replace("input", weights),
            jnp.asarray(weights, jnp.float32),
        )
        seen = model(buffer)
        buffer *= 0
        weights *= 0
        np.testing.assert_allclose(seen, 0.5, rtol=1e-5)
        np.testing.assert_allclose(start.to_image(start.init(jax.random.key(0))), 0.5, atol=1e-3)
        np.testing.assert_allclose(jaxlens.activations(model, buffer, ["logits"], [other])["logits"], 1, rtol=1e-5)
        assert float(plain.sum()) == 0  # JAX's own has changed
