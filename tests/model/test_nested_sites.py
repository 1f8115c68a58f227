"""Sites inside what the user jitted, checkpointed or mapped: read, changed, and never kept by the
user's own function.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import jaxlens
from jaxlens import attribution
from jaxlens.model import Preprocess, rules
from jaxlens.model.interceptors import ablate, perturb, replace
from tests.helpers import images, relative_error

SIZE = (16, 20)
OPTIONS = {"preprocess": Preprocess(), "input_size": SIZE}
W = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)), jnp.float32)
X = images(count=2, size=SIZE)


def block(x):
    return jaxlens.site("a", jax.nn.relu)(x @ W - 0.5)


TRANSFORMED = {
    "jit": jax.jit(block),
    "checkpoint": jax.checkpoint(block),
    "jit of checkpoint": jax.jit(jax.checkpoint(block)),
    "jit of jit": jax.jit(lambda x: jax.jit(block)(x)),
    "vmap over images": jax.vmap(block),
    "vmap of jit": jax.vmap(jax.jit(block)),
    "images mapped from the last axis": lambda x: jax.vmap(block, in_axes=-1)(jnp.moveaxis(x, 0, -1)),
}


def network(inner):
    return jaxlens.Model.from_function(lambda _, x: jaxlens.site("b", jnp.tanh)(inner(x)).mean((1, 2)), {}, **OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRANSFORMED)
def test_a_site_inside_is_read_and_changed_and_the_function_is_unharmed(kind):
    inner = TRANSFORMED[kind]
    before = np.asarray(inner(X))  # the cache of jit holds it now, without sites
    model = network(inner)
    assert list(model.layers) == ["input", "a", "b", "logits"] and model.layers["a"].shape == (*SIZE, 5)
    right = np.asarray(jax.nn.relu(X @ W - 0.5))
    for _ in range(2):
        assert relative_error(jaxlens.activations(model, X, ["a"])["a"], right) < 1e-5
        changed = jaxlens.activations(model, X, ["logits"], [ablate("a", [0, 2], 3.0)])["logits"]
        assert relative_error(changed, np.tanh(np.where(np.isin(np.arange(5), [0, 2]), 3.0, right)).mean((1, 2))) < 1e-5
        assert np.array_equal(np.asarray(inner(X)), before)
    assert relative_error(model(X), np.tanh(right).mean((1, 2))) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jit", "checkpoint", "vmap of jit"])
def test_gradients_and_rules_at_a_site_inside_are_those_of_the_plain_function(kind):
    inside, plain = network(TRANSFORMED[kind]), network(block)
    for model in (inside, plain):
        assert model.accepts_rule(rules.guided(allow=("tanh",)), ["logits"])
    methods = {
        "at the layer": lambda m: attribution.saliency(m, X, 1, layer="a", sign="all").values,
        "at the image": lambda m: attribution.saliency(m, X, 1, sign="all").values,
        "guided": lambda m: attribution.saliency(m.with_gradient_rule(rules.guided(allow=("tanh",))), X, 1, sign="all").values,
        "integrated": lambda m: attribution.integrated_gradients(m, X, 1, layer="a", steps=4, tolerance=None).values,
    }
    for name, method in methods.items():
        assert relative_error(method(inside), method(plain)) < 1e-5, name


def test_a_function_that_runs_twice_gives_two_calls():
    twice = jax.jit(lambda x: jaxlens.site("r", jax.nn.relu)(x))
    model = jaxlens.Model.from_function(lambda _, x: twice(twice(x - 0.5) - 0.1).mean((1, 2)), {}, **OPTIONS)
    assert [name for name in model.layers if name.startswith("r")] == ["r@0", "r@1"]
    first = np.maximum(np.asarray(X) - 0.5, 0)
    found = jaxlens.activations(model, X, ["r@0", "r"], [replace("r@0", first * 2)])
    assert relative_error(found["r"], np.maximum(first * 2 - 0.1, 0)) < 1e-5


def test_inside_loops_other_maps_and_derivatives_a_site_is_no_layer():
    def forward(_, x):
        looped = jax.lax.scan(lambda c, _: (jaxlens.site("scan", jnp.tanh)(c), None), x, length=2)[0]
        mapped = jax.vmap(jaxlens.site("map", jnp.tanh), in_axes=3, out_axes=3)(x)
        slope = jax.grad(lambda y: jaxlens.site("grad", jnp.tanh)(y).sum())(x)
        return (looped + mapped + slope).mean((1, 2))

    model = jaxlens.Model.from_function(forward, {}, **OPTIONS)
    assert list(model.layers) == ["input", "logits"]
    right = np.tanh(np.tanh(X)) + np.tanh(X) + (1 - np.tanh(X) ** 2)
    assert relative_error(model(X), right.mean((1, 2))) < 1e-5
    with pytest.raises(jaxlens.errors.UnknownLayerError, match="scan"):
        jaxlens.activations(model, X, ["scan"])


def test_other_inputs_for_a_layer_inside_are_refused():
    model = network(TRANSFORMED["jit"])
    with pytest.raises(TypeError, match=r"layer 'a' other inputs.*change what the layer outputs"):
        jaxlens.activations(model, X, ["logits"], [lambda site, call, x: call(x + 1) if site.name == "a" else call(x)])
    outputs = jaxlens.activations(network(block), X, ["logits"], [lambda s, call, x: call(x + 1) if s.name == "a" else call(x)])
    assert relative_error(outputs["logits"], model(X)) > 1e-3  # outside it is possible, and matters


class Block(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(4, 4, (3, 3), rngs=rngs)

    def __call__(self, x):
        return nnx.relu(self.conv(x))


class JittedBlock(Block):
    @nnx.jit
    def __call__(self, x):
        return nnx.relu(self.conv(x))


LIFTED = {
    "remat": lambda m, x: nnx.remat(lambda m, y: m(y))(m, x),
    "jit": lambda m, x: nnx.jit(lambda m, y: m(y))(m, x),
    "a jitted method": lambda m, x: m(x),
}


class Lifted(nnx.Module):
    def __init__(self, kind):
        rngs = nnx.Rngs(0)
        self.kind, self.stem, self.fc = kind, nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.Linear(4, 3, rngs=rngs)
        self.block = (JittedBlock if kind == "a jitted method" else Block)(rngs)

    def __call__(self, x):
        x = self.stem(x)
        x = self.block(x) if self.kind == "plain" else LIFTED[self.kind](self.block, x)
        return self.fc(x.mean((1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", LIFTED)
def test_flax_nnx_lifted_transforms(kind):
    plain, lifted = (jaxlens.Model.from_nnx(Lifted(k), **OPTIONS) for k in ("plain", kind))
    assert list(lifted.layers) == list(plain.layers)
    for layer in plain.layers:
        assert relative_error(*(jaxlens.activations(m, X, [layer])[layer] for m in (lifted, plain))) < 1e-5
        more = perturb(layer, jnp.ones((1, *plain.layers[layer].shape)))
        changed = [jaxlens.activations(m, X, ["logits"], [more])["logits"] for m in (lifted, plain)]
        assert relative_error(*changed) < 1e-5
    assert relative_error(*(attribution.saliency(m, X, 1, sign="all").values for m in (lifted, plain))) < 1e-5


class Stacked(nnx.Module):
    """Two layers with one name: `nnx.scan` over stacked parameters."""

    def __init__(self):
        self.stem = nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0))
        self.blocks = nnx.vmap(lambda rngs: Block(rngs), in_axes=0)(nnx.Rngs(1).split(2))

    def __call__(self, x):
        x = self.stem(x)
        return nnx.scan(lambda x, block: (block(x), None), in_axes=(nnx.Carry, 0))(x, self.blocks)[0].mean((1, 2))


def test_flax_nnx_scan_keeps_values_and_gradients_and_hides_its_layers():
    net = Stacked()
    model = jaxlens.Model.from_nnx(net, **OPTIONS)
    assert list(model.layers) == ["input", "stem", "logits"]
    graph, state = nnx.split(net)
    value, slope = jax.value_and_grad(lambda x: jax.jit(lambda s, x: nnx.merge(graph, s, copy=True)(x))(state, x)[:, 1].sum())(
        X
    )
    assert relative_error(model(X)[:, 1].sum(), value) < 1e-5
    assert relative_error(attribution.saliency(model, X, 1, sign="all").values, slope) < 1e-5


class LinenLifted(linen.Module):
    wrap: object = None

    @linen.compact
    def __call__(self, x):
        conv = linen.Conv if self.wrap is None else self.wrap(linen.Conv)
        return linen.Dense(3)(linen.relu(conv(4, (3, 3), name="c")(x)).mean((1, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [linen.remat, linen.jit, functools.partial(linen.checkpoint, prevent_cse=False)])
def test_flax_linen_lifted_transforms(wrap):
    variables = LinenLifted().init(jax.random.key(0), X)
    plain, lifted = (jaxlens.Model.from_linen(LinenLifted(w), variables, **OPTIONS) for w in (None, wrap))
    assert list(lifted.layers) == list(plain.layers) and "c" in plain.layers
    for layer in plain.layers:
        assert relative_error(*(jaxlens.activations(m, X, [layer])[layer] for m in (lifted, plain))) < 1e-5
    assert relative_error(*(attribution.saliency(m, X, 1, layer="c", sign="all").values for m in (lifted, plain))) < 1e-5
