"""Weights files and cache entries: of another network, of NaN, not to be read; names and options
that are none.
"""

import dataclasses
import os
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxlens import _params, modelzoo
from jaxlens.errors import ConversionError, NonFiniteWarning, WeightsError
from jaxlens.model import Model, Preprocess
from jaxlens.modelzoo import _registry
from tests.helpers import open_to_all


@pytest.fixture(scope="module")
def squeezenet():
    return modelzoo.load("squeezenet1_1", None)


@pytest.fixture
def published(squeezenet, server, monkeypatch):
    """SqueezeNet's registry entry on our server, and its entry in the cache."""
    source = server.put("squeezenet1_1-local.pth", b"whatever")
    network = dataclasses.replace(_registry.networks()["squeezenet1_1"], weights=(source,))
    monkeypatch.setitem(_registry.networks(), "squeezenet1_1", network)
    template = modelzoo._load._template(network, source, {})
    about = {"model": "squeezenet1_1", "weights": "LOCAL", "source": source.url, "digest": source.digest + "0" * 56}
    entry = modelzoo._cache.entry_of("squeezenet1_1", source, template)
    _params.write(entry, squeezenet.params, about)
    server.entry, server.about = entry, about
    return server


def test_an_entry_that_says_what_it_should_is_used(published):
    modelzoo.load("squeezenet1_1", progress=False)
    assert published.requests == []


@pytest.mark.parametrize("change", [{"model": "resnet18"}, {"weights": "OTHER"}, {"digest": "sha256:00000000"}, {"digest": ""}])
def test_an_entry_that_says_it_holds_something_else_is_not_used(published, squeezenet, change):
    _params.write(published.entry, squeezenet.params, published.about | change)
    with pytest.warns(RuntimeWarning, match="says that it holds something else"), pytest.raises(WeightsError):
        modelzoo.load("squeezenet1_1", progress=False)
    assert published.requests == ["/squeezenet1_1-local.pth"] and not published.entry.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
@pytest.mark.parametrize(
    ("entry", "folder", "whole", "message"),
    [
        (0o644, 0o755, True, ""),
        (0o600, 0o777, True, "The cache entry .* cannot be read .*Permission denied.* Set JAXLENS_CACHE"),
        (0o644, 0o700, True, "The cache entry .* cannot be read .*Permission denied.* Set JAXLENS_CACHE"),
        (0o644, 0o755, False, "The cache entry .* is damaged and cannot be removed .* Set JAXLENS_CACHE"),
    ],
    ids=["readable", "unreadable entry", "unreadable folder", "damaged entry"],
)
def test_what_another_user_may_not_read_is_kept_and_told(published, tmp_path, entry, folder, whole, message):
    assert published.entry.stat().st_mode & 0o777 == 0o644  # as the umask says
    modelzoo.load("squeezenet1_1", progress=False)  # imports what it needs
    if not whole:
        published.entry.write_bytes(b"rubbish")
    before = published.entry.read_bytes()
    published.entry.chmod(entry)
    open_to_all(tmp_path)
    published.entry.parent.chmod(folder)
    try:
        os.seteuid(65534)
        if message:
            with warnings.catch_warnings(), pytest.raises(PermissionError, match=message):
                warnings.simplefilter("ignore")
                modelzoo.load("squeezenet1_1", progress=False)
        else:
            modelzoo.load("squeezenet1_1", progress=False)
    finally:
        os.seteuid(0)
    assert published.entry.read_bytes() == before and published.requests == []


def test_weights_of_nan_are_named(squeezenet, tmp_path):
    names = [name for name, _ in _params.named(squeezenet.params)]
    bad = jax.tree.leaves(squeezenet.params)
    bad[3], bad[5] = bad[3].at[0].set(jnp.nan), bad[5].at[..., 0].set(jnp.inf)
    broken = squeezenet.replace(params=jax.tree.unflatten(jax.tree.structure(squeezenet.params), bad))
    path = modelzoo.save(broken, tmp_path / "net.safetensors")
    with pytest.warns(NonFiniteWarning, match="net.safetensors .* has weights that are NaN or infinite") as caught:
        modelzoo.load(path)
    said = str(caught[0].message)
    assert [name for name in names if f"{name}\n" in f"{said}\n"] == [names[3], names[5]]


def test_nan_in_a_state_dict_is_named(tmp_path):
    torch, models = pytest.importorskip("torch"), pytest.importorskip("torchvision.models")
    state = models.squeezenet1_1(weights=None).state_dict()
    state["features.3.squeeze.bias"][2] = float("nan")
    torch.save(state, tmp_path / "net.pth")
    with pytest.warns(NonFiniteWarning, match=r"net.pth has weights that are NaN or infinite.*\n.*features.3.squeeze.bias"):
        modelzoo.load("squeezenet1_1", tmp_path / "net.pth")


