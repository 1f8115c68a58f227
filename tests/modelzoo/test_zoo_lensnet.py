"""The bundled network: what it is, what it knows, and that its record is true."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner
from flax import nnx

from jaxlens import Model, _params, activations, modelzoo
from jaxlens.data import synthetic
from jaxlens.modelzoo.lensnet import PREPROCESS, LensNet
from jaxlens.training import History
from tools import _lensnet_evidence, train_lensnet

WEIGHTS = Path(modelzoo.__file__).parent / "weights"


@pytest.fixture(scope="module")
def model():
    return modelzoo.load("lensnet")


@pytest.fixture(scope="module")
def record():
    return json.loads((WEIGHTS / "lensnet.json").read_text())


def test_it_is_small_and_whole(model):
    file = WEIGHTS / "lensnet.safetensors"
    assert file.stat().st_size <= 2.5e6
    arrays, _ = _params.read(file)
    assert {array.dtype for array in arrays.values()} == {np.dtype("float16")}
    assert {leaf.dtype for leaf in jax.tree.leaves(model.params)} == {jnp.dtype("float32")}
    assert 0.8e6 < modelzoo.info("lensnet").parameters < 1.2e6
    assert model.labels == synthetic.CLASSES and model.input_size == (64, 64)


@pytest.mark.slow
def test_it_needs_no_torch_and_no_network():
    code = (
        "import sys, socket\n"
        "socket.socket.connect = lambda *args: 1 / 0\n"
        "sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from jaxlens import modelzoo\n"
        "assert modelzoo.load('lensnet')(np.full((1, 64, 72, 3), 0.5, np.float32)).shape == (1, 71)\n"
        "assert 'grain' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_layers_have_inceptions_names(model):
    big = modelzoo.load("inceptionv1", None).layers
    missing = [name for name in model.layers if name not in big]
    assert missing == []  # a subset of InceptionV1's names
    kinds = {layer.kind for layer in model.layers.values()}
    assert "BatchNorm" not in kinds and {"Conv", "ReLU", "MaxPool", "Concat"} <= kinds
    values = activations(model, np.full((1, 70, 90, 3), 0.3, np.float32), ["mixed4a", "mixed4a_pre_relu", "logits", "softmax2"])
    np.testing.assert_array_equal(values["mixed4a"], np.maximum(values["mixed4a_pre_relu"], 0))
    np.testing.assert_allclose(values["softmax2"].sum(-1), 1, rtol=1e-5)


@pytest.mark.slow
def test_it_knows_fresh_pictures(model):
    assert _lensnet_evidence.accuracy(model, seed=12345, per_class=12) >= 0.97
    assert _lensnet_evidence.accuracy(modelzoo.load("lensnet", None), seed=12345, per_class=2) < 0.1


@pytest.mark.slow
def test_it_has_curve_and_high_low_frequency_units_and_a_random_one_has_none(model):
    layers = ("mixed4a", "mixed4b")
    curves, boundaries = _lensnet_evidence.curve_units(model, layers), _lensnet_evidence.high_low_units(model, layers)
    assert len(curves) >= 4 and max(unit.error for unit in curves) <= 15
    assert len({round(unit.peak / 90) % 4 for unit in curves}) > 1  # they point several ways
    assert len(boundaries) >= 3
    random = modelzoo.load("lensnet", None)
    assert _lensnet_evidence.curve_units(random, layers) == _lensnet_evidence.high_low_units(random, layers) == []


@pytest.mark.slow
def test_a_linear_probe_reads_orientation(model):
    assert _lensnet_evidence.orientation_error(model, "curve", per_class=60) < 10
    assert _lensnet_evidence.orientation_error(model, "bar", per_class=60) < 5
    assert _lensnet_evidence.orientation_error(modelzoo.load("lensnet", None), "curve", per_class=60) > 30


def test_the_record_says_what_was_asked_of_it(record):
    trained, random = record["trained"], record["random weights"]
    assert trained["accuracy"] >= 0.97 and len(trained["curve_units"]) >= 4 and len(trained["high_low_units"]) >= 3
    assert random["curve_units"] == random["high_low_units"] == []
    assert record["seconds"] <= 3600 and record["machine"]["cores"] <= 2
    assert tuple(record["classes"]) == synthetic.CLASSES
    assert record["sha256"] == train_lensnet.sha256(WEIGHTS / "lensnet.safetensors")
    assert len(record["history"]["val_accuracy"]) == record["settings"]["epochs"]


def test_peaks_of_planted_tuning_curves():
    angles = np.deg2rad(_lensnet_evidence.ANGLES)
    draws = np.random.default_rng(0).normal(size=(_lensnet_evidence.REPEATS, len(angles), 3))
    tuned = np.exp(4 * np.cos(angles - np.deg2rad(100)))  # a peak between two stimuli, nothing at the far side
    both_ways = np.exp(4 * np.cos(2 * (angles - np.deg2rad(45))))  # an axis, not a direction
    table = 0.1 * draws + np.stack([tuned, both_ways, 0 * angles], -1)
    peaks, best, far = _lensnet_evidence._peaks(table)
    top = table.mean(0)[best, np.arange(3)]
    assert peaks[0] == pytest.approx(100, abs=2) and far[0] < 0.2 * top[0]
    assert far[1] > 0.9 * top[1]
    explained = _lensnet_evidence._explained(table)
    assert explained[0] > 0.9 and explained[2] < 0.3


def test_pictures_turn_counter_clockwise():
    picture = np.asarray(synthetic.stimuli("curve", 64, orientation=20, radius=12)[0])
    np.testing.assert_allclose(_lensnet_evidence._rotated(picture, 90)[0], np.rot90(picture[0]), atol=1e-4)
    turned = np.asarray(synthetic.stimuli("curve", 64, orientation=65, radius=12)[0])
    assert np.abs(_lensnet_evidence._rotated(picture, 45) - turned).mean() < 0.01 < np.abs(picture - turned).mean()


@pytest.fixture
def quick_start(monkeypatch):
    """Constant kernels: He's take a minute, a compiled sampler for each shape."""
    monkeypatch.setattr(nnx.initializers, "he_normal", lambda: nnx.initializers.constant(0.01))


