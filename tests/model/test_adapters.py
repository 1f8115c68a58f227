"""Networks that people bring: what is assumed of them is told, what they are is kept, what does not
fit is refused in words.
"""

import copy
import functools
import pickle
import subprocess
import sys

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
from jaxlens.errors import AssumedWarning, UnknownLabelError, UnknownLayerError
from jaxlens.model import IMAGENET, Model, Preprocess
from jaxlens.model.interceptors import ablate, perturb, replace
from tests.helpers import images, relative_error

SIZE = (16, 20)
OPTIONS = {"preprocess": Preprocess(), "input_size": SIZE}
X = images(count=2, size=SIZE)


class Net(nnx.Module):
    def __init__(self, rngs, act=nnx.relu):
        self.conv, self.fc = nnx.Conv(3, 4, (3, 3), rngs=rngs), nnx.Linear(4, 3, rngs=rngs)
        self.drop, self.act, self.settings = nnx.Dropout(0.5, rngs=rngs), act, {"width": 4}

    def __call__(self, x):
        x = self.conv(x) * (10 if type(self.conv) is nnx.Conv else 1)
        return self.fc(self.drop(self.act(x)).mean((1, 2)))

    def features(self, x):
        return self.conv(x).mean((1, 2))


def evaluated(net):
    net = nnx.clone(net)
    net.eval()
    return net


def test_what_is_assumed_is_told_once_and_what_is_said_is_not():
    net = Net(nnx.Rngs(0))
    with pytest.warns(AssumedWarning, match=r"224x224 \(say input_size=.*ImageNet's preprocessing \(say preprocess=") as told:
        model = Model.from_nnx(net)
    assert len(told) == 1 and model.preprocess == IMAGENET
    with pytest.warns(AssumedWarning, match="preprocess=") as told:
        model = Model.from_nnx(net, example=X)
    assert model.input_size == SIZE and "input_size" not in str(told[0].message)
    grey = Model.from_function(lambda p, x: x.mean((1, 2)), {}, example=X[..., :1], preprocess=Preprocess())
    assert grey.channels == 1 and grey(X[..., :1]).shape == (2, 1)
    for bad, words in (((16, 16, 16), "input_size=.*height, width"), (16, r"input_size=\(16, 16\)"), ((0, 4), "input_size")):
        with pytest.raises(ValueError, match=words):
            Model.from_nnx(net, input_size=bad, preprocess=Preprocess())
    with pytest.raises(ValueError, match="looks channels-first"):
        Model.from_nnx(net, example=np.zeros((2, 3, 32, 40)), preprocess=Preprocess())


def test_a_model_has_weights_of_its_own_and_update_takes_new_ones_without_another_trace():
    net = Net(nnx.Rngs(0))
    first = Model.from_nnx(net, **OPTIONS)
    before = np.asarray(first(X))
    assert relative_error(before, evaluated(net)(X)) < 1e-5
    traces = []
    counted = jax.jit(lambda model, x: traces.append(1) or jaxlens.activations(model, x, ["logits"])["logits"])
    counted(first, X)
    for scale in (2.0, 3.0):
        net.fc.kernel[...] = net.fc.kernel[...] * scale
        second = first.update(net)
        assert np.array_equal(first(X), before) and relative_error(counted(second, X), evaluated(net)(X)) < 1e-5
    assert len(traces) == 1
    net.fc = nnx.Linear(4, 7, rngs=nnx.Rngs(1))
    with pytest.raises(ValueError, match=r"fc.*shape \(7,\)|fc.*shape \(4, 7\)"):
        first.update(net)


def test_methods_modules_and_classes_are_what_they_were():
    net = Net(nnx.Rngs(0))
    call = nnx.Conv.__call__
    model = Model.from_nnx(net, method="features", **OPTIONS)
    assert relative_error(model(X), net.features(X)) < 1e-5
    assert nnx.Conv.__call__ is call and type(net.conv) is nnx.Conv
    with pytest.raises(ValueError, match="method='nothing'"):
        Model.from_nnx(net, method="nothing", **OPTIONS)


