"""What the command line writes, and what it never writes over."""

import dataclasses
import errno
import os
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from jaxlens import microscope, modelzoo
from jaxlens.cli import _render, main
from jaxlens.data import load_image
from jaxlens.optvis.render import RenderResult, Task
from jaxlens.optvis.render._task import class_layers
from tests.cli.saved import LABELS, here  # noqa: F401

MODEL = "any.safetensors"
WRITES = {
    "dream": ("wide.png",),
    "style": ("tall.png", "wide.png"),
    "invert": ("tall.png", "wide.png"),
    "caricature": ("wide.png", "tall.png"),
    "accentuate": ("wide.png", "1:0"),
    "attribute": ("wide.png",),
}


def run(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def there(here, tmp_path, monkeypatch):  # noqa: F811
    """A copy of the files, as the working folder."""
    folder = shutil.copytree(here, tmp_path / "work")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """Renders nothing: pictures of one grey for each neuron, finished or not."""
    state = {"finished": True, "grey": 0.25}

    def render(network, wanted, *, size, steps, seed, **options):
        names = [name for text in wanted for name in spread(text)]
        height, width = size if isinstance(size, tuple) else (size, size)
        images = np.full((len(names), 1, height, width, 3), state["grey"], np.float32)
        scores = np.full((len(names), steps), 0.5, np.float32)
        tasks = tuple(_task(network, name) for name in names)
        failed = np.full(len(names), -1)
        return RenderResult(images, scores, tuple(names), {}, failed, state["finished"], 0.0, tasks=tasks)

    monkeypatch.setattr(_render, "render_objectives", render)
    return state


def _task(network, name):
    layer, _, number = name.rpartition(":")
    label = network.labels[int(number)] if layer in class_layers(network) else None
    return Task(name, layer, int(number), label)


def spread(text):
    layer, _, numbers = text.partition(":")
    low, _, high = numbers.partition("-")
    return [f"{layer}:{number}" for number in range(int(low), int(high or low) + 1)]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("verb", WRITES)
@pytest.mark.parametrize("link", [None, "symlink_to", "hardlink_to"])
def test_an_output_that_is_an_input_is_refused(there, verb, link):
    """Before the network is looked for: none of this name exists."""
    out = there / "wide.png" if link is None else there / "other.png"
    if link:
        getattr(out, link)(there / "wide.png")
    before = contents(there)
    result = run(verb, "absent", *WRITES[verb], "--out", out)
    assert result.exit_code == 1 and "is the input" in result.output and "wide.png" in result.output
    assert "Name another file" in result.output and contents(there) == before


def test_an_output_is_an_input_by_way_of_a_folder_that_is_not_there_yet(there):
    before = contents(there)
    result = run("dream", "absent", there / "wide.png", "--out", there / "new" / ".." / "wide.png")
    assert result.exit_code == 1 and "is the input" in result.output
    assert contents(there) == before and not (there / "new").exists()


def test_a_guide_and_weights_are_inputs_too(there):
    before = contents(there)
    shutil.copy("wide.png", "w.png")
    for options in (("--guide", "w.png"), ("--weights", "w.png")):
        result = run("dream", "lensnet", "tall.png", *options, "--out", "w.png")
        assert result.exit_code == 1 and "is the input" in result.output
    assert contents(there) == before | {"w.png": before["wide.png"]}


@pytest.mark.parametrize("verb", [*WRITES, "zoom", "maco", "tile", "render"])
@pytest.mark.parametrize("out", ["", "  "])
def test_an_empty_name_is_refused(there, verb, out):
    before = contents(there)
    arguments = WRITES.get(verb, ("wide.png",) if verb == "zoom" else ("1:0",))
    result = run(verb, MODEL, *arguments, "--out", out)
    assert result.exit_code == 2 and "'--out'" in result.output and "names no f" in result.output
    assert contents(there) == before


@pytest.mark.slow
def test_plain_pictures_are_tiles(there, drawn):
    """With the same settings' hash as a job of the same settings."""
    assert run("render", MODEL, "1:0-1", "4:0", "--size", 8, "--steps", 3, "--seed", 7, "--out", "o").exit_code == 0
    tile = microscope.read_tile("o/1-1.png")
    assert (tile.layer, tile.channel, tile.seed, tile.score, tile.finished) == ("1", 1, 7, 0.5, True)
    assert tile.image.shape == (8, 8, 3) and (tile.image == 64).all()
    job = microscope.render_layers(modelzoo.load(MODEL), ["1"], "job", channels=[0], size=8, steps=3, seed=7, progress=False)
    assert job.tiles("1")[0].settings == tile.settings == microscope.read_tile("o/4-0.png").settings


def test_an_unfinished_picture_replaces_no_finished_one(there, drawn):
    options = ("--size", 8, "--out", "o")
    assert run("render", MODEL, "1:0-1", *options).exit_code == 0
    before = contents(there / "o")
    drawn |= {"finished": False, "grey": 0.75}
    result = run("render", MODEL, "1:0-2", *options)
    assert result.exit_code == 130 and "Interrupted." in result.output
    after = contents(there / "o")
    assert {name: after[name] for name in before} == before and sorted(set(after) - set(before)) == ["1-2.png"]
    assert not microscope.read_tile("o/1-2.png").finished
    drawn |= {"finished": True}
    assert run("render", MODEL, "1:0-2", *options).exit_code == 0
    assert all((load_image(f"o/1-{i}.png") > 0.7).all() and microscope.read_tile(f"o/1-{i}.png").finished for i in range(3))


def test_an_unfinished_dream_replaces_no_finished_one(there, monkeypatch):
    from jaxlens import recipes

    dream = recipes.deepdream
    monkeypatch.setattr(recipes, "deepdream", lambda *a, **k: dataclasses.replace(dream(*a, **k), finished=False))
    options = ("--layer", "1", "--octaves", 1, "--steps", 1, "--size", 12, "--out", "d.png")
    first = run("dream", MODEL, "wide.png", *options)
    assert first.exit_code == 130 and "d.png shows what there was" in first.output
    (there / "d.png").write_bytes(b"finished")
    second = run("dream", MODEL, "wide.png", *options)
    assert second.exit_code == 130 and "d.png stays as it was" in second.output
    assert (there / "d.png").read_bytes() == b"finished"


def test_a_smaller_rerun_keeps_the_full_sheet(there, drawn):
    assert run("render", MODEL, "1:0-3", "--size", 8, "--out", "o").exit_code == 0
    full = (there / "o" / "contact-sheet.png").read_bytes()
    assert run("render", MODEL, "1:2", "--size", 8, "--out", "o").exit_code == 0
    assert (there / "o" / "contact-sheet.png").read_bytes() == full
    result = run("render", MODEL, "1:2", "--size", 9, "--out", "o")  # of other settings
    assert (there / "o" / "contact-sheet.png").read_bytes() == full and "contact-sheet-2.png" in result.output


def test_a_sheet_that_is_not_ours_stays(there, drawn):
    (there / "o").mkdir()
    shutil.copy("wide.png", "o/contact-sheet.png")
    assert "contact-sheet-2.png" in run("render", MODEL, "1:2", "--size", 8, "--out", "o").output
    assert (there / "o" / "contact-sheet.png").read_bytes() == (there / "wide.png").read_bytes()


@pytest.mark.slow
def test_a_smaller_job_keeps_the_layers_sheet(there):
    options = ("--layer", "1", "--steps", 1, "--size", 8, "--out", "o")
    assert run("render", MODEL, *options, "--all-channels").exit_code == 0
    full = (there / "o" / "1.png").read_bytes()
    (there / "o" / "1" / "0003.png").rename(there / "away.png")
    monkey = _render.CHANNELS
    try:
        _render.CHANNELS = 2
        assert run("render", MODEL, *options).exit_code == 0
    finally:
        _render.CHANNELS = monkey
    assert (there / "o" / "1.png").read_bytes() == full


def test_a_full_disk_keeps_the_older_sheet(there, drawn, monkeypatch):
    assert run("render", MODEL, "1:0", "--size", 8, "--out", "o").exit_code == 0
    before = contents(there / "o")

    def full(self, path, **options):
        with open(path, "wb") as file:
            file.write(b"a part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    result = run("render", MODEL, "1:0", "--size", 8, "--out", "o")
    assert result.exit_code == 1 and "No space left on device" in result.output and "Traceback" not in result.output
    assert contents(there / "o") == before
    shutil.copy("wide.png", "m.png")
    result = run("attribute", MODEL, "tall.png", "--method", "saliency", "--no-metrics", "--out", "m.png")
    assert result.exit_code == 1 and "No space left" in result.output
    assert (there / "m.png").read_bytes() == (there / "wide.png").read_bytes()


def test_a_link_in_the_place_of_a_sheet_is_not_followed(there, drawn):
    (there / "o").mkdir()
    photo = (there / "wide.png").read_bytes()
    (there / "o" / "contact-sheet.png").symlink_to(there / "wide.png")
    (there / "o" / "1-0.png").symlink_to(there / "wide.png")
    assert run("render", MODEL, "1:0", "--size", 8, "--out", "o").exit_code == 0
    assert (there / "wide.png").read_bytes() == photo and not (there / "o" / "1-0.png").is_symlink()


@pytest.mark.parametrize(
    "arguments", [("render", "absent", "a:1"), ("render", "absent", "--layer", "a"), ("dream", "absent", "wide.png")]
)
def test_a_failed_command_leaves_no_folder(there, arguments):
    out = ("--out", "new/er/x.png" if arguments[0] == "dream" else "new/er")
    assert run(*arguments, *out).exit_code == 1
    assert not (there / "new").exists()


@pytest.mark.skipif(os.name != "posix", reason="The umask is POSIX'.")
def test_files_have_the_mode_of_the_umask(there, drawn):
    old = os.umask(0o026)
    try:
        run("render", MODEL, "1:0", "--size", 8, "--out", "o")
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in (there / "o").iterdir()} == {0o640}


@pytest.mark.slow
def test_pictures_of_different_shapes_keep_them(there):
    options = ("--layer", "1", "--steps", 1, "--size", 15, "--out", "i.png")
    result = run("invert", MODEL, "wide.png", "tall.png", *options)
    assert result.exit_code == 0, result.output
    sheet = load_image("i.png")
    shown = (sheet < 0.99).any(-1)
    assert shown[-8 - 15 : -8].all(1).sum() == 0 and sheet.shape[0] > 15 + 8
    alone = {}
    for name in ("wide", "tall"):
        assert run("invert", MODEL, f"{name}.png", *options[:-1], f"{name}-1.png").exit_code == 0
        alone[name] = load_image(f"{name}-1.png")
    assert alone["wide"].shape == (10, 15, 3) and alone["tall"].shape == (15, 10, 3)
    for picture in alone.values():
        height, width = picture.shape[:2]
        places = np.lib.stride_tricks.sliding_window_view(sheet, picture.shape)[:, :, 0]
        assert np.abs(places - picture).max((2, 3, 4)).min() < 2 / 255, (height, width)


def test_labels_of_classes():
    model = modelzoo.load("squeezenet1_1", weights=None)
    layers = _render.class_layers(model)
    assert layers == ("logits", "classifier", "classifier.3", "classifier.2", "classifier.1")
    assert _render.label_of("classifier.2", 0, model.labels, layers) == "tench"
    assert _render.label_of("features.9", 0, model.labels, layers) == ""


def test_names_of_strangers_do_nothing_to_a_terminal(there, drawn):
    result = run("render", MODEL, "4:1", "logits:1", "--size", 8, "--out", "o")
    assert "\x1b" in LABELS[1] and result.exit_code == 0
    assert "\x1b" not in result.output and result.output.count("fish") == 2
    for arguments in (("layers", "\x1b[2J"), ("dream", "\x9b31m", "wide.png")):
        result = run(*arguments, *(() if arguments[0] == "layers" else ("--out", "x.png" if arguments[0] == "dream" else "o")))
        assert result.exit_code == 1 and "\x1b" not in result.output and "\x9b" not in result.output
