"""Contact sheets: every picture is there, pixel for pixel, under its name."""

import numpy as np
import pytest

from jaxlens.data import load_image, save_image, to_uint8
from jaxlens.plot import contact_sheet

RNG = np.random.default_rng(0)


def find(sheet, tile):
    """Places where a picture appears in a sheet."""
    h, w = tile.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (h, w, 3))[:, :, 0]
    return np.argwhere((windows == tile).all((2, 3, 4)))


def test_pictures_appear_in_order():
    images = RNG.uniform(size=(5, 20, 26, 3)).astype(np.float32)
    sheet = np.asarray(contact_sheet(images, [f"layer:{i}" for i in range(5)], columns=3, title="five"))
    places = [find(sheet, to_uint8(image)) for image in images]
    assert all(len(place) == 1 for place in places)
    rows, columns = np.concatenate(places).T
    assert rows[0] == rows[1] == rows[2] < rows[3] == rows[4]
    assert columns[0] == columns[3] < columns[1] == columns[4] < columns[2]


def test_images_of_a_task_stand_side_by_side():
    images = RNG.uniform(size=(2, 3, 20, 26, 3)).astype(np.float32)
    sheet = np.asarray(contact_sheet(images, ["a", "b"]))
    assert len(find(sheet, to_uint8(np.concatenate(list(images[1]), axis=1)))) == 1


def test_alpha_lies_on_white_and_one_channel_is_grey():
    rgb = RNG.uniform(size=(1, 20, 26, 3)).astype(np.float32)
    half = np.concatenate([rgb, np.full((1, 20, 26, 1), 0.5, np.float32)], -1)
    assert len(find(np.asarray(contact_sheet(half)), to_uint8(0.5 * rgb[0] + 0.5))) == 1
    opaque = np.concatenate([rgb, np.ones((1, 20, 26, 1), np.float32)], -1)
    np.testing.assert_array_equal(np.asarray(contact_sheet(opaque)), np.asarray(contact_sheet(rgb)))
    clear = np.concatenate([rgb, np.zeros((1, 20, 26, 1), np.float32)], -1)
    assert (np.asarray(contact_sheet(clear)) == 255).all()
    grey = np.asarray(contact_sheet(rgb[..., :1]))
    assert len(find(grey, to_uint8(np.repeat(rgb[0, ..., :1], 3, -1)))) == 1


def test_long_names_and_titles_fit():
    images = np.zeros((1, 40, 60, 3), np.float32)
    sheet = contact_sheet(
        images, ["a_layer_with_a_very_long_name_indeed:123"], title="a title that is wider than the one picture"
    )
    right = np.asarray(sheet)[:, -4:]
    assert (right == 255).all()


def test_bad_arguments():
    with pytest.raises(ValueError, match="names has 1 entries for 2 images"):
        contact_sheet(np.zeros((2, 8, 9, 3), np.float32), ["one"])
    with pytest.raises(ValueError, match=r"shape \(8, 9, 3\)"):
        contact_sheet(np.zeros((8, 9, 3), np.float32))
    with pytest.raises(ValueError, match=r"shape \(0, 8, 9, 3\), but .* with N >= 1"):
        contact_sheet(np.zeros((0, 8, 9, 3), np.float32))
    with pytest.raises(TypeError, match="dtype uint8"):
        contact_sheet(np.zeros((1, 8, 9, 4), np.uint8))


def test_files_round_trip(tmp_path):
    image = RNG.uniform(size=(13, 17, 3)).astype(np.float32)
    path = save_image(tmp_path / "deep" / "one.png", image)
    assert np.abs(load_image(path) - image).max() <= 0.5 / 255 + 1e-6
    assert load_image(path, size=8).shape == (8, 8, 3)
    assert load_image(path, size=(6, 9)).shape == (6, 9, 3)
    with pytest.raises(TypeError, match="dtype uint8"):
        save_image(path, (image * 255).astype(np.uint8))
    with pytest.raises(ValueError, match=r"shape \(3, 13, 17\)"):
        save_image(path, np.moveaxis(image, -1, 0))
