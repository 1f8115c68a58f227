"""Several models as one: each layer as in its own model, joint objectives, one program."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlens
from jaxlens import Model
from jaxlens.model import INCEPTION
from jaxlens.model.rules import guided
from jaxlens.optvis import objectives, param, render
from tests.helpers import images, small_model
from tests.pictures import photo

LAYER = "blocks.0.conv2"


@pytest.fixture(scope="module")
def pair():
    return {"a": small_model(), "b": small_model(1, preprocess=INCEPTION)}


def test_every_layer_is_that_of_its_model(pair):
    both, x = Model.from_models(pair), images(2)
    assert [name for name in both.layers if name.startswith("a.")] == [f"a.{name}" for name in pair["a"].layers]
    wanted = ["a.stem", "b.stem", f"b.{LAYER}", "a.blocks.0.relu@0", "b.logits"]
    found = jaxlens.activations(both, x, wanted)
    for name in wanted:
        key, _, layer = name.partition(".")
        own = jaxlens.activations(pair[key], x, [layer])[layer]
        np.testing.assert_allclose(found[name], own, rtol=1e-4, atol=1e-5)
    assert np.abs(found["a.stem"] - found["b.stem"]).max() > 0.1  # control
    np.testing.assert_allclose(both(x), np.concatenate([pair["a"](x), pair["b"](x)], axis=1), rtol=1e-4, atol=1e-5)
    assert both.resolve("a_stem") == "a.stem" and both.input_size == (40, 48)


def test_each_model_sees_its_own_scale():
    small, x = small_model(input_size=(20, 24)), jnp.asarray(photo(40, 48)[None])
    both = Model.from_models({"large": small_model(), "small": small})
    half = jnp.asarray(np.asarray(x).reshape(1, 20, 2, 24, 2, 3).mean((2, 4)))
    seen = jaxlens.activations(both, x, ["small.input", "large.input"])
    assert seen["small.input"].shape == (1, 20, 24, 3)
    np.testing.assert_array_equal(seen["large.input"], x)
    inner = np.s_[:, 2:-2, 2:-2]
    smooth = np.asarray(seen["small.input"])[inner]
    assert np.corrcoef(smooth.ravel(), np.asarray(half)[inner].ravel())[0, 1] > 0.95


def test_a_joint_objective_is_drawn_for_both(pair):
    both = Model.from_models(pair)
    joint = objectives.channel(f"a.{LAYER}", 1) + objectives.channel(f"b.{LAYER}", 2)
    options = {"param": param.image(48, 40), "steps": 12, "transforms": [], "progress": False, "redirect_steps": 0}
    drawn = render.render(both, joint, **options)
    alone = render.render(pair["a"], f"{LAYER}:1", **options)

    def reached(images):
        return [float(render.evaluate(pair[key], objectives.channel(LAYER, c), images)[0]) for key, c in (("a", 1), ("b", 2))]

    np.testing.assert_allclose(sum(reached(drawn.images)), render.evaluate(both, joint, drawn.images)[0], rtol=1e-4)
    assert reached(drawn.images)[1] > reached(alone.images)[1]  # the second model had a say
    assert drawn.names == (f"a.{LAYER}:1 + b.{LAYER}:2",)


def test_rules_and_equality(pair):
    both = Model.from_models(pair)
    assert hash(both.forward) == hash(Model.from_models(pair).forward) and both.forward == Model.from_models(pair).forward
    assert both.with_gradient_rule(guided()).rule is not None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Model.from_models({}), ValueError, "models must be a dict of Models"),
        (lambda: Model.from_models({"a": 3}), TypeError, "must be a Model"),
        (lambda: Model.from_models({"a.b": small_model()}), ValueError, "use a word without"),
        (lambda: Model.from_models({"a": small_model().with_gradient_rule(guided())}), ValueError, "give it to the whole"),
        (
            lambda: Model.from_models({"a": small_model(), "b": small_model(channels=1)}),
            ValueError,
            "different numbers of channels",
        ),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make()
