"""Caricatures through attribution, against the chain of gradients written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens.model import interceptors
from jaxlens.model._run import run
from jaxlens.model.rules import guided
from jaxlens.optvis import objectives, param, render
from jaxlens.optvis.render import _step
from tests.helpers import SIZE, images, small_model

STEM, MIDDLE = "stem", "blocks.0.conv2"


def written_out(model, image, layers, label):
    """The attribution at the first layer: gradients between layers, by replacing one layer's output
    at a time.
    """
    acts = run(model.with_gradient_rule(None), image, tuple(layers))

    def onward(layer, value, later, share):
        found = run(model, image, (later,), (interceptors.replace(layer, value),))[later]
        return found[0, label] if share is None else (found * share).sum()

    later, share = "logits", None
    for layer in reversed(layers):
        gradient = jax.grad(lambda v, layer=layer, later=later, share=share: onward(layer, v, later, share))(acts[layer])
        share = acts[layer] * gradient
        share, later = share / jnp.abs(share).max(), layer
    return share[0]


@pytest.mark.slow
@pytest.mark.parametrize("layers", [[MIDDLE], [STEM, MIDDLE], [MIDDLE, STEM]])
@pytest.mark.parametrize("rule", [None, guided()], ids=["plain", "guided"])
def test_value_is_the_chain_of_gradients(layers, rule):
    model, pair = small_model(), images(2)
    objective = objectives.attribution_compare(layers, "logits:2", gradient_rule=rule).bind(model)
    score = jax.jit(lambda o, x: _step.score(model, o, x, x, jnp.uint32(0))[0])
    share = written_out(model.with_gradient_rule(rule), pair[1:], sorted(layers, key=list(model.layers).index), 2)
    drawn = run(model, pair[:1], (objective.layers[0],))[objective.layers[0]][0]
    np.testing.assert_allclose(score(objective, pair), (drawn * share).sum(), rtol=1e-3)
    # the reference image is held fixed: only the drawn one has a gradient
    gradient = jax.grad(lambda x: score(objective, x))(pair)
    assert np.abs(gradient[0]).max() > 0 and not np.abs(gradient[1]).any()


@pytest.mark.slow
def test_several_targets_are_one_batch():
    model = small_model()
    each = param.beside(param.image(SIZE[1], SIZE[0]), np.asarray(images(1)[0]))
    options = {"param": each, "transforms": [], "steps": 3, "progress": False, "batch_size": 2, "redirect_steps": 0}
    toward = objectives.class_logit("logits", [1, 3])
    both = render.render(model, objectives.attribution_compare(MIDDLE, toward), **options)
    for i, label in enumerate((1, 3)):
        alone = render.render(model, objectives.attribution_compare(MIDDLE, f"logits:{label}"), **options)
        np.testing.assert_allclose(both.scores[i], alone.scores[0], rtol=1e-4)
    assert (both.scores[:, -1] > both.scores[:, 0]).all() and both.names[1] == f"logits:3 through {MIDDLE}"


def test_what_is_not_possible_is_refused():
    model = small_model()
    with pytest.raises(ValueError, match="toward reads 'stem', which is computed before layer 'blocks.0.conv2'"):
        objectives.attribution_compare(MIDDLE, "stem:1").bind(model)
    with pytest.raises(ValueError, match="batch=1 of 'stem'|batch"):
        render.render(model, objectives.attribution_compare(STEM, "logits:1"), steps=1, progress=False)
    pair = param.beside(param.image(SIZE[1], SIZE[0]), np.asarray(images(1)[0]))
    for wrong, message in (("logits:99", "99"), (objectives.channel("logits", 1, batch=1), "batch=1")):
        with pytest.raises(ValueError, match=message):
            render.render(model, objectives.attribution_compare(STEM, wrong), param=pair, steps=1, progress=False)
    with pytest.raises(ValueError, match=r"layers=\[\] is empty"):
        objectives.attribution_compare([], "logits:1")