@pytest.mark.slow
def test_folding_changes_nothing(quick_start):
    """Random kernels, and batch norms with statistics of their own, against one convolution
    each.
    """
    rng, lows = np.random.default_rng(0), {"mean": -0.2, "var": 0.5, "scale": 0.5, "bias": -0.2}

    def filled(path, leaf):
        name = str(getattr(path[-2] if len(path) > 1 else path[-1], "key", path[-1]))
        if name in lows:
            return rng.uniform(lows[name], lows[name] + 0.6, leaf.shape).astype(np.float32)
        return rng.normal(0, (2 / np.prod(leaf.shape[:-1])) ** 0.5, leaf.shape).astype(np.float32)

    # shapes only: its own initialisation compiles for half a minute
    graph, state = nnx.split(nnx.eval_shape(lambda: train_lensnet.trainable(0)))
    network = nnx.merge(graph, jax.tree_util.tree_map_with_path(filled, state))
    network.eval()
    images = jax.random.uniform(jax.random.key(9), (2, 64, 72, 3))
    template = Model.from_nnx(LensNet(), preprocess=PREPROCESS, input_size=(64, 64))
    folded = template.replace(params=_params.fill(template.params, train_lensnet.folded(network), "lensnet", "here"))
    graph, state = nnx.split(network)
    want = jax.jit(lambda state: nnx.merge(graph, state)(PREPROCESS(images)))(state)  # op by op it would take half a minute
    assert want.std() > 0.01
    np.testing.assert_allclose(folded(images), want, rtol=2e-4, atol=2e-4 * float(jnp.abs(want).max()))


@pytest.mark.slow
def test_the_stream_is_balanced_fresh_and_reproducible(monkeypatch):
    monkeypatch.setattr(train_lensnet, "PER_CLASS", 2)
    stream = train_lensnet.Stream(4, chunks=2, size=16)
    first, again, second = (list(train_lensnet.Stream(4, chunks=2, size=16).epoch(n)) for n in (0, 0, 1))
    assert len(stream) == len(first) == 4
    for (a, x), (b, y) in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(x, y)
    labels = np.concatenate([labels for _, labels in first])
    assert (np.bincount(labels) == 4).all() and len(labels) == 4 * 71
    assert (np.diff(labels[:142]) != 0).mean() > 0.9  # shuffled
    means = {float(picture.mean()) for images, _ in first + second for picture in images}
    assert len(means) == 8 * 71  # no picture twice


@pytest.mark.slow
def test_the_command_trains_measures_and_writes(tmp_path, monkeypatch, quick_start):
    trained = []

    def train_model(network, train, val, epochs, **options):
        trained.append((len(train), len(val), epochs, options["checkpoint"]))
        network.eval()
        return History([1.0], [0.5], [1.0], [0.5], [2.0])

    monkeypatch.setattr(train_lensnet, "train_model", train_model)
    monkeypatch.setattr(_lensnet_evidence, "accuracy", lambda *_: 0.5)
    monkeypatch.setattr(_lensnet_evidence, "orientation_error", lambda *_: 5.0)
    monkeypatch.setattr(_lensnet_evidence, "curve_units", lambda *_: [_lensnet_evidence.Unit("mixed4a", 1, 30.0, 2.0)])
    monkeypatch.setattr(_lensnet_evidence, "high_low_units", lambda *_: [])
    monkeypatch.setattr(train_lensnet, "PER_CLASS", 1)
    result = CliRunner().invoke(
        train_lensnet.main, ["--out", str(tmp_path), "--checkpoints", str(tmp_path / "state"), "--epochs", "1", "--chunks", "1"]
    )
    assert result.exit_code == 0, result.output
    assert trained == [(1, 1, 1, tmp_path / "state")]
    written = json.loads((tmp_path / "lensnet.json").read_text())
    assert written["images"] == 71 and written["trained"]["accuracy"] == 0.5
    assert written["sha256"] == train_lensnet.sha256(tmp_path / "lensnet.safetensors")
    assert modelzoo.load("lensnet", tmp_path / "lensnet.safetensors")(np.full((1, 64, 64, 3), 0.5, np.float32)).shape == (1, 71)
