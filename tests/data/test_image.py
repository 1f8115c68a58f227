"""Image files: what is written is read back, whole or not at all."""

import numpy as np
import pytest
from PIL import Image

from jaxlens.data import load_image, save_image
from tests.pictures import photo


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_round_trip(tmp_path, channels):
    image = photo(12, 17, channels)
    path = save_image(tmp_path / "a" / "b.png", image)
    with Image.open(path) as file:
        pixels = np.asarray(file).reshape(12, 17, channels)
    np.testing.assert_array_equal(pixels, np.rint(image * 255))


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("a.jpg", photo(5, 6, 4), "cannot keep the opacity"),
        ("a.xyz", photo(5, 6), "ends in '.xyz'"),
        ("a", photo(5, 6), "ends in ''"),
        ("a.png", photo(5, 6)[None], r"one picture \[H, W, C\] is needed"),
        ("a.png", photo(5, 6, 5), "1, 3 or 4 channels"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, image, message):
    with pytest.raises(ValueError, match=message):
        save_image(tmp_path / name, image)
    assert not list(tmp_path.iterdir())


def test_jpg_is_near(tmp_path):
    path = save_image(tmp_path / "a.jpg", photo(40, 52))
    assert np.abs(load_image(path) - photo(40, 52)).mean() < 0.03
    assert load_image(path, 20).shape == (20, 20, 3) and load_image(path, (10, 13)).shape == (10, 13, 3)
