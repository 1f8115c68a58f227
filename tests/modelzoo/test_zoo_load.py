"""`modelzoo.load`: names, random weights, files, errors."""

import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import jaxlens
from jaxlens import _params, modelzoo
from jaxlens.errors import ConversionError, WeightsError
from jaxlens.model import IMAGENET, INCEPTION, Preprocess, rules
from jaxlens.modelzoo import _load, _registry
from jaxlens.optvis.render import render

STATISTICS = {"mean", "var"}


@pytest.fixture(scope="module")
def squeezenet():
    return modelzoo.load("squeezenet1_1", weights=None)


@pytest.mark.slow
@pytest.mark.parametrize("name", modelzoo.names())
def test_every_network_has_the_parameters_it_says(name):
    info = modelzoo.info(name)
    options = {"aux_logits": True} if name == "inception_v3" else {}  # its published count includes the head
    options |= {"image_size": 518} if name == "vit_h_14" else {}  # its default weights are for larger images
    network = modelzoo.architecture(name, **options)
    leaves = dict(_params.named(jaxlens.Model.from_nnx(network, preprocess=IMAGENET, input_size=(224, 224)).params))
    assert sum(leaf.size for path, leaf in leaves.items() if path.rpartition(".")[2] not in STATISTICS) == info.parameters
    assert info.weights == modelzoo.weights(name)
    assert info.cached == (info.weights if name == "lensnet" else ())


def test_the_registry_is_torchvisions():
    models = pytest.importorskip("torchvision.models")
    for name in modelzoo.names():
        if name in ("inceptionv1", "lensnet"):
            continue
        theirs = models.get_model_weights(name)
        network = _registry.find(name)
        assert {w.name: w.url for w in network.weights} == {w.name: w.url for w in theirs}
        assert network.weights[0].name == theirs.DEFAULT.name
        assert network.parameters == theirs.DEFAULT.meta["num_params"]
        for weights in theirs:
            assert network.find(weights.name).input_size == (weights.transforms().crop_size[0],) * 2
            ours, transforms = network.find(weights.name), weights.transforms()
            assert ours.url.removesuffix(".pth").endswith(ours.digest.removeprefix("sha256:"))
            scale, offset = 1 / np.array(transforms.std), -np.array(transforms.mean) / np.array(transforms.std)
            np.testing.assert_allclose(ours.preprocess.scale, scale, rtol=1e-6)
            np.testing.assert_allclose(ours.preprocess.offset, offset, rtol=1e-6)
            assert (ours.labels is None) == (weights.meta["categories"] is None)


def test_the_table_is_what_the_command_writes():
    pytest.importorskip("torchvision")
    from tools.torchvision_table import TABLE, published

    assert json.loads(TABLE.read_text()) == published()


def test_all_of_torchvisions_classifiers_are_there():
    models = pytest.importorskip("torchvision.models")
    assert set(models.list_models(module=models)) == set(modelzoo.names()) - {"inceptionv1", "lensnet"}