def test_a_file_that_fits_and_is_another_networks(squeezenet, tmp_path):
    _params.write(tmp_path / "net.safetensors", squeezenet.params, {"model": "resnet18"})
    with pytest.raises(WeightsError, match=r"net.safetensors holds the weights of resnet18, not of squeezenet1_1"):
        modelzoo.load("squeezenet1_1", tmp_path / "net.safetensors")
    with pytest.raises(ConversionError, match="does not fit resnet18"):
        modelzoo.load(tmp_path / "net.safetensors")
    _params.write(tmp_path / "net.safetensors", squeezenet.params, {"model": "mine"})
    assert modelzoo.load("squeezenet1_1", tmp_path / "net.safetensors").name == "squeezenet1_1"


@pytest.mark.parametrize("call", [modelzoo.load, modelzoo.info, modelzoo.weights, modelzoo.architecture])
@pytest.mark.parametrize("name", [3, None, [], b"resnet18", {}, np.zeros(2), 2**70, object()])
def test_names_that_are_none(call, name):
    with pytest.raises(TypeError, match=r"name=.* must be one of `modelzoo.names\(\)`, such as 'resnet50', or a path"):
        call(name)


@pytest.mark.parametrize("name", ["nope", "", "\x1b[31mred"])
def test_names_that_are_not_known(name):
    with pytest.raises(LookupError, match=r"is not in the model zoo. Closest: .*lists all \d+") as caught:
        modelzoo.load(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("weights", [3, "", [], b"x", float("nan"), "a\0b"])
def test_weights_that_are_none(weights):
    with pytest.raises(TypeError, match=r"weights=.* must be a name \('IMAGENET1K_V1'\), a path, or None"):
        modelzoo.load("squeezenet1_1", weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes=0 must be an integer in 1.."),
        ({"num_classes": 2**70}, "num_classes=1180591620717411303424 must be"),
        ({"num_classes": True}, "num_classes=True must be"),
        ({"num_classes": [10]}, r"num_classes=\[10\] must be"),
        ({"num_classes": None}, "num_classes=None must be"),
        ({"aux_logits": "yes"}, "aux_logits='yes' must be True or False"),
        ({"aux_logits": 1}, "aux_logits=1 must be True or False"),
    ],
)
def test_options_that_are_none(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        modelzoo.load("googlenet", None, **options)
    with pytest.raises((TypeError, ValueError), match=message):
        modelzoo.architecture("googlenet", **options)


@pytest.mark.parametrize("seed", [-1, 2**32, 2**70, 1.5, True, None, "a"])
def test_seeds_that_are_none(seed):
    with pytest.raises((TypeError, ValueError), match="seed="):
        modelzoo.load("squeezenet1_1", None, seed=seed)


def test_a_saved_model_keeps_its_preprocessing_size_and_labels(tmp_path):
    model = modelzoo.load("lensnet").replace(
        preprocess=Preprocess.mean_std((0.1, 0.2, 0.3), (0.5,) * 3), input_size=(48, 40), labels=tuple(map(str, range(71)))
    )
    images = np.random.default_rng(0).random((2, 48, 40, 3), np.float32)
    path = modelzoo.save(model, tmp_path / "net.safetensors")
    for loaded in (modelzoo.load(path), modelzoo.load("lensnet", path)):
        assert loaded.preprocess == model.preprocess and loaded.input_size == (48, 40) and loaded.labels == model.labels
        np.testing.assert_array_equal(loaded(images), model(images))
    _params.write(path, model.params, {"model": "lensnet", "about": '{"scale": [1]}'})
    with pytest.raises(WeightsError, match="what it says of the model cannot be read"):
        modelzoo.load(path)
    with pytest.raises(ValueError, match="is code, which no file can hold"):
        modelzoo.save(model.replace(preprocess=lambda x: x), path)


def test_a_model_that_load_cannot_read_is_not_saved(tmp_path):
    own = Model.from_nnx(nnx.Linear(3, 3, rngs=nnx.Rngs(0)), preprocess=Preprocess(), input_size=(8, 8), name="mine")
    with pytest.raises(ValueError, match=r"model='mine' is neither a network of the zoo nor imported"):
        modelzoo.save(own, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"model='lensnet' has other tensors than the zoo's network"):
        modelzoo.save(own.replace(name="lensnet"), tmp_path / "net.safetensors")
    with pytest.raises(TypeError, match="note=3 must be a string"):
        modelzoo.save(modelzoo.load("lensnet"), tmp_path / "net.safetensors", note=3)
    for model in (None, 3, "lensnet", object()):
        with pytest.raises(TypeError, match="model"):
            modelzoo.save(model, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())