def test_a_model_passes_through_grad_with_dropout_inside():
    net = Net(nnx.Rngs(0))
    model = Model.from_nnx(net, **OPTIONS)
    slopes = jax.grad(lambda m: m(X).sum(), allow_int=True)(model)
    graph, params, rest = nnx.split(evaluated(net), nnx.Param, ...)
    right = jax.grad(lambda p: nnx.merge(graph, p, rest, copy=True)(X).sum())(params)
    assert relative_error(slopes.params["conv"]["kernel"].get_value(), right["conv"]["kernel"].get_value()) < 1e-5


class Training(nnx.Module):
    def __init__(self, kind):
        rngs = nnx.Rngs(0)
        self.kind, self.norm, self.drop = kind, nnx.BatchNorm(3, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        x = self.norm(x, use_running_average=None if self.kind != "norm" else False)
        return self.drop(x, deterministic=None if self.kind != "drop" else False).mean((1, 2))


@pytest.mark.parametrize("kind", ["norm", "drop"])
def test_layers_that_run_as_in_training_are_told(kind):
    assert Model.from_nnx(Training("neither"), **OPTIONS)(X).shape == (2, 3)
    with pytest.raises(ValueError, match=f"Layer {kind!r} runs as in training.*=False"):
        Model.from_nnx(Training(kind), **OPTIONS)(X)


class Small(linen.Module):
    sizes: object = None

    @linen.compact
    def __call__(self, x, train):
        x = linen.BatchNorm(use_running_average=not train)(linen.Conv(4, (3, 3))(x))
        return linen.Dense(3)(linen.Dropout(0.5, deterministic=not train)(linen.relu(x).mean((1, 2))))


VARIABLES = Small().init(jax.random.key(0), X, False)


def test_linen_modules_of_every_kind():
    right = Small().apply(VARIABLES, X, False)
    call = {"call": {"train": False}}
    for module in (Small(), Small(sizes=[1, {"a": 2}])):
        assert relative_error(Model.from_linen(module, VARIABLES, **call, **OPTIONS)(X), right) < 1e-5
    assert relative_error(Model.from_linen(Small().bind(VARIABLES), **call, **OPTIONS)(X), right) < 1e-5
    layers = linen.Sequential([linen.Conv(4, (3, 3)), linen.relu, lambda x: x.mean((1, 2))])
    held = layers.init(jax.random.key(0), X)
    model = Model.from_linen(layers, held, **OPTIONS)
    assert relative_error(model(X), layers.apply(held, X)) < 1e-5 and "layers_0" in model.layers


@pytest.mark.parametrize(
    ("variables", "call", "words"),
    [
        (VARIABLES["params"], {"train": False}, r"params alone.*variables=\{'params': params\}"),
        ({"params": VARIABLES["params"]}, {"train": False}, "all collections"),
        (VARIABLES, {}, r"needs more than images.*call=\{'train': False\}"),
        (VARIABLES, {"train": True}, r"in training: look at it in evaluation mode"),
    ],
)
def test_linen_modules_that_cannot_run_say_what_to_write(variables, call, words):
    with pytest.raises(ValueError, match=words):
        Model.from_linen(Small(), variables, call=call, **OPTIONS)(X)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Model.from_nnx(torch.nn.Linear(2, 2)), r"torch module: jaxlens.Model.from_torch"),
        (lambda: Model.from_nnx(Small()), "Linen module: jaxlens.Model.from_linen"),
        (lambda: Model.from_nnx(Net), "a class: make a module"),
        (lambda: Model.from_linen(Net(nnx.Rngs(0)), {}), "Model.from_nnx"),
        (lambda: jaxlens.activations(torch.nn.Linear(2, 2), X, ["logits"]), "Model.from_torch"),
        (lambda: jaxlens.activations("lensnet", X, ["logits"]), r"modelzoo.load\('lensnet'\)"),
        (lambda: jaxlens.activations(Small(), X, ["logits"]), "from_linen"),
        (lambda: jaxlens.activations(lambda x: x, X, ["logits"]), "from_function"),
    ],
)
def test_what_is_no_model_is_told_how_to_become_one(make, words):
    with pytest.raises(TypeError, match=words):
        make()


