"""The Model: names, activations, checks, adapters."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import jaxlens
from jaxlens.errors import ImageTooSmallError, UnknownLayerError
from jaxlens.model import IMAGENET, INCEPTION, Preprocess
from tests.helpers import SIZE, SmallNet, images, relative_error, small_model


def test_layers_are_named_by_path_with_call_numbers():
    layers = small_model().layers
    assert list(layers)[:3] == ["input", "stem", "norm"]
    assert list(layers)[-2:] == ["head", "logits"]
    assert {"blocks.0.relu@0", "blocks.0.relu@1", "blocks.1.conv2"} <= set(layers)
    assert layers["stem"].shape == (20, 24, 8)
    assert layers["head"].kind == "Linear" and layers["head"].channels == 5


def test_activations_equal_the_module_run_by_hand():
    module = SmallNet(nnx.Rngs(3))
    module.norm.mean[...] = jnp.linspace(-1, 1, 8)
    module.norm.var[...] = jnp.linspace(0.5, 2, 8)
    model = jaxlens.Model.from_nnx(module, preprocess=IMAGENET, input_size=SIZE)
    x = images()
    module.eval()
    stem = module.stem(
        (np.asarray(x) - np.array([0.485, 0.456, 0.406], np.float32)) / np.array([0.229, 0.224, 0.225], np.float32)
    )
    first = jax.nn.relu(module.blocks[0].conv1(jax.nn.relu(module.norm(stem))))
    got = jaxlens.activations(model, x, ["stem", "blocks.0.relu@0", "blocks.0.relu", "input"])
    assert relative_error(got["stem"], stem) < 1e-5
    assert relative_error(got["blocks.0.relu@0"], first) < 1e-5
    # The bare name is the last call, as a PyTorch hook would see it.
    assert relative_error(got["blocks.0.relu"], jax.nn.relu(module.blocks[0].conv2(first))) < 1e-5
    assert jnp.array_equal(got["input"], x)


def test_the_users_module_is_untouched():
    module = SmallNet(nnx.Rngs(0))
    before = (type(module.stem), module.norm.use_running_average)
    model = jaxlens.Model.from_nnx(module, preprocess=IMAGENET, input_size=SIZE)
    jaxlens.activations(model, images(), ["stem"])
    assert (type(module.stem), module.norm.use_running_average) == before
    assert "_jaxlens_path" not in vars(module.stem)


def test_spellings_of_a_name():
    model = small_model()
    assert model.resolve("labels") == "logits"
    assert model.resolve("blocks.1.relu") == "blocks.1.relu@1"
    assert model.resolve("blocks_1_conv2") == "blocks.1.conv2"
    assert model.resolve("blocks_1_relu") == "blocks.1.relu@1"


def test_unknown_layer_names_the_nearest():
    with pytest.raises(UnknownLayerError, match=r"layer='blocks.0.conv3'.*blocks\.0\.conv[12].*model.layers"):
        jaxlens.activations(small_model(), images(), ["blocks.0.conv3"])


def test_only_what_is_needed_is_traced():
    """A layer early in the network works on an image too small for the rest; a later one names the
    smallest size.
    """
    model = small_model()
    tiny = images(size=(4, 6))
    assert jaxlens.activations(model, tiny, ["blocks.0.conv1"])["blocks.0.conv1"].shape == (2, 2, 3, 8)
    with pytest.raises(ImageTooSmallError, match=r"size=2x3 is too small for layer 'logits' of small.*takes 7x7 or more"):
        jaxlens.activations(model, images(size=(2, 3)), ["logits"])


def test_model_is_a_pytree_and_weights_do_not_retrace():
    first, second = small_model(0), small_model(1)
    assert jax.tree.structure(first) == jax.tree.structure(second)
    traces = 0

    @jax.jit
    def logits(model, x):
        nonlocal traces
        traces += 1
        return model(x)

    assert not jnp.allclose(logits(first, images()), logits(second, images()))
    assert traces == 1
    logits(first, images(3))
    assert traces == 2  # control: the counter counts


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (lambda: np.zeros((1, 3, 32, 48), np.float32), ValueError, r"shape \(1, 3, 32, 48\).*channels-first"),
        (lambda: np.zeros((1, 32, 48, 3), np.uint8), TypeError, r"dtype uint8.*/ 255"),
        (lambda: np.full((1, 32, 48, 3), 200.0, np.float32), ValueError, r"values in \[200, 200\].*255"),
        (lambda: np.full((1, 32, 48, 3), -1.5, np.float32), ValueError, r"values in \[-1.5, -1.5\].*normalisation"),
        (lambda: np.full((1, 32, 48, 3), np.nan, np.float32), ValueError, r"\[0, 1\] is needed"),
        (lambda: np.zeros((32, 48, 3), np.float32), ValueError, r"images\[None\]"),
        (lambda: [[0.0]], TypeError, "must be an array, but got list"),
    ],
)
def test_bad_images_are_refused(bad, error, message):
    with pytest.raises(error, match=message):
        small_model()(bad())


def test_layers_must_be_a_list():
    with pytest.raises(TypeError, match=r"\['stem'\]"):
        jaxlens.activations(small_model(), images(), "stem")


def test_preprocess():
    x = images(1)
    assert relative_error(IMAGENET(x)[..., 2], (x[..., 2] - 0.406) / 0.225) < 1e-5
    assert relative_error(INCEPTION(x), x * 255 - 117) < 1e-5
    assert relative_error(Preprocess.value_range(-1, 1)(x), 2 * x - 1) < 1e-5
    with pytest.raises(ValueError, match=r"low=1.*high=0"):
        Preprocess.value_range(1, 0)


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x, train=True):
        x = linen.relu(linen.Conv(6, (3, 3), name="conv")(x))
        x = linen.BatchNorm(use_running_average=not train, name="norm")(x)
        return linen.Dense(4, name="head")(x.mean((1, 2)))


def test_linen_layers_and_values():
    module = LinenNet()
    variables = module.init(jax.random.key(0), images())
    model = jaxlens.Model.from_linen(module, variables, call={"train": False}, input_size=SIZE, preprocess=Preprocess())
    assert list(model.layers) == ["input", "conv", "norm", "head", "logits"]
    got = jaxlens.activations(model, images(), ["conv", "logits"])
    want, aux = module.apply(variables, images(), train=False, capture_intermediates=True)
    assert relative_error(got["conv"], aux["intermediates"]["conv"]["__call__"][0]) < 1e-6
    assert relative_error(got["logits"], want) < 1e-6


def plain(params, x):
    x = jaxlens.site("edges", jax.nn.relu)(
        jax.lax.conv_general_dilated(x, params["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    )
    return jaxlens.site("pooled", lambda x: x.mean((1, 2)), kind="Mean")(x)


def test_plain_function_layers_and_values():
    params = {"w": jax.random.normal(jax.random.key(0), (3, 3, 3, 4))}
    model = jaxlens.Model.from_function(plain, params, input_size=SIZE, preprocess=Preprocess())
    assert {name: layer.kind for name, layer in model.layers.items()} == {
        "input": "Input",
        "edges": "relu",
        "pooled": "Mean",
        "logits": "Output",
    }
    got = jaxlens.activations(model, images(), ["pooled"])["pooled"]
    assert relative_error(got, plain(params, images())) < 1e-6  # outside a Model, a site is its function


def test_output_that_is_not_logits():
    def two(params, x):
        return {"logits": plain(params, x), "extra": x}

    params = {"w": jnp.zeros((3, 3, 3, 4))}
    model = jaxlens.Model.from_function(two, params, preprocess=IMAGENET, input_size=SIZE)
    with pytest.raises(TypeError, match="returned dict.*output="):
        model(images())


@pytest.mark.slow
def test_import_touches_no_device_and_no_torch():
    code = (
        "import sys, jaxlens, jaxlens.optvis, jaxlens.modelzoo, jaxlens.cli, jax\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge._backends, 'a device was touched'\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "assert jax.config.jax_enable_x64 is False\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
