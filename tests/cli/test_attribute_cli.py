"""`jaxlens attribute` through its entry point: what it prints, writes, hands on and refuses."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxlens
from jaxlens import modelzoo
from jaxlens.attribution import Attribution, metrics
from jaxlens.attribution.cam._cam import grad_cam, random_cam
from jaxlens.cli import _attribute
from jaxlens.data import load_image, save_image
from tests.cli.test_cli import run
from tests.helpers import small_model
from tests.pictures import photo

LABELS = ("bar", "letter-K", "rings", "grid", "dots")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A wide one and a tall one."""
    folder = tmp_path_factory.mktemp("pictures")
    save_image(folder / "wide.png", photo(32, 50))
    save_image(folder / "tall.png", 1 - photo(60, 36))
    return folder / "wide.png", folder / "tall.png"


@pytest.fixture(scope="module")
def model():
    return small_model(input_size=(32, 32), labels=LABELS)


@pytest.fixture(autouse=True)
def zoo(model, monkeypatch):
    """A network that takes little time, beside those that there are."""
    load = modelzoo.load
    monkeypatch.setattr(modelzoo, "load", lambda name, weights: model if name == "small" else load(name, weights=weights))


@pytest.mark.slow
def test_prints_and_writes_maps_with_their_measures(pictures, model, tmp_path):
    out = tmp_path / "new" / "maps.png"
    result = run("attribute", "small", *pictures, "--method", "grad_cam", "--method", "random_cam", "--out", out)
    assert result.exit_code == 0, result.output
    rows = [line.split("\t") for line in result.stdout.splitlines() if "\t" in line]
    assert [row[0] for row in rows] == ["wide.png", "tall.png"] * 3
    assert [row[2] for row in rows] == ["grad_cam blocks.1"] * 2 + ["random_cam blocks.1"] * 2 + ["random"] * 2
    assert re.search(r"2 images, 2 methods in .* s -> ", result.output) and str(out) in result.output
    images = np.stack([load_image(path, 32) for path in pictures])
    logits = jaxlens.activations(model, images, ["logits"])["logits"]
    likely = np.asarray(jax.nn.softmax(logits))
    assert [row[1] for row in rows[:2]] == [f"{LABELS[p.argmax()]} ({p.max():.2f})" for p in likely]
    assert [cell.split()[0] for cell in rows[0][3:]] == ["deletion", "insertion", "sparseness"]
    printed = np.asarray([[float(cell.split()[1]) for cell in row[3:]] for row in rows])
    control = np.broadcast_to(jax.random.uniform(jax.random.key(0), (1, 32, 32, 1)), (2, 32, 32, 1))
    maps = [grad_cam(model, images).values, random_cam(model, images).values, control]
    maps[1] = maps[1] - maps[1].mean((1, 2, 3), keepdims=True)
    for found, lines in zip(maps, (printed[:2], printed[2:4], printed[4:]), strict=True):
        curves = [curve(model, images, found, steps=_attribute.STEPS) for curve in (metrics.deletion, metrics.insertion)]
        np.testing.assert_allclose(lines[:, :2], np.stack([curve.area for curve in curves], -1), atol=2e-3)
        np.testing.assert_allclose(lines[:, 2], metrics.sparseness(found.sum(-1)), atol=2e-3)
    assert not np.allclose(printed[:2], printed[2:4], atol=5e-3)
    with Image.open(out) as file:
        width, height = file.size
    assert width > 3 * 160 and height > 2 * 160  # an image and two maps for each picture, enlarged


