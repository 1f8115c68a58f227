"""What a job's folder accepts as finished, what it refuses, and what it is called."""

import json
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from jaxlens import modelzoo
from jaxlens.microscope import _render_layers, folder_name, read_tile, render_layers
from jaxlens.microscope._settings import computation
from jaxlens.model import Model, Preprocess
from jaxlens.optvis import param

QUICK = {"size": (8, 12), "steps": 1, "batch_size": 2, "redirect_steps": 0, "progress": False}
PLAIN = {"preprocess": Preprocess(), "input_size": (8, 12)}


def features(params, x):
    return jnp.stack([(x * x).mean((1, 2, 3)) * params, x[..., 0].mean((1, 2)), x[..., 1].std((1, 2)), x[:, 1, 2, 2]], 1)


@pytest.fixture(scope="module")
def model():
    return Model.from_function(features, np.float32(1), name="four", **PLAIN)


def run(model, folder, **changes):
    return render_layers(model, ["logits"], folder, **QUICK | changes)


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    assert run(model, folder).rendered == 4
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: shutil.copy(path.with_name("0002.png"), path),
        lambda path: changed(path, channel=None),
        lambda path: changed(path, layer="elsewhere"),
        lambda path: changed(path, finished=False),
        lambda path: changed(path, pixels=np.zeros((8, 12, 3), np.uint8)),
        lambda path: path.write_bytes(b""),
        lambda path: Image.new("RGB", (12, 8)).save(path),
    ],
    ids=["another neuron's", "no channel", "another layer's", "unfinished", "other pixels", "empty", "no tile"],
)
def test_a_file_that_is_not_the_finished_tile_is_rendered_again(model, finished, folder, spoil):
    spoil(folder / "logits" / "0001.png")
    job = run(model, folder)
    assert job.finished and job.rendered == 1
    for name in ("0001.png", "0002.png"):
        assert (folder / "logits" / name).read_bytes() == (finished / "logits" / name).read_bytes()


def changed(path, pixels=None, **about):
    """A tile with something else in its metadata, or with the same and other pixels."""
    with Image.open(path) as file:
        text, image = json.loads(file.info["jaxlens"]), np.asarray(file)
    info = PngImagePlugin.PngInfo()
    info.add_text("jaxlens", json.dumps(text | about))
    Image.fromarray(image if pixels is None else pixels).save(path, pnginfo=info)


def test_a_folder_in_the_place_of_a_tile_is_refused(model, folder):
    path = folder / "logits" / "0001.png"
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=r"0001.png' is a folder where a tile is to be written. Move it elsewhere"):
        run(model, folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 0}, "size=0 must be"),
        ({"size": (1, 2, 3)}, r"size=\(1, 2, 3\) must be"),
        ({"size": "big"}, "size='big' must be"),
        ({"steps": 2**70}, "steps=.* must be an integer in"),
        ({"seed": 2**32}, "seed=4294967296 must be"),
        ({"compute_dtype": "int32"}, "dtype='int32'"),
        ({"compute_dtype": "half a float"}, "compute_dtype='half a float' must name"),
        ({"batch_size": 0}, "batch_size=0 must be"),
        ({"memory_limit": -1}, "memory_limit=-1 must be"),
        ({"transforms": "jitter"}, "transforms='jitter' must be a list"),
        ({"param": "image"}, "param='image' must be a parameterization"),
        (
            {"param": param.each([param.image(init=np.full((8, 12, 3), v, np.float32)) for v in (0.2, 0.4)])},
            "param.each has one",
        ),
        ({"channels": "01"}, "channels='01' must be a list of numbers"),
        ({"channels": []}, r"channels=\[\] must be"),
        ({"channels": [1.5]}, "channels=1.5 must be an integer"),
        ({"fixed_image_size": -4}, "fixed_image_size=-4 must be"),
        ({"redirect_steps": "all"}, "redirect_steps='all' must be"),
        ({"param": param.image(12, 8, channels=2)}, "2 channels"),
    ],
    ids=str,
)
def test_a_refused_call_leaves_nothing(model, tmp_path, changes, words):
    with pytest.raises((ValueError, TypeError), match=words):
        run(model, tmp_path / "new" / "folder", **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layers", ["logits", [], 3, [0], [None]])
def test_layers_must_be_a_list_of_names(model, tmp_path, layers):
    with pytest.raises((TypeError, LookupError), match="layers?="):
        render_layers(model, layers, tmp_path / "new", **QUICK)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    ["null", "3", "[]", "{}", "[" * 100_000, '"', '{"format": 3}', '{"format": null}', "\xff"],
    ids=lambda text: text[:20],
)
def test_a_manifest_that_is_none(model, folder, text):
    (folder / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="manifest.json'.*Name another folder"):
        run(model, folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [("chunk", 0), ("chunk", None), ("chunk", "2"), ("groups", {"logits": 3}), ("groups", [1]), ("settings", 3), ("x", 1)],
)
def test_a_manifest_of_wrong_values(model, folder, name, value):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(ValueError, match="is not a manifest of jaxlens"):
        run(model, folder)


