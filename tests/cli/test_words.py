"""What the command line says: saved networks for every verb, defaults, bad values, progress."""

import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from jaxlens import modelzoo
from jaxlens._checks import suggest
from jaxlens._progress import Bar
from jaxlens.cli import _recipes, main
from jaxlens.data import load_image
from tests.cli.saved import here  # noqa: F401


def run(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def there(here, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(here)
    return tmp_path


def test_a_saved_network_has_layers(there):
    lines = run("layers", "any.safetensors").output.splitlines()
    assert lines[2].split() == ["1", "ReLU", "10", "x", "14", "x", "4"]
    result = run("layers", "any.safetensors", "--weights", "none")
    assert result.exit_code == 1 and "weights" in result.output and "Traceback" not in result.output
    assert run("layers", "lensnet", "--weights", "DEFAULT", "--kind", "Softmax").output.split()[0] == "softmax2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "arguments", "size"),
    [
        ("render", ("any.safetensors", "1:0", "--steps", 1), (12, 16)),
        ("render", ("fixed.safetensors", "3:1", "--steps", 1), (12, 16)),
        ("accentuate", ("fixed.safetensors", "wide.png", "1:0", "--steps", 1), (12, 16)),
        ("tile", ("any.safetensors", "1:0", "--steps", 1), (12, 16)),
        ("maco", ("fixed.safetensors", "1:0", "--steps", 1, "--crops", 1), (12, 16)),
        ("style", ("fixed.safetensors", "wide.png", "tall.png", "--steps", 1), (12, 16)),
        ("dream", ("fixed.safetensors", "wide.png", "--layer", 1, "--steps", 1), (12, 16)),
        ("zoom", ("fixed.safetensors", "wide.png", "--layer", 1, "--frames", 1, "--steps", 1), (12, 16)),
    ],
)
def test_a_saved_network_is_shown_its_own_size(there, verb, arguments, size):
    out = there / ("o" if verb == "render" else "o.gif" if verb == "zoom" else "o.png")
    result = run(verb, *arguments, "--out", out)
    assert result.exit_code == 0, result.output
    picture = next(out.glob("[13]-*.png")) if verb == "render" else out
    assert load_image(picture).shape == (*size, 3)


def test_maps_of_a_saved_network_are_of_its_size(there):
    result = run("attribute", "fixed.safetensors", "wide.png", "--method", "saliency", "--no-metrics", "--out", there / "m.png")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output and (there / "m.png").exists()


def test_every_command_takes_the_network_first():
    """Every command but `models`. `--layer` may be given several times wherever it exists."""
    for verb, command in main.commands.items():
        names = [each.name for each in command.params if isinstance(each, click.Argument)]
        assert (names[:1] == ["model"]) == (verb != "models"), verb
        options = {each.name: each for each in command.params if isinstance(each, click.Option)}
        assert ("weights" in options) == (verb != "models")
        assert options["layers"].multiple if "layers" in options else "layer" not in options
        assert all(text and text[0].isupper() for text in (command.help, *(each.help for each in options.values())))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dream", "wide.png", "--model", "lensnet"), "Write MODEL as the first argument: jaxlens dream MODEL"),
        (("tile", "1:0", "--model=lensnet"), "Write MODEL as the first argument: jaxlens tile MODEL"),
        (("render", "lensnet", "--layers", "mixed3a"), "Write --layer, once for each layer"),
        (("render", "lensnet", "--batch", 3), "Write --batch-size"),
        (("attribute", "lensnet", "wide.png", "--chunk", 3), "Write --batch-size"),
        (("invert", "wide.png", "tall.png"), "MODEL comes before every other argument"),
        (("dream", "wide.png"), "Missing argument 'IMAGE'"),
    ],
)
def test_the_old_grammar_is_refused_with_the_new_one(there, arguments, message):
    result = CliRunner().invoke(main, [*map(str, arguments), "--out", str(there / "x.png")], prog_name="jaxlens")
    assert result.exit_code == 2 and message in " ".join(result.output.split()), result.output