@pytest.fixture
def asked(monkeypatch):
    """What stand-ins of two methods were asked; one takes no layer, and nothing is measured."""
    calls = []

    def anywhere(model, images, target, *, layer=None, seed=0, batch_size=None):
        calls.append({"target": target, "layer": layer, "seed": seed, "batch_size": batch_size, "shape": images.shape})
        values = jnp.ones((len(images), 4, 5, 2)) * jnp.arange(5.0)[None, None, :, None]
        return Attribution(values=values, scores=jnp.zeros(len(images)), method="anywhere", layer=layer or "input")

    def pixels_only(model, images, target, *, batch_size=None):
        return anywhere(model, images, target, batch_size=batch_size).replace(values=jnp.zeros((len(images), 3, 2, 1)))

    def measured(*arguments, **options):
        raise AssertionError("measured, though not asked to")

    monkeypatch.setattr(_attribute, "METHODS", {"anywhere": anywhere, "pixels_only": pixels_only})
    meanings = {**_attribute.MEANINGS, "anywhere": "signed", "pixels_only": "signed"}
    monkeypatch.setattr(_attribute, "MEANINGS", meanings)
    monkeypatch.setattr(metrics, "deletion", measured)
    return calls


QUIET = ("--no-metrics", "--method", "anywhere")


def test_options_reach_the_methods(asked, pictures, tmp_path):
    out = tmp_path / "maps.png"
    both = ("--method", "anywhere@blocks.0.relu@1", "--method", "pixels_only", "--method", "anywhere")
    options = (
        "--layer",
        "blocks.0",
        "--layer",
        "blocks.1",
        "--seed",
        7,
        "--batch-size",
        3,
        "--size",
        48,
        "--view",
        "masked",
        "--target",
        "rings",
    )
    result = run("attribute", "small", *pictures, *QUIET, *both, *options, "--out", out)
    assert result.exit_code == 0, result.output
    assert [(call["layer"], call["seed"], call["batch_size"]) for call in asked] == [
        ("blocks.0", 7, 3),
        ("blocks.1", 7, 3),
        ("blocks.0.relu@1", 7, 3),
        (None, 0, 3),  # without layers and seeds; and the same method twice is one
    ]
    assert all(call["shape"] == (2, 48, 48, 3) for call in asked)
    number = LABELS.index("rings")
    assert all((call["target"] == number).all() for call in asked)
    columns = [line.split("\t")[2] for line in result.stdout.splitlines() if "\t" in line]
    assert (
        columns[::2] == ["anywhere blocks.0", "anywhere blocks.1", "anywhere blocks.0.relu@1", "pixels_only"] and out.exists()
    )


@pytest.mark.parametrize(
    ("given", "name", "target"),
    [
        ((), None, None),
        (("--target", "3"), "grid", [3, 3]),
        (("--target", "letter-K"), "letter-K", [1, 1]),
        (("--target", "blocks.0:3"), "blocks.0:3", "blocks.0:3"),
    ],
)
def test_targets(asked, model, pictures, tmp_path, given, name, target):
    result = run("attribute", "small", *pictures, *QUIET, *given, "--out", tmp_path / "maps.png")
    assert result.exit_code == 0, result.output
    cells = [line.split("\t")[1] for line in result.stdout.splitlines() if "\t" in line]
    images = np.stack([load_image(path, 32) for path in pictures])
    likely = np.asarray(jax.nn.softmax(jaxlens.activations(model, images, ["logits"])["logits"]))
    target = likely.argmax(-1) if target is None else target
    assert np.array_equal(asked[0]["target"], target)
    if isinstance(target, str):
        assert cells == [target] * 2
    else:
        names = [LABELS[i] for i in target]
        assert cells == [f"{label} ({p[i]:.2f})" for label, p, i in zip(names, likely, target, strict=True)]
        assert name is None or names == [name] * 2