def test_another_network_of_the_same_name_and_weights_is_refused(model, folder):
    """What is computed counts: code, options, arrays that preprocessing closes over, gradients."""
    import jax

    def with_mean(mean):
        return model.replace(preprocess=lambda x: x - jnp.asarray(mean)[None, None, None])

    def other(params, x):
        return features(params, x) + 0.25

    def straight_through(params, x):
        return features(params, x + jax.lax.stop_gradient(0 * x))

    def stopped(params, x):
        return features(params, x) + features(params, jax.lax.stop_gradient(x)) * 0

    networks = [Model.from_function(f, np.float32(1), name="four", **PLAIN) for f in (other, straight_through, stopped)]
    networks += [with_mean([0.1, 0.2, 0.3]), with_mean([0.1, 0.2, 0.4])]
    hashes = {computation(network) for network in (model, *networks)}
    assert len(hashes) == 6
    assert computation(with_mean([0.1, 0.2, 0.3])) in hashes  # another object of the same code
    for network in networks:
        with pytest.raises(ValueError, match="holds results of other settings.*network: "):
            run(network, folder)


@pytest.mark.slow
def test_options_of_a_network_are_settings():
    one, two = (modelzoo.load("googlenet", weights=None, transform_input=on) for on in (True, False))
    assert computation(one) != computation(two)


@pytest.mark.slow
def test_a_cppn_is_a_setting(model, tmp_path):
    small = param.cppn(12, 8, num_hidden_channels=4, num_layers=1)
    assert run(model, tmp_path, channels=[0], param=small).finished
    assert run(model, tmp_path, channels=[0], param=param.cppn(12, 8, num_hidden_channels=4, num_layers=1)).rendered == 0
    with pytest.raises(ValueError, match="other settings.*param"):
        run(model, tmp_path, param=param.cppn(12, 8, num_hidden_channels=4, num_layers=1, activation=param.relu_normalized))


def test_a_folder_that_vanishes_midway_is_not_finished(model, tmp_path, monkeypatch):
    render, calls = _render_layers.render, []

    def vanishing(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            shutil.rmtree(tmp_path / "out")
        return render(*arguments, **options)

    monkeypatch.setattr(_render_layers, "render", vanishing)
    job = run(model, tmp_path / "out")
    assert not job.finished and [tile.channel for tile in job.tiles("logits")] == [2, 3]
    assert run(model, tmp_path / "out").finished and len(job.tiles("logits")) == 4


def test_another_size_of_chunk_that_came_first_is_taken_over(model, finished, tmp_path, monkeypatch):
    render, calls = _render_layers.render, []

    def late(*arguments, **options):
        calls.append(arguments[1].index.tolist())
        if len(calls) == 1:
            shutil.copytree(finished, tmp_path / "out", dirs_exist_ok=True)  # in chunks of 2
            (tmp_path / "out" / "logits" / "0003.png").unlink()
        return render(*arguments, **options)

    monkeypatch.setattr(_render_layers, "render", late)
    assert run(model, tmp_path / "out", batch_size=4).finished
    assert calls == [[0, 1, 2, 3], [2, 3]]
    assert (tmp_path / "out" / "logits" / "0003.png").read_bytes() == (finished / "logits" / "0003.png").read_bytes()


NAMES = ["a:b", "a_b", "a/b", "a-b", "a.b", "..", ".", "", "...", "x" * 300, "x" * 301, "Mixed", "mixed", "é", "..x", ".claims"]
NAMES += ["manifest.json", "a.png", "a ", "a", "\0", "\ud800", "a\\b", "../../etc", "con.", "A:B"]


def test_folders_are_safe_and_kept_apart():
    found = [folder_name(name) for name in NAMES]
    assert len({name.lower() for name in found}) == len(NAMES)
    for name in found:
        assert 0 < len(name.encode()) <= 100 and Path(name).name == name and name.isascii()
        assert not name.startswith(".") and not name.endswith((".", " ", ".png", ".json"))
    for plain in ("features.3.relu@1", "mixed4a_3x3", "logits", "layer1.0.bn1"):
        assert folder_name(plain) == plain


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "shape"), [(1, (8, 12, 1)), (2, (8, 24, 1)), (4, (8, 48, 1)), (12, (8, 144, 1))])
def test_tiles_of_networks_of_other_channels(tmp_path, channels, shape):
    """One channel is grey; of numbers that are no colours every channel is, side by side."""
    model = Model.from_function(lambda params, x: x.mean((1, 2)) * params, np.float32(1), name="n", channels=channels, **PLAIN)
    job = run(model, tmp_path, channels=[0], param=param.image(12, 8, channels=channels))
    (tile,) = job.tiles("logits")
    assert job.finished and tile.image.shape == shape and tile.image.dtype == np.uint8
    assert run(model, tmp_path, channels=[0], param=param.image(12, 8, channels=channels)).rendered == 0


def test_opacity_is_kept(tmp_path):
    from jaxlens.optvis import transform

    model = Model.from_function(features, np.float32(1), name="four", **PLAIN)
    job = run(
        model, tmp_path, channels=[0], param=param.image(12, 8, alpha=True), transforms=[transform.collapse_alpha_random()]
    )
    assert job.tiles("logits")[0].image.shape == (8, 12, 4)
    with Image.open(tmp_path / "logits" / "0000.png") as file:
        assert file.mode == "RGBA"
    assert read_tile(tmp_path / "logits" / "0000.png", image=False).image is None


def test_channels_that_no_layer_has_are_refused(model, tmp_path):
    for channels in ([4], [0, 4], [2**40], np.array([1, 9])):
        with pytest.raises(ValueError, match=r"channels=\[.*\] are in none of the layers, which have 4 channels at most: 0..3"):
            run(model, tmp_path / "new", channels=channels)
    assert not (tmp_path / "new").exists()