def test_layers_by_default_are_told():
    network = modelzoo.load("lensnet", weights=None)
    spread = _recipes.default_layers(network)
    assert spread[2] == _recipes._MIDDLE and spread[1] == _recipes._CONTENT and ", ".join(spread[:3]) == _recipes._STYLE
    assert _recipes._MIDDLE in " ".join(run("dream", "--help").output.split())
    assert all(name in " ".join(run("style", "--help").output.split()) for name in spread[:3])


def test_the_layer_chosen_is_printed(there):
    result = run("invert", "any.safetensors", "wide.png", "--steps", 1, "--size", 12, "--out", there / "x.png")
    assert result.exit_code == 0 and "--layer 1: chosen, as none is named." in result.output


BAD = ("0", "-3", "1e999", "nan", "x", "", str(2**70))


@pytest.mark.parametrize("value", BAD)
def test_bad_numbers_are_refused_in_words_of_the_command_line(there, value):
    """Before the network is looked for: none of this name exists."""
    for verb, arguments in {
        "render": ("absent",),
        "dream": ("absent", "wide.png"),
        "zoom": ("absent", "wide.png"),
        "maco": ("absent", "1:0"),
        "accentuate": ("absent", "wide.png", "1:0"),
        "attribute": ("absent", "wide.png"),
        "style": ("absent", "wide.png", "tall.png"),
    }.items():
        for option in main.commands[verb].params:
            flag, kind = option.opts[0], type(option.type).__name__
            legal = value in ("0",) and flag in ("--seed", "--style-weight", "--strength", "--cossim-pow")
            if kind not in ("Whole", "Number") or legal:
                continue
            result = run(verb, *arguments, flag, value, "--out", there / "x.gif")
            assert result.exit_code == 2 and f"'{flag}'" in result.output, (verb, flag, result.output)
    assert not list(there.iterdir())


def test_errors_name_options_and_not_arguments(there):
    result = run("render", "lensnet", "conv2d1:0", "--weights", "IMAGENET1K_V9", "--out", there / "o")
    assert result.exit_code == 1 and "weights=" not in result.output and "--weights" in result.output
    result = run("render", "wide.png", "--out", there / "o")
    assert result.exit_code == 2 and "is a file" in result.output and "--weights wide.png" in result.output


@pytest.mark.parametrize("verb", ["dream", "attribute"])
def test_damaged_pictures_and_bombs_are_one_line(there, verb, monkeypatch):
    (there / "cut.png").write_bytes(Path("wide.png").read_bytes()[:200])
    Image.new("L", (3000, 3000)).save(there / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    for name in ("cut.png", "bomb.png"):
        options = ("--method", "saliency") if verb == "attribute" else ("--layer", "1")
        result = run(verb, "any.safetensors", there / name, *options, "--out", there / "x.png")
        assert result.exit_code == 1 and name in result.output and "Traceback" not in result.output
        assert len(result.output.strip().splitlines()) == 1


def test_a_part_of_a_name_is_a_suggestion():
    assert suggest("golden", ["goldfish", "wolf", "golden retriever", "gondola"])[0] == "golden retriever"
    assert suggest("Retriever", ["river", "golden retriever"])[0] == "golden retriever"


def test_elsewhere_than_on_a_terminal_there_is_a_line_now_and_then(monkeypatch, capsys):
    clock = [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    bar = Bar(200, "step")
    bar._bar._time = time.time
    clock[0] += 40  # compiling
    for _ in range(200):
        bar.update(1, "score=\x1b[1m")
        clock[0] += 0.5
    bar.close()
    said = capsys.readouterr().err
    lines = said.splitlines()
    assert lines[0] == "compiling, 0/200 steps done" and "\r" not in said and "\x1b" not in said
    assert 8 <= len(lines) <= 14 and "100% 200/200" in lines[-1]
    first = lines[1]
    assert "2.00step/s" in first and "[00:10<01:" in first  # nothing of the 40 s


def test_a_bar_that_is_not_shown_says_nothing(capsys):
    bar = Bar(3, "step", shown=False)
    bar.update(1)
    bar.compiling()
    bar.update(2)
    bar.close()
    assert capsys.readouterr() == ("", "") and sys.stderr is not None