class Image(eqx.Module):
    layers: list
    head: eqx.nn.Linear
    drop: eqx.nn.Dropout

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.layers = [eqx.nn.Conv2d(3, 4, 3, key=keys[0]), jax.nn.relu, eqx.nn.Conv2d(4, 5, 3, key=keys[1])]
        self.head, self.drop = eqx.nn.Linear(5, 3, key=keys[2]), eqx.nn.Dropout(0.5)

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(self.drop(jax.nn.relu(x).mean((1, 2))))


@pytest.mark.slow
def test_equinox_modules_are_mapped_over_images_and_their_maps_are_channels_last():
    net = Image(jax.random.key(0))
    plain = eqx.nn.inference_mode(net)
    model = Model.from_equinox(net, preprocess=Preprocess(), example=X)
    assert list(model.layers) == ["input", "layers.0", "layers.2", "drop", "head", "logits"]
    mapped = lambda f: lambda x: jax.vmap(f)(jnp.moveaxis(x, -1, 1))  # noqa: E731
    assert relative_error(model(X), mapped(plain)(X)) < 1e-5
    maps = jnp.moveaxis(mapped(lambda x: plain.layers[2](jax.nn.relu(plain.layers[0](x))))(X), 1, -1)
    assert relative_error(jaxlens.activations(model, X, ["layers.2"])["layers.2"], maps) < 1e-5
    right = jax.grad(lambda x: mapped(plain)(x)[:, 1].sum())(X)
    assert relative_error(attribution.saliency(model, X, 1, sign="all").values, right) < 1e-5
    gone = jaxlens.activations(model, X, ["logits"], [ablate("layers.2", range(5))])["logits"]
    assert relative_error(gone, jnp.broadcast_to(plain.head.bias, (2, 3))) < 1e-5
    at = attribution.saliency(model, X, 1, layer="layers.2", sign="all").values
    assert relative_error(at, (maps > 0) * plain.head.weight[1].reshape(1, 1, 1, 5) / maps[0, ..., 0].size) < 1e-5
    other = eqx.tree_at(lambda n: n.head.bias, net, net.head.bias + 1)
    assert relative_error(model.update(other)(X), model(X) + 1) < 1e-5
    assert relative_error(pickle.loads(pickle.dumps(model))(X), model(X)) == 0