def test_the_same_seed_gives_the_same_file(pictures, tmp_path):
    files = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        files.append(tmp_path / f"{name}.png")
        options = ("--method", "random_cam", "--no-metrics", "--seed", seed, "--out", files[-1])
        assert run("attribute", "small", pictures[0], *options).exit_code == 0
    a, b, c = (load_image(file) for file in files)
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_maps_of_scores_are_drawn_around_their_mean(asked, pictures, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(_attribute, "attributions", lambda maps, *_, **__: drawn.update(maps) or Image.new("RGB", (3, 2)))
    monkeypatch.setitem(_attribute.METHODS, "rise", _attribute.METHODS["anywhere"])
    assert run("attribute", "small", pictures[0], *QUIET, "--method", "rise", "--out", tmp_path / "m.png").exit_code == 0
    assert float(drawn["anywhere"].values.mean()) == 2
    np.testing.assert_allclose(drawn["rise"].values[0, 0, :, 0], [-2, -1, 0, 1, 2], atol=1e-6)


def test_a_layer_for_a_method_that_takes_none(asked, pictures, tmp_path):
    result = run("attribute", "small", pictures[0], "--method", "pixels_only@blocks.0", "--out", tmp_path / "m.png")
    assert result.exit_code == 1 and not asked
    assert "--method 'pixels_only@blocks.0': pixels_only attributes to the pixels only. Leave out @blocks.0" in result.output


def test_the_options_of_every_method_are_known():
    """Those with options of another method's have them all."""
    assert {name for name in _attribute.METHODS if not _attribute._has(name, "batch_size")} == set()
    assert all(_attribute._has("var_grad", option) for option in ("layer", "seed", "batch_size"))
    assert not _attribute._has("saliency", "seed") and not _attribute._has("attention_rollout", "layer")


def test_help_names_every_method():
    result = run("attribute", "--help")
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    assert all(name in text for name in _attribute.METHODS)
    assert set(_attribute.DEFAULT_METHODS) <= set(_attribute.METHODS)
    assert "jaxlens attribute" in run("--help").output


@pytest.mark.slow
def test_random_weights_are_said_to_be_random(asked, pictures, tmp_path):
    result = run("attribute", "lensnet", pictures[0], *QUIET, "--weights", "none", "--out", tmp_path / "m.png")
    assert result.exit_code == 0 and "Random weights" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "gradcam"), "--method 'gradcam' is not a method. Closest: grad_cam"),
        (("--method", "saliency@conv2d9"), "layer='conv2d9' is not a layer of small. Closest: "),
        (("--layer", "conv2d9"), "layer='conv2d9' is not a layer of small"),
        (("--target", "letter-k"), "target='letter-k' is not a label of small. Closest: ['letter-"),
        (("--target", "5"), "--target=5 must be an integer in 0..4"),
        (("--target", "conv9:1"), "layer='conv9' is not a layer of small"),
    ],
)
def test_errors_are_one_message(pictures, tmp_path, arguments, message):
    result = run("attribute", "small", pictures[0], *arguments, "--no-metrics", "--out", tmp_path / "m.png")
    assert result.exit_code == 1 and message in result.output and "Traceback" not in result.output
    assert not (tmp_path / "m.png").exists()


def test_refused_before_anything_is_loaded(pictures, tmp_path):
    """The network named here does not exist either."""
    (tmp_path / "file").write_text("in the way")
    for options, message in (
        (("--out", tmp_path / "file" / "m.png"), "cannot be written to"),
        (("--out", tmp_path / "m.xyz"), "ends in '.xyz'"),
        (("--out", tmp_path / "m.png", "--method", "smoothgrad"), "'smoothgrad' is not a method. Closest: smooth_grad"),
    ):
        result = run("attribute", "none of them", pictures[0], *options)
        assert result.exit_code == 1 and message in result.output, result.output
    for arguments, message in (
        ((pictures[0],), "Missing option '--out'"),
        (("--out", tmp_path / "m.png"), "Missing argument 'IMAGE...'"),
        ((tmp_path / "absent.png", "--out", tmp_path / "m.png"), "does not exist"),
        ((pictures[0], "--size", 0, "--out", tmp_path / "m.png"), "0 is not in the range x>=1"),
        ((pictures[0], "--view", "map", "--out", tmp_path / "m.png"), "'map' is not one of 'heat_map'"),
    ):
        result = run("attribute", "none of them", *arguments)
        assert result.exit_code == 2 and message in result.output, result.output
