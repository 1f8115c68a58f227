"""The command line, through its real entry point."""

import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from jaxlens import modelzoo
from jaxlens.cli import main
from jaxlens.cli._recipes import COMMANDS
from jaxlens.cli._render import label_of
from jaxlens.data import load_image
from jaxlens.optvis import objectives


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_help_shows_how_to_begin():
    text = run("--help").output
    assert "jaxlens render squeezenet1_1 features.9:0-15" in text
    for command in ("models", "layers", "render", *(each.name for each in COMMANDS)):
        assert run(command, "--help").exit_code == 0


def test_models_lists_every_network():
    lines = run("models").output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(modelzoo.names())
    assert "IMAGENET1K_V2" in next(line for line in lines if line.startswith("resnet50 "))


def test_layers_of_a_kind():
    lines = run("layers", "squeezenet1_1", "--kind", "fire").output.splitlines()
    assert len(lines) == 8 and lines[0].split() == ["features.3", "Fire", "55", "x", "55", "x", "128"]
    result = run("layers", "squeezenet1_1", "--kind", "LSTM")
    assert result.exit_code == 1 and "Its kinds are" in result.output


def test_render_writes_a_picture_per_neuron_and_a_sheet(tmp_path):
    out = tmp_path / "new" / "folder"
    result = run(
        "render",
        "squeezenet1_1",
        "features.2:3,5",
        "features.3:1",
        "--weights",
        "none",
        "--steps",
        2,
        "--size",
        48,
        "--out",
        out,
    )
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in out.iterdir()) == [
        "contact-sheet.png",
        "features.2-3.png",
        "features.2-5.png",
        "features.3-1.png",
    ]
    assert load_image(out / "features.3-1.png").shape == (48, 48, 3)
    assert "features.2:5\t" in result.output
    sheet = np.asarray(Image.open(out / "contact-sheet.png"))
    assert sheet.shape[0] > 48 and sheet.shape[1] > 3 * 48


@pytest.mark.slow
def test_the_same_seed_gives_the_same_picture(tmp_path):
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(
            "render",
            "squeezenet1_1",
            "features.2:3",
            "--weights",
            "none",
            "--steps",
            1,
            "--size",
            40,
            "--seed",
            seed,
            "--out",
            tmp_path / folder,
        )
    a, b, c = (load_image(tmp_path / folder / "features.2-3.png") for folder in "abc")
    assert np.array_equal(a, b) and not np.array_equal(a, c)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["squeezenet1"], "name='squeezenet1' is not in the model zoo"),
        (["squeezenet1_1", "features.99:1"], "layer='features.99' is not a layer of squeezenet1_1"),
        (["squeezenet1_1", "features.9:900"], "channel=900 is outside 0..383 of layer 'features.9'"),
        (["squeezenet1_1", "features.9"], "objective='features.9' must read"),
    ],
)
def test_errors_are_one_message(tmp_path, arguments, message):
    result = run("render", *arguments, "--weights", "none", "--out", tmp_path)
    assert result.exit_code == 1 and message in result.output and "Traceback" not in result.output


def test_a_folder_that_cannot_be_written(tmp_path):
    """Known before anything is loaded: the weights named here do not exist either."""
    (tmp_path / "file").write_text("in the way")
    result = run("render", "squeezenet1_1", "features.9:1", "--weights", "absent.pth", "--out", tmp_path / "file" / "out")
    assert result.exit_code == 1 and "cannot be written to" in result.output and "Name another folder" in result.output


def test_damaged_weights(tmp_path):
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 not really")
    result = run("render", "squeezenet1_1", "features.9:1", "--weights", tmp_path / "cut.pth", "--out", tmp_path)
    assert result.exit_code == 1 and "cut.pth" in result.output and "Traceback" not in result.output


def test_without_arguments_lensnets_best_neurons_are_shown(tmp_path, monkeypatch):
    asked = []

    def render(network, wanted, **options):
        asked.append((network.name, wanted, options["size"]))
        raise ValueError("far enough")

    monkeypatch.setattr("jaxlens.cli._render.render_objectives", render)
    assert "far enough" in run("render", "--out", tmp_path).output
    ((name, wanted, size),) = asked
    assert name == "lensnet" and tuple(wanted) == modelzoo.info("lensnet").show and size == 128
    model = modelzoo.load("lensnet")
    several = [objectives.as_objective(neuron, model).bind(model) for neuron in wanted]
    assert sum(len(objective.index) for objective in several) == 16
    for objective in several:
        assert max(objective.index) < model.layers[objective.layer].channels


def test_outputs_are_shown_with_their_labels():
    labels = modelzoo.load("lensnet").labels
    assert label_of("logits", 65, labels) == "letter-A"
    assert label_of("logits", 65, None) == label_of("mixed4a", 65, labels) == ""


@pytest.mark.slow
def test_the_program_keeps_compiled_programs(tmp_path):
    code = (
        "import sys, jax\n"
        "from jaxlens.cli import __main__ as program\n"
        "assert jax.config.jax_compilation_cache_dir is None\n"  # importing changes nothing
        "sys.argv = ['jaxlens', '--version']\n"
        "try: program.run()\n"
        "except SystemExit: print(jax.config.jax_compilation_cache_dir)\n"
    )
    clean = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    for chosen, expected in (({}, tmp_path / "compiled"), ({"JAX_COMPILATION_CACHE_DIR": "/elsewhere"}, "/elsewhere")):
        env = clean | {"JAXLENS_CACHE": str(tmp_path)} | chosen
        if chosen:
            code = code.replace("is None", "== '/elsewhere'")
        out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
        assert out.splitlines()[-1] == str(expected)


@pytest.mark.slow
def test_render_layers_is_a_job(tmp_path):
    """Whole layers by name or pattern, resumed by the same command, refused with another."""
    options = ("--steps", 1, "--size", 24, "--out", tmp_path)
    first = run("render", "lensnet", "--layer", "mixed3a_p*_reduce", "--layer", "logits", *options)
    assert first.exit_code == 0 and "8 of 8 neurons rendered now" in first.output
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    tiles = [f"{layer}/000{channel}.png" for layer in ("logits", "mixed3a_pool_reduce") for channel in range(4)]
    assert names == sorted([*tiles, "logits.png", "mixed3a_pool_reduce.png"])
    (tmp_path / "logits" / "0002.png").unlink()
    again = run("render", "lensnet", "--layer", "mixed3a_pool_reduce", "--layer", "logits", *options)
    assert "1 of 8 neurons rendered now" in again.output
    for arguments, message in (
        (("--layer", "logits", "--seed", 1, *options), "holds results of other settings (seed: 0 there, 1 now)"),
        (("--layer", "mixed9*", *options), "layers='mixed9*' matches no layer"),
        (("logits:1", "--layer", "logits", *options), "not both"),
        (("--distributed", *options), "--distributed shares a job"),
        (("--layer", "logits", "--memory-limit", 0.01, *options[:-1], tmp_path / "new"), "One task for each device needs"),
    ):
        refused = run("render", "lensnet", *arguments)
        assert refused.exit_code != 0 and message in refused.output.replace("\n", " ")
