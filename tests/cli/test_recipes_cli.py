"""Recipes on the command line: files in, files out, with lensnet at a few steps."""

import numpy as np
import pytest
from PIL import Image

from jaxlens.data import load_image, save_image
from tests.cli.test_cli import run
from tests.pictures import photo

QUICK = ("--size", 40, "--steps", 1)
EARLY = ("--layer", "conv2d1")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    save_image(folder / "wide.png", photo(30, 45))
    save_image(folder / "tall.png", photo(50, 25))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "arguments", "size"),
    [
        ("dream", ("wide.png", *EARLY, "--octaves", 1, "--guide", "tall.png", *QUICK), (27, 40)),
        ("style", ("wide.png", "tall.png", "--content-layer", "conv2d1", "--style-layer", "conv2d0", *QUICK), (27, 40)),
        ("invert", ("tall.png", *EARLY, *QUICK), (40, 20)),
        ("accentuate", ("wide.png", "conv2d1:3", *QUICK), (27, 40)),
        ("tile", ("conv2d1:3", *QUICK), (40, 40)),
    ],
)
def test_it_writes_a_picture(pictures, tmp_path, command, arguments, size):
    arguments = [pictures / a if str(a).endswith(".png") else a for a in arguments]
    out = tmp_path / "new" / "picture.png"
    result = run(command, "lensnet", *arguments, "--out", out)
    assert result.exit_code == 0, result.output
    assert load_image(out).shape == (*size, 3) and str(out) in result.output


@pytest.mark.slow
def test_several_pictures_are_a_sheet(pictures, tmp_path):
    out = tmp_path / "sheet.png"
    result = run("caricature", "lensnet", pictures / "wide.png", pictures / "tall.png", *EARLY, *QUICK, "--out", out)
    assert result.exit_code == 0, result.output
    assert load_image(out).shape[1] > 40 and "2 pictures" in result.output


@pytest.mark.slow
def test_maco_has_opacity(tmp_path):
    out = tmp_path / "maco.png"
    result = run("maco", "lensnet", "conv2d1:3", "--crops", 2, *QUICK, "--out", out)
    assert result.exit_code == 0, result.output
    with Image.open(out) as file:
        pixels = np.asarray(file)
    assert pixels.shape == (40, 40, 4) and np.ptp(pixels[..., 3]) > 50


@pytest.mark.slow
def test_a_zoom_is_an_animation(pictures, tmp_path):
    out = tmp_path / "zoom.gif"
    result = run("zoom", "lensnet", pictures / "wide.png", *EARLY, "--frames", 2, *QUICK, "--out", out)
    assert result.exit_code == 0, result.output
    with Image.open(out) as file:
        assert file.n_frames == 3


def test_errors_are_one_line(pictures, tmp_path):
    result = run("invert", "lensnet", pictures / "wide.png", "--layer", "conv2d9", *QUICK, "--out", tmp_path / "x.png")
    assert (
        result.exit_code == 1
        and "layer='conv2d9' is not a layer of lensnet" in result.output
        and "Traceback" not in result.output
    )
    for (verb, *arguments), name, message in (
        (("maco", "conv2d1:3"), "m.jpg", "cannot keep the opacity"),
        (("tile", "conv2d1:3"), "t.xyz", "ends in '.xyz'"),
        (("zoom", pictures / "wide.png"), "z.jpg", "must end in one of .gif"),
        (("zoom", pictures / "wide.png", "--fps", 90), "z.gif", "too fast for .gif"),
    ):
        result = run(verb, "none of them", *arguments, "--out", tmp_path / name)  # before the network is looked for
        assert result.exit_code == 1 and message in result.output
    result = run("invert", "lensnet", pictures / "wide.png", *EARLY, "--layer", "conv2d0", "--out", tmp_path / "x.png")
    assert result.exit_code == 2 and "inverting takes one" in result.output
    result = run("accentuate", "lensnet", pictures / "wide.png", "conv2d1:3", *EARLY, *EARLY, "--out", tmp_path / "x.png")
    assert result.exit_code == 2 and "accentuating takes one" in result.output
