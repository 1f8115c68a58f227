"""What `render` makes of any model and argument: channels, sizes, devices, seeds; errors before
anything is compiled.
"""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlens
from jaxlens import recipes
from jaxlens.model import Preprocess
from jaxlens.optvis import objectives, param, render
from jaxlens.optvis.render import _step
from tests.helpers import images, small_model

SIZE = (12, 14)
QUICK = {"steps": 1, "progress": False, "redirect_steps": 0}
DIMS = ("NHWC", "HWIO", "NHWC")


def forward(params, x):
    x = jax.lax.conv_general_dilated(x, params["conv"], (1, 1), "SAME", dimension_numbers=DIMS)
    x = jaxlens.site("conv", lambda x: x)(x)
    return x.reshape(x.shape[0], -1) @ params["fc"]


def network(channels=3, **options):
    """A network of one size: its dense layer counts the pixels."""
    keys = jax.random.split(jax.random.key(channels))
    params = {"conv": jax.random.normal(keys[0], (3, 3, channels, 4)), "fc": jax.random.normal(keys[1], (12 * 14 * 4, 5))}
    return jaxlens.Model.from_function(
        forward, params, preprocess=Preprocess(), input_size=SIZE, channels=channels, name="fixed", **options
    )


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2, 12])
def test_images_have_as_many_channels_as_the_network_takes(channels):
    model = network(channels)
    found = render.render(model, "conv:0", size=SIZE, transforms=[], **QUICK)
    assert found.images.shape == (1, 1, *SIZE, channels) and np.isfinite(found.images).all()


@pytest.mark.slow
def test_recipes_draw_as_many_channels_as_the_network_takes():
    model, photo = network(2), np.asarray(jax.random.uniform(jax.random.key(0), (*SIZE, 2)))
    options = {"steps": 1, "progress": False, "transforms": [], "redirect_steps": 0}
    found = [
        recipes.interpolate(model, ("conv", 0), ("conv", 1), count=2, size=SIZE, **options),
        recipes.class_visualization(model, 1, **options),
        recipes.style_transfer(model, photo, photo, content_layers="conv", style_layers="conv", **options),
        recipes.deepdream(model, photo, "conv", octaves=1, steps=1, progress=False),
    ]
    (shown,) = render.render_vis(
        model, "conv:0", thresholds=(1,), progress=False, show_image=False, transforms=[], relu_gradient_override=False
    )
    assert shown.shape == (1, 128, 128, 2)
    assert all(result.images.shape[-1] == 2 and np.isfinite(result.images).all() for result in found)


def test_what_needs_colours_says_so_to_networks_without(model):
    grey = network(1)
    with pytest.raises(ValueError, match="channels"):
        recipes.transparent(grey, "conv:0", **QUICK)
    with pytest.raises(ValueError, match="fixed takes 1 channel"):
        recipes.style_transfer(
            grey,
            np.ones((*SIZE, 1), np.float32),
            np.ones((*SIZE, 1), np.float32),
            content_layers="conv",
            style_layers="conv",
            preserve_color=True,
        )
    with pytest.raises(ValueError, match="C=1 is needed"):
        recipes.invert(grey, np.ones((*SIZE, 3), np.float32), "conv")
    with pytest.raises(ValueError, match="images has 3 channels, but fixed takes 1"):
        render.evaluate(grey, "conv:0", np.ones((1, 1, *SIZE, 3), np.float32))


@pytest.mark.slow
def test_a_network_of_one_size_is_shown_that_size(model):
    size, photo = (20, 9), images(1, (20, 9))[0]
    found = render.render(model, "logits:0", size=size, **QUICK)  # with transforms, which change the size
    assert found.images.shape == (1, 1, *size, 3)
    assert render.evaluate(model, "logits:0", found.images).shape == (1,)
    at_size = render.render(model, "logits:0", size=SIZE, transforms=[], **QUICK)
    want = float(model(at_size.images[0])[0, 0])  # images of the right size are not touched
    assert render.evaluate(model, "logits:0", at_size.images)[0] == pytest.approx(want, rel=1e-4)
    quick = {"steps": 1, "progress": False}
    for result in (
        recipes.deepdream(model, photo, objectives.channel("logits", 0), octaves=1, **quick),
        recipes.invert(model, photo, "logits", **quick),
    ):
        assert result.images.shape[2:4] == size


def test_a_size_that_does_not_fit_names_the_argument_that_helps(model):
    with pytest.raises(ValueError, match=r"fixed does not take images of 24x28.*fixed_image_size=\(12, 14\)"):
        render.render(model, "logits:0", fixed_image_size=(24, 28), **QUICK)


@pytest.mark.slow
def test_memory_does_not_depend_on_weights_that_the_layer_does_not_need(model, monkeypatch):
    needs = []
    plain = _step.memory
    monkeypatch.setattr(_step, "memory", lambda *args: (needs.append(plain(*args)), needs[-1])[1])
    large = jnp.zeros((12 * 14 * 4, 20_000))  # 50 MiB that "conv" never sees
    for params in (model.params, model.params | {"fc": large}):
        render.render(model.replace(params=params), "conv:0", size=SIZE, batch_size=1, transforms=[], **QUICK)
    assert needs[0] == needs[1] > 0
    with pytest.raises(MemoryError, match="memory_limit"):
        render.render(model.replace(params=params), "conv:0", size=SIZE, memory_limit=1000, **QUICK)


