"""Interceptors: ablate, replace, perturb and one's own."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import jaxlens
from jaxlens.errors import UnknownLayerError
from jaxlens.model import interceptors as ic
from jaxlens.model import rules
from tests.helpers import SmallNet, images, relative_error, small_model


def test_ablate_zeroes_channels_there_and_changes_what_follows():
    model, x = small_model(), images()
    plain = jaxlens.activations(model, x, ["blocks.0.conv1", "logits"])
    cut = jaxlens.activations(model, x, ["blocks.0.conv1", "logits"], [ic.ablate("blocks.0.conv1", [1, 5])])
    assert not cut["blocks.0.conv1"][..., jnp.array([1, 5])].any()
    keep = jnp.array([0, 2, 3, 4, 6, 7])
    assert jnp.array_equal(cut["blocks.0.conv1"][..., keep], plain["blocks.0.conv1"][..., keep])
    assert not jnp.allclose(cut["logits"], plain["logits"])


def test_ablate_to_values_per_channel():
    got = jaxlens.activations(small_model(), images(), ["stem"], [ic.ablate("stem", [0, 3], jnp.array([2.0, -1.0]))])["stem"]
    assert (got[..., 0] == 2).all() and (got[..., 3] == -1).all()


def test_replacing_a_layer_by_itself_changes_nothing_and_by_another_patches():
    model, x, other = small_model(), images(seed=1), images(seed=2)
    mine, theirs = (jaxlens.activations(model, i, ["blocks.0.relu", "logits"]) for i in (x, other))
    same = jaxlens.activations(model, x, ["logits"], [ic.replace("blocks.0.relu", mine["blocks.0.relu"])])
    swapped = jaxlens.activations(model, x, ["logits"], [ic.replace("blocks.0.relu", theirs["blocks.0.relu"])])
    assert relative_error(same["logits"], mine["logits"]) < 1e-6
    assert relative_error(swapped["logits"], theirs["logits"]) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("rule", [None, rules.guided(allow=("blocks.0", "norm"))], ids=["plain", "ruled"])
def test_gradient_at_a_layer_is_that_of_a_zero_perturbation(rule):
    model, x = small_model().with_gradient_rule(rule), images(3)

    def logit(delta):
        return jaxlens.activations(model, x, ["logits"], [ic.perturb("blocks.1.conv2", delta)])["logits"][:, 2].sum()

    zero = jnp.zeros_like(jaxlens.activations(model, x, ["blocks.1.conv2"])["blocks.1.conv2"])
    gradient = jax.grad(logit)(zero)
    if rule is None:  # by hand: the rest of the network after that layer
        module = SmallNet(nnx.Rngs(0))

        def rest(out):
            return module.head(nnx.max_pool(jax.nn.relu(out), (2, 2), (2, 2)).mean((1, 2)))[:, 2].sum()

        out = jaxlens.activations(model, x, ["blocks.1.conv2"])["blocks.1.conv2"]
        assert relative_error(gradient, jax.grad(rest)(out)) < 1e-5
    else:  # through the last ReLU only positive gradients pass
        assert (gradient >= 0).all() and (gradient > 0).any()


def test_interceptors_apply_in_order():
    model, x = small_model(), images()
    one = jnp.ones((1, 1, 1, 8))
    first = jaxlens.activations(model, x, ["stem"], [ic.ablate("stem", range(8)), ic.perturb("stem", one)])["stem"]
    second = jaxlens.activations(model, x, ["stem"], [ic.perturb("stem", one), ic.ablate("stem", range(8))])["stem"]
    assert (first == 1).all() and (second == 0).all()


def test_ones_own_interceptor_sees_every_site():
    seen = []

    def double(site, call, *args):
        seen.append(site.name)
        out = call(*args)
        return 2 * out if site.name == "head" else out

    model, x = small_model(), images()
    got = jaxlens.activations(model, x, ["logits"], [double])["logits"]
    assert relative_error(got, 2 * model(x)) < 1e-6
    assert set(seen) == set(model.layers)


def test_names_and_channels_are_checked():
    model, x = small_model(), images()
    with pytest.raises(ValueError, match=r"channels=\[8\] are outside 0\.\.7 of layer 'stem'"):
        jaxlens.activations(model, x, ["logits"], [ic.ablate("stem", [0, 8])])
    with pytest.raises(UnknownLayerError, match="layer='stam'"):
        jaxlens.activations(model, x, ["logits"], [ic.ablate("stam", 0)])
    with pytest.raises(TypeError, match="interceptors must be callables"):
        jaxlens.activations(model, x, ["logits"], ["stem"])
