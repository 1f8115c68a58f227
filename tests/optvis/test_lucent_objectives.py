"""Lucent's own functions, objects and spellings: they mean what they mean there, or are told what
is meant here.
"""

import functools

import numpy as np
import pytest

import jaxlens
from jaxlens.optvis import objectives, param, render
from tests.helpers import SIZE, images, small_model

torch = pytest.importorskip("torch")

LAYER = "blocks.0.conv2"
PICTURES = np.asarray(images())


@pytest.fixture(scope="module")
def model():
    return small_model(preprocess=jaxlens.model.Preprocess(), labels=tuple("abcde"))


@pytest.fixture(scope="module")
def as_lucent(model):
    """The activations of the pictures as Lucent's functions get them: PyTorch tensors with channels
    first.
    """
    found = jaxlens.activations(model, PICTURES, ["input", LAYER, "logits"])
    found = {name: np.asarray(value) for name, value in found.items()} | {"labels": np.asarray(found["logits"])}
    found["blocks_0_conv2"] = found[LAYER]
    return lambda layer: torch.from_numpy(np.moveaxis(found[layer], -1, 1).copy())


LOSSES = {
    "channel": lambda model: -model(LAYER)[:, 3].mean(),
    "underscores": lambda model: -model("blocks_0_conv2")[:, 3].mean(),
    "neuron": lambda model: -model(LAYER)[:, 3, 5, 7].mean(),
    "one image": lambda model: -model(LAYER)[1:2, 0].mean(),
    "logit": lambda model: -model("labels")[:, 2].mean(),
    "image": lambda model: (model("input")[:, 0] ** 2).mean() - model(LAYER)[:, 1].mean(),
    "two layers": lambda model: -model(LAYER)[:, 2].sum() * model("labels")[:, 4].mean(),
}


def scored(model, objective):
    return float(render.evaluate(model, objective, PICTURES[None], fixed_image_size=SIZE)[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_channels_first_activations_is_its_negative_as_a_score(model, as_lucent, name):
    want = -float(LOSSES[name](as_lucent))
    assert scored(model, objectives.lucent(LOSSES[name])) == pytest.approx(want, rel=1e-4)


@pytest.mark.slow
def test_lucents_channel_is_the_channel_of_jaxlens(model):
    lucents = objectives.lucent(LOSSES["channel"])
    options = {"size": SIZE, "steps": 3, "progress": False, "redirect_steps": 0, "ids": [0]}
    found, own = (render.render(model, o, **options) for o in (lucents, objectives.channel(LAYER, 3)))
    np.testing.assert_allclose(found.scores, own.scores, rtol=1e-4)
    np.testing.assert_allclose(found.images, own.images, atol=1e-4)


def of_channel(model, i):
    return -model(LAYER)[:, i].mean()


@pytest.mark.parametrize(
    "function",
    [lambda model, layer=LAYER: -model(layer)[:, 2].mean(), functools.partial(of_channel, i=2)],
    ids=["a default", "a partial"],
)
def test_a_loss_with_more_arguments_is_known_as_one_too(model, function):
    with pytest.raises(ValueError, match=r"takes `model`, as Lucent's functions do"):
        scored(model, function)
    assert scored(model, objectives.lucent(function)) == pytest.approx(scored(model, objectives.channel(LAYER, 2)), rel=1e-4)


@pytest.mark.parametrize(
    "objective",
    [
        lambda T: T(LAYER)[..., 77].mean(),
        lambda T: T("logits")[:, -6].mean(),
        lambda T: T(LAYER)[0, 500, 0, 0],
        objectives.lucent(lambda model: -model(LAYER)[:, 77].mean()),
    ],
    ids=["a channel", "from the end", "a row", "Lucent's"],
)
def test_an_index_outside_of_a_layer_is_refused_and_not_clamped(model, objective):
    with pytest.raises(ValueError, match=r"reads index -?\d+ of an axis of \d+"):
        scored(model, objective)


def test_several_images_of_a_task_may_be_read_one_by_one(model):
    assert scored(model, lambda T: T(LAYER)[1, ..., 3].mean()) == pytest.approx(
        scored(model, objectives.channel(LAYER, 3, batch=1)), rel=1e-4
    )


def test_a_loss_that_is_none(model):
    with pytest.raises(TypeError, match="returns None|returned None"):
        scored(model, objectives.lucent(lambda model: None))


def test_lucents_functions_combine_like_objectives(model, as_lucent):
    both = objectives.lucent(LOSSES["channel"]) - 0.5 * objectives.lucent(LOSSES["logit"])
    want = -float(LOSSES["channel"](as_lucent)) + 0.5 * float(LOSSES["logit"](as_lucent))
    assert scored(model, both) == pytest.approx(want, rel=1e-4)


def test_lucents_objects_are_losses_wherever_objectives_are_taken(model, as_lucent):
    theirs = pytest.importorskip("lucent.optvis.objectives")
    objective = theirs.channel("blocks_0_conv2", 3) - 2 * theirs.neuron(LAYER, 1, 4, 5) + theirs.channel("labels", 1, batch=1)
    want = -float(objective(as_lucent))
    assert scored(model, objective) == pytest.approx(want, rel=1e-4)
    assert scored(model, objectives.lucent(objective)) == pytest.approx(want, rel=1e-4)


def test_what_only_pytorch_does_is_told(model):
    theirs = pytest.importorskip("lucent.optvis.objectives")
    with pytest.raises(TypeError, match="JAX arrays do not do.*direction_cossim"):
        scored(model, theirs.direction(LAYER, torch.ones(8)))
    with pytest.raises(TypeError, match="JAX arrays do not do"):
        scored(model, objectives.lucent(lambda model: -model(LAYER).norm()))


def test_functions_that_look_like_lucents_are_told_of_lucent(model):
    @objectives.wrap_objective()
    def contrast(layer):
        return lambda model: -model(layer)[:, 0].mean()

    for objective in (lambda model: -model(LAYER)[:, 3].mean(), contrast(LAYER)):
        with pytest.raises(ValueError, match=r"losses to be minimised.*objectives\.lucent\(function\)"):
            render.render(model, objective, progress=False)
    with pytest.raises(TypeError, match="is an objective of jaxlens already"):
        objectives.lucent(objectives.channel(LAYER, 3))
    with pytest.raises(TypeError, match="function='mixed4a:3' must be a function"):
        objectives.lucent("mixed4a:3")


def test_pairs_and_optimizers_of_lucent_are_told_what_they_are_here(model):
    with pytest.raises(TypeError, match="one object"):
        _, _ = param.image(16)
    for each in (param.cppn(16), param.maco(16), param.ball(PICTURES[0], 0.1), param.pixel_image((1, 4, 4, 3))):
        with pytest.raises(TypeError, match="one object"):
            _, _ = each
    lucents = lambda params: torch.optim.Adam(params, lr=5e-2)  # noqa: E731
    for objective_of in (render.render, render.render_vis):
        with pytest.raises(TypeError, match=r"optimizer=.*optax\.adam\(0\.05\)"):
            objective_of(model, f"{LAYER}:3", optimizer=lucents, progress=False)
    with pytest.raises(TypeError, match="param_f is a parameterization.*lambda"):
        render.render_vis(model, f"{LAYER}:3", param.image(16))