def test_haiku_modules_are_layers_under_their_names():
    def forward(x, is_training):
        x = hk.BatchNorm(True, True, 0.9)(jax.nn.relu(hk.Conv2D(4, 3)(x)), is_training)
        return hk.nets.MLP([5, 3], name="head")(x.mean((1, 2)))

    transformed = hk.without_apply_rng(hk.transform_with_state(forward))
    params, state = hk.transform_with_state(forward).init(jax.random.key(0), X, True)
    model = Model.from_haiku(
        hk.transform_with_state(forward), params, state, call={"is_training": False}, preprocess=Preprocess(), example=X
    )
    right, _ = transformed.apply(params, state, X, is_training=False)
    assert relative_error(model(X), right) < 1e-5
    assert {"conv2_d", "batch_norm", "head.linear_0", "head.linear_1", "head"} <= set(model.layers)
    weights = params["conv2_d"]["w"]
    conv = jax.lax.conv_general_dilated(X, weights, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    assert relative_error(jaxlens.activations(model, X, ["conv2_d"])["conv2_d"], conv) < 1e-5
    with pytest.raises(ValueError, match="needs state="):
        Model.from_haiku(hk.transform_with_state(forward), params)


class Tokens(nnx.Module):
    def __init__(self, rngs):
        self.attend = nnx.MultiHeadAttention(2, 3, 4, decode=False, rngs=rngs)

    def __call__(self, x):
        return self.attend(x.reshape(x.shape[0], -1, 3)).mean(1)


class LinenTokens(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.MultiHeadDotProductAttention(2, qkv_features=4, name="attend")(x.reshape(x.shape[0], -1, 3)).mean(1)


def attended(_, x):
    tokens = x.reshape(x.shape[0], -1, 1, 3)
    return jax.nn.dot_product_attention(tokens, tokens, tokens).mean((1, 2))


@pytest.mark.slow
def test_attention_weights_of_flax_and_jax_are_sites():
    small, net, linen_net = X[:, :4, :5], Tokens(nnx.Rngs(0)), LinenTokens()
    variables = linen_net.init(jax.random.key(0), small)
    options = {"preprocess": Preprocess(), "example": small}
    models = {
        "attend.attention_weights": (Model.from_nnx(net, **options), net(small), 2),
        "attend.attention_weights ": (Model.from_linen(linen_net, variables, **options), linen_net.apply(variables, small), 2),
        "attention_weights": (Model.from_function(attended, {}, **options), attended({}, small), 1),
    }
    for name, (model, right, heads) in models.items():
        name = name.strip()
        assert relative_error(model(small), right) < 1e-5
        weights = jaxlens.activations(model, small, [name])[name]
        assert weights.shape == (2, heads, 20, 20) and relative_error(weights.sum(-1), jnp.ones((2, heads, 20))) < 1e-5
        assert float(weights.std()) > 1e-6
        uniform = jaxlens.activations(model, small, ["logits"], [replace(name, jnp.full((1, heads, 20, 20), 1 / 20))])["logits"]
        assert relative_error(uniform, right) > 1e-4  # they are what the output is made of
    tokens = small.reshape(2, -1, 3)
    mine = jax.nn.softmax(tokens @ tokens.swapaxes(1, 2) / np.sqrt(3), axis=-1)
    assert relative_error(weights[:, 0], mine) < 1e-5


def cropped(site, call, *args):
    out = call(*args)
    return out[:, 1:] if site.name == "conv" else out


def forgotten(site, call, *args):
    call(*args)


def test_channels_are_numbers_or_a_mask_and_nothing_else():
    model = Model.from_nnx(Net(nnx.Rngs(0)), **OPTIONS)
    found = {}
    for name, channels in {"mask": np.array([True, False, True, False]), "numbers": [0, 2], "one": 3}.items():
        values = jaxlens.activations(model, X, ["conv"], [ablate("conv", channels)])["conv"]
        found[name] = np.flatnonzero(np.abs(np.asarray(values)).max((0, 1, 2)) == 0).tolist()
    assert found == {"mask": [0, 2], "numbers": [0, 2], "one": [3]}
    for far in (2**32 + 1, np.array([2**32 + 1]), np.array([2**63 + 1], np.uint64)):
        with pytest.raises(ValueError, match="no numbers of channels"):
            ablate("conv", far)
    for bad in (0.5, [1.9, 2.2], None, "a", [], [[1]], 2**70, [True, 1, 3]):
        with pytest.raises(TypeError, match="channels="):
            ablate("conv", bad)
    for make, words in (
        (lambda: ablate("conv", np.ones(3, bool)), "mask of 3 bools.*4 channels"),
        (lambda: ablate("conv", -1), "outside 0..3"),
        (lambda: ablate("conv", [0, 1], [1.0, 2.0, 3.0]), "value has shape"),
        (lambda: ablate("conv", 0, np.nan), "NaN"),
        (lambda: replace("conv", jnp.ones(4)), r"\[B, ...\]"),
        (lambda: replace("conv", jnp.ones((1, 4))), "do not fit layer 'conv'"),
        (lambda: perturb("conv", jnp.full((1, 1, 1, 4), jnp.inf)), "infinite"),
        (lambda: ablate("conv", [1, 1], [3.0, 5.0]), r"names \[1\] more than once"),
        (lambda: replace("conv", jnp.ones((3, 16, 20, 4))), r"value has shape \(3, .*layer 'conv' outputs \(2, 16, 20, 4\)"),
        (lambda: perturb("conv", jnp.ones((2, 4, 16, 20))), r"delta has shape \(2, 4, .*one for each"),
        (
            lambda: lambda site, call, *a: call(*a)[:, 1:] if site.name == "conv" else call(*a),
            r"returned shape \(2, 15, 20, 4\)",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            jaxlens.activations(model, X, ["logits"], [make()])
    with pytest.raises(TypeError, match="returned None for layer 'input'"):
        jaxlens.activations(model, X, ["logits"], [forgotten])


def named(_, x):
    x = jaxlens.site("input", jnp.tanh)(x)
    x = jaxlens.site("a@1", jnp.sin)(jaxlens.site("input_", jnp.cos)(x))
    return jaxlens.site("logits", jnp.tanh)(jaxlens.site("a.b", jnp.exp)(jaxlens.site("a_b", jnp.exp)(x)).mean((1, 2)))


def test_names_of_the_ends_are_reserved_and_no_two_names_become_one():
    model = Model.from_function(named, {}, **OPTIONS)
    assert list(model.layers) == ["input", "input_", "input__", "a@1", "a_b", "a.b", "logits_", "logits"]
    found = jaxlens.activations(model, X, ["input", "input_", "input__", "a@1", "logits_"])
    assert np.array_equal(found["input"], X) and relative_error(found["input_"], np.tanh(X)) < 1e-6
    assert relative_error(found["a@1"], np.sin(np.cos(np.tanh(X)))) < 1e-6
    assert model.resolve("a_b") == "a_b" and model.resolve("labels") == "logits"
    with pytest.raises(UnknownLayerError, match="layer='a'"):
        model.resolve("a")
    for bad in (None, 0, model.layers["a.b"], ["a.b"]):
        with pytest.raises(TypeError, match="layer="):
            model.resolve(bad)


def test_labels_name_one_output_each():
    make = functools.partial(Model.from_nnx, Net(nnx.Rngs(0)), **OPTIONS)
    model = make(labels=["cat", "golden retriever", "cat"])
    assert model.label_index("golden retriever") == 1
    with pytest.raises(UnknownLabelError, match="label='cat' names 2 outputs of Net: 0, 2"):
        model.label_index("cat")
    with pytest.raises(UnknownLabelError, match="golden retriever"):
        model.label_index("golden")
    with pytest.raises(ValueError, match="labels holds 2 names, but Net has 3 outputs"):
        make(labels=["a", "b"])


def test_outputs_of_one_number_per_image_are_one_output():
    model = Model.from_function(lambda p, x: x.mean((1, 2, 3)), {}, **OPTIONS)
    assert model(X).shape == (2, 1) and relative_error(model(X)[:, 0], X.mean((1, 2, 3))) < 1e-6
    with pytest.raises(ValueError, match="first axis must be that of images"):
        Model.from_function(lambda p, x: x.mean(0), {}, **OPTIONS)(X)
    with pytest.raises(TypeError, match="dict with 'a', 'b'.*output="):
        Model.from_function(lambda p, x: {"a": x, "b": x}, {}, **OPTIONS)(X)


def test_networks_of_one_size_are_known():
    def flat(p, x):
        return x.reshape(x.shape[0], -1) @ jnp.ones((3 * 16 * 20, 2))

    assert Model.from_function(flat, {}, **OPTIONS).fixed_size
    assert not Model.from_nnx(Net(nnx.Rngs(0)), **OPTIONS).fixed_size


@pytest.mark.slow
def test_a_used_model_is_copied_pickled_and_sent_to_a_spawned_process(tmp_path):
    model = Model.from_nnx(Net(nnx.Rngs(0)), labels=["a", "b", "c"], **OPTIONS)
    right = np.asarray(model(X))
    _ = model.layers, model.fixed_size
    for twin in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(twin(X), right) and list(twin.layers) == list(model.layers)
    files = {name: tmp_path / name for name in ("model", "images", "logits.npy")}
    files["model"].write_bytes(pickle.dumps(model))
    files["images"].write_bytes(pickle.dumps(np.asarray(X)))
    code = (
        "import pickle, sys, numpy as np, tests.model.test_adapters as home\n"
        "model, x = (pickle.load(open(path, 'rb')) for path in sys.argv[1:3])\n"
        "np.save(sys.argv[3], np.asarray(model(x)))"
    )
    subprocess.run([sys.executable, "-c", code, *map(str, files.values())], check=True, timeout=300)
    assert relative_error(np.load(files["logits.npy"]), right) < 1e-6