def test_inside_jit_render_says_that_it_belongs_outside(model):
    for call in (
        lambda x: render.render(model, "conv:0", **QUICK).images + x,
        lambda x: render.evaluate(model, "conv:0", x[None, None]),
    ):
        with pytest.raises(TypeError, match="inside jax.jit, vmap or grad"):
            jax.jit(call)(images(1, SIZE)[0])
    with pytest.raises(TypeError, match="inside jax.jit, vmap or grad"):
        jax.grad(lambda params: render.render(model.replace(params=params), "conv:0", **QUICK).scores.sum())(model.params)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": 2**64}, "seed=18446744073709551616 must be an integer in 0..4294967295"),
        ({"seed": 2**32 + 1}, "seed=4294967297 must be"),
        ({"seed": [2**32 + 1]}, "seed=.*0..4294967295"),
        ({"ids": [2**32]}, "ids=.*0..4294967295"),
        ({"steps": 2**70}, "steps=1180591620717411303424 would never end"),
        ({"size": (16, 16, 3)}, r"size=\(16, 16, 3\) must be a side in pixels, or a pair"),
        ({"size": 2**20}, "size=1048576 must be an integer in 1..16384"),
        ({"fixed_image_size": 1e6}, "fixed_image_size=1000000.0 must be an integer"),
        ({"fixed_image_size": 10**6}, "fixed_image_size=1000000 must be an integer in 1..16384"),
        ({"thresholds": 3}, "thresholds=3 must be a list"),
        ({"callback": 3}, "callback=3 must be a function"),
        ({"devices": ["cpu"]}, "devices=.*jax.devices"),
        ({"param": param.image}, "param=.*Call what makes one"),
        ({"objective": objectives}, "objective=.*must be an objective"),
    ],
)
def test_arguments_that_cannot_be_are_refused_in_words(model, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        render.render(model, **{"objective": "conv:0"} | QUICK | arguments)


def test_names_of_models_and_layers_are_told_apart_from_what_they_name(model):
    with pytest.raises(TypeError, match=r"modelzoo.load\('lensnet'\)"):
        render.render("lensnet", "conv:0")
    for function in (render.evaluate, recipes.invert, recipes.deepdream, recipes.caricature):
        with pytest.raises(TypeError, match=r"modelzoo.load\('lensnet'\)"):
            function("lensnet", images(1, SIZE), "conv")
    for make in (objectives.deepdream, objectives.diversity, objectives.style, lambda layer: objectives.channel(layer, 1)):
        with pytest.raises(TypeError, match="Give its name: 'conv'"):
            make(model.layers["conv"])
    with pytest.raises(TypeError, match="One objective reads one layer"):
        objectives.channel(["conv", "logits"], 1)
    with pytest.raises(TypeError, match="Give its name: 'conv'"):
        recipes.invert(model, images(1, SIZE), model.layers["conv"])


def test_a_label_of_two_classes_is_refused_with_both_numbers():
    model = network(labels=("cat", "dog", "cat", "a", "b"))
    for objective in ("logits:cat", objectives.class_probability("logits", ["dog", "cat"])):
        with pytest.raises(LookupError, match="cat.*0, 2"):
            render.render(model, objective, **QUICK)
    assert objectives.class_logit("logits", np.array(["dog", "a"])).bind(model).index.tolist() == [1, 3]


TWO_DEVICES = """
import jax, numpy as np
from jaxlens.optvis import render, objectives
from tests.helpers import small_model
model, second = small_model(input_size=(24, 28)), jax.devices()[1]
options = dict(size=(24, 28), steps=2, progress=False, redirect_steps=0)
wanted = objectives.channel("stem", range(3))
want = render.render(model, wanted, devices=jax.devices()[:1], **options)
moved = jax.device_put(model, second)
for found in (render.render(moved, wanted, **options), render.render(moved, wanted, devices=jax.devices(), **options),
              render.render(model, wanted, devices=[second], **options)):
    assert np.abs(found.images - want.images).max() < 1e-4
np.testing.assert_allclose(render.evaluate(moved, wanted, want.images), render.evaluate(model, wanted, want.images), rtol=1e-4)
"""


@pytest.mark.slow
def test_a_model_on_another_device_renders_there():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", TWO_DEVICES], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]


def test_penalties_on_the_image_see_the_image_when_a_layer_is_called_input():
    def net(params, x):
        x = jaxlens.site("input", lambda x: 3 * x[:, ::2])(x)
        return x.mean((1, 2)) @ params

    model = jaxlens.Model.from_function(net, jnp.ones((3, 2)), preprocess=Preprocess(), input_size=SIZE)
    photo = np.asarray(images(1, SIZE))
    want = np.abs(np.diff(photo, axis=1)).sum() + np.abs(np.diff(photo, axis=2)).sum()
    assert render.evaluate(model, objectives.total_variation(), photo[None])[0] == pytest.approx(want, rel=1e-4)
    inner = 3 * photo[:, ::2]
    want = np.abs(np.diff(inner, axis=1)).sum() + np.abs(np.diff(inner, axis=2)).sum()
    assert render.evaluate(model, objectives.total_variation("input_"), photo[None])[0] == pytest.approx(want, rel=1e-4)


@pytest.mark.slow
def test_render_runs_under_strict_promotion():
    model = small_model(input_size=(24, 28), preprocess=Preprocess())
    with jax.numpy_dtype_promotion("strict"):
        objective = objectives.channel("stem", range(2)) - 1e-3 * objectives.total_variation()
        found = render.render(model, objective, size=(24, 28), steps=2, progress=False)
        assert np.isfinite(found.images).all()
        recipes.accentuate(model, images(1, (24, 28)), "stem:0", steps=1, progress=False)