@pytest.mark.slow
def test_options():
    model = modelzoo.load("resnet18", None, num_classes=7)
    assert model.layers["logits"].shape == (7,) and model.labels is None
    transformer = modelzoo.load("vit_b_32", None, image_size=64)
    assert transformer.input_size == (64, 64)
    images = jnp.full((1, 75, 96, 3), 0.3)
    ours, plain = (modelzoo.load("inception_v3", None, transform_input=each) for each in (True, False))
    assert ours.input_size == (299, 299)
    halves = plain.replace(preprocess=Preprocess.mean_std((0.5,) * 3, (0.5,) * 3))
    stem = ["Conv2d_1a_3x3.conv"]
    want = jaxlens.activations(halves, images, stem)[stem[0]]
    np.testing.assert_allclose(jaxlens.activations(ours, images, stem)[stem[0]], want, rtol=1e-4, atol=1e-5)
    with pytest.raises(TypeError, match=r"resnet18 has no option classes. It takes: num_classes\."):
        modelzoo.load("resnet18", None, classes=7)
    with pytest.raises(ValueError, match=r"The images are 64x96, but this network takes 64x64 only"):
        transformer(jnp.zeros((1, 64, 96, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("size", [96, 64, None])
def test_a_vision_transformer_is_shown_its_own_size(size):
    """Pictures of any size; its own one too, though padding and crops of the default transforms
    change that.
    """
    transformer = modelzoo.load("vit_b_32", None, image_size=96)
    options = {} if size is None else {"size": size}
    result = render(transformer, "encoder.layers.encoder_layer_0.mlp:3", steps=2, progress=False, **options)
    assert result.images.shape == (1, 1, size or 128, size or 128, 3)
    assert jnp.isfinite(result.images).all() and jnp.ptp(result.images) > 0.01
    with pytest.raises(ValueError, match=r"fixed_image_size=\(96, 96\)"):
        render(transformer, "logits:3", steps=1, progress=False, fixed_image_size=64)


def test_what_a_loaded_model_knows(squeezenet):
    assert squeezenet.name == "squeezenet1_1" and squeezenet.input_size == (224, 224)
    assert squeezenet.preprocess == IMAGENET
    assert len(squeezenet.labels) == 1000 and squeezenet.labels[0] == "tench" and squeezenet.labels[217] == "English springer"
    assert squeezenet.layers["features.12"].shape == (13, 13, 512)
    assert squeezenet.layers["features.9.squeeze_activation"].kind == "ReLU"


@pytest.mark.slow
def test_inceptionv1_is_lucids():
    model = modelzoo.load("inceptionv1", weights=None)
    assert model.preprocess == INCEPTION
    assert len(model.labels) == 1008 and model.labels[0] == "dummy" and model.labels[1] == "kit fox"
    assert model.labels[-8:-6] == ("dumbbell", "unused 1001")
    channels = {name: layer.channels for name, layer in model.layers.items()}
    # the depths in lucid/modelzoo/other_models/InceptionV1.py
    depths = {"conv2d0": 64, "conv2d1": 64, "conv2d2": 192, "mixed3a": 256, "mixed3b": 480, "mixed4a": 508, "mixed4b": 512}
    depths |= {"mixed4c": 512, "mixed4d": 528, "mixed4e": 832, "mixed5a": 832, "mixed5b": 1024, "softmax2": 1008}
    assert {name: channels[name] for name in depths} == depths
    assert channels["mixed4a_pre_relu"] == 508
    values = jaxlens.activations(
        model,
        jax.random.uniform(jax.random.key(0), (1, 61, 93, 3)),  # odd sizes have their own SAME padding
        ["mixed3a", "mixed3a_pre_relu", "logits", "softmax2_pre_activation_matmul", "softmax2"],
    )
    np.testing.assert_array_equal(values["mixed3a"], jnp.maximum(values["mixed3a_pre_relu"], 0))
    np.testing.assert_array_equal(values["logits"], values["softmax2_pre_activation_matmul"])
    np.testing.assert_allclose(values["softmax2"].sum(-1), 1, rtol=1e-5)


def test_labels_of_the_two_orders_are_the_same_classes():
    ours, theirs = (set(modelzoo.load(n, None).labels) for n in ("inceptionv1", "squeezenet1_1"))
    assert len(theirs - ours) == 4  # spelt differently: cannon, crane bird, maillot tank suit, teddy


def test_random_weights_are_seeded_and_alive(squeezenet):
    again, other = modelzoo.load("squeezenet1_1", None), modelzoo.load("squeezenet1_1", None, seed=1)
    kernels = [dict(_params.named(m.params))["features.0.kernel"] for m in (squeezenet, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
    assert np.std(kernels[0]) == pytest.approx((2 / 27) ** 0.5, rel=0.1)
    for name, leaf in _params.named(modelzoo.load("resnet18", None).params):
        value = {"scale": 1, "var": 1, "bias": 0, "mean": 0}.get(name.rpartition(".")[2])
        assert value is None or bool((leaf == value).all())
    deep = jaxlens.activations(squeezenet, jax.random.uniform(jax.random.key(0), (2, 64, 96, 3)), ["features.12"])
    assert 0.1 < float(deep["features.12"].std()) < 100


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "inceptionv1", "resnet18", "squeezenet1_1", "vgg11_bn"])
def test_gradient_rules_know_every_nonlinearity(name):
    assert jaxlens.Model.from_nnx(modelzoo.architecture(name), preprocess=IMAGENET, input_size=(224, 224)).accepts_rule(
        rules.guided(), ["logits"]
    )


def test_two_loads_share_their_programs(squeezenet):
    other = modelzoo.load("squeezenet1_1", None, seed=3)
    assert jax.tree.structure(other) == jax.tree.structure(squeezenet)


def test_a_network_computes_in_the_dtype_of_its_weights(squeezenet):
    half = squeezenet.replace(params=jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), squeezenet.params))
    assert half(jnp.zeros((1, 64, 96, 3))).dtype == jnp.bfloat16


def test_saved_weights_come_back(squeezenet, tmp_path):
    path = modelzoo.save(squeezenet, tmp_path / "deep" / "er" / "net.safetensors", note="mine")
    loaded = modelzoo.load("squeezenet1_1", str(path))
    for (name, ours), (_, theirs) in zip(_params.named(loaded.params), _params.named(squeezenet.params), strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
    assert modelzoo.load(path).name == "squeezenet1_1"  # the file says which network it is
    metadata = _params.read(path)[1]
    assert metadata["format"] == "jaxlens" and metadata["model"] == "squeezenet1_1" and metadata["note"] == "mine"


@pytest.mark.parametrize(
    ("name", "weights", "error", "message"),
    [
        ("resnet5", None, LookupError, r"name='resnet5' is not in the model zoo. Closest: \['resnet50'.*lists all \d+"),
        ("resnet50", "IMAGENET1K_V3", LookupError, "Closest: 'IMAGENET1K_V2'. There are: 'DEFAULT', .*V1'; or pass a path"),
        ("resnet50", "no/such.pth", FileNotFoundError, "There is no weights file no/such.pth"),
        ("resnet50", "such.safetensors", FileNotFoundError, "There is no weights file such.safetensors"),
    ],
)
def test_unknown_names_and_files(name, weights, error, message):
    with pytest.raises(error, match=message):
        modelzoo.load(name, weights)


def test_a_negative_seed_and_a_wrong_suffix(squeezenet, tmp_path):
    with pytest.raises(ValueError, match="seed=-1 must be an integer >= 0"):
        modelzoo.load("squeezenet1_1", None, seed=-1)
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        modelzoo.save(squeezenet, tmp_path / "net.pth")


def test_a_damaged_file_of_ours(squeezenet, tmp_path):
    path = modelzoo.save(squeezenet, tmp_path / "net.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    with pytest.raises(WeightsError, match=r"net\.safetensors is not a readable safetensors file"):
        modelzoo.load("squeezenet1_1", path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(WeightsError, match="do not match its checksum"):
        modelzoo.load("squeezenet1_1", path)


def test_a_file_of_ours_for_another_network(squeezenet, tmp_path):
    path = modelzoo.save(squeezenet, tmp_path / "net.safetensors")
    with pytest.raises(ConversionError, match=r"\(squeezenet1_1\) does not fit squeezenet1_0") as caught:
        modelzoo.load("squeezenet1_0", path)
    assert "features.0.kernel: (3, 3, 3, 64) given, (7, 7, 3, 96) needed" in str(caught.value)


def test_safetensors_of_another_kind(tmp_path):
    safetensors.numpy.save_file({"a": np.zeros(3, np.float32)}, tmp_path / "net.safetensors")
    with pytest.raises(ConversionError, match="1 unexpected"):
        modelzoo.load("squeezenet1_1", tmp_path / "net.safetensors")


@pytest.mark.parametrize("name", ["lensnet", "squeezenet1_1"])
def test_what_the_zoo_knows_is_not_told_as_assumed(name):
    """Made anew, so that nothing is found in a cache."""
    _load._body.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = modelzoo.load(name, weights="DEFAULT" if name == "lensnet" else None)
    assert model.preprocess != Preprocess() and model.labels
