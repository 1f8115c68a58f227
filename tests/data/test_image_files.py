"""Image files that people bring: of any depth, upright, damaged, huge, and of other kinds."""

import os
import struct
import subprocess
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from jaxlens.data import load_folder, load_image, save_image, to_uint8
from jaxlens.errors import DatasetError, ImageFileError
from tests.helpers import open_to_all

RAMP = np.arange(48, dtype=np.float64).reshape(6, 8) / 47  # what every grey file below shows
DEEP = np.rint(RAMP * 65535).astype(np.uint16)


def tiff(values, *, bits, white_is_zero=False, kind=1):
    """A grey TIFF file by hand: one strip, little-endian."""
    tags = [(256, 3, 8), (257, 3, 6), (258, 3, bits), (259, 3, 1), (262, 3, 0 if white_is_zero else 1), (273, 4, 8)]
    tags += [(277, 3, 1), (278, 3, 6), (279, 4, len(values)), (339, 3, kind)]
    entries = b"".join(struct.pack("<HHII", tag, form, 1, value) for tag, form, value in tags)
    where = 8 + len(values) + len(values) % 2
    head = b"II*\0" + struct.pack("<I", where) + values.ljust(where - 8, b"\0")
    return head + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)


def twelve_bits():
    values = np.rint(RAMP * 4095).astype(int).reshape(-1, 2)
    return b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in values)


def pfm(values):
    return b"Pf\n8 6\n-1.0\n" + values[::-1].astype("<f4").tobytes()


GREY = {
    "L.png": lambda path: Image.fromarray(np.rint(RAMP * 255).astype(np.uint8)).save(path),
    "16 bits.png": lambda path: Image.fromarray(DEEP).save(path),
    "16 bits.tiff": lambda path: Image.fromarray(DEEP).save(path),
    "16 bits, big-endian.tiff": lambda path: Image.frombytes("I;16B", (8, 6), DEEP.astype(">u2").tobytes()).save(path),
    "16 bits.jp2": lambda path: Image.fromarray(DEEP).save(path),
    "16 bits.pgm": lambda path: path.write_bytes(b"P5 8 6 65535\n" + DEEP.astype(">u2").tobytes()),
    "12 bits.pgm": lambda path: path.write_bytes(b"P5 8 6 4095\n" + np.rint(RAMP * 4095).astype(">u2").tobytes()),
    "16 bits, white is 0.tiff": lambda path: path.write_bytes(tiff((65535 - DEEP).tobytes(), bits=16, white_is_zero=True)),
    "12 bits.tiff": lambda path: path.write_bytes(tiff(twelve_bits(), bits=12)),
    "8 bits, white is 0.tiff": lambda path: path.write_bytes(
        tiff(np.rint(255 - RAMP * 255).astype(np.uint8).tobytes(), bits=8, white_is_zero=True)
    ),
    "floats.tiff": lambda path: Image.fromarray(RAMP.astype(np.float32)).save(path),
    "floats.pfm": lambda path: path.write_bytes(pfm(RAMP)),
    "opacity.png": lambda path: Image.merge("LA", [gray(), Image.new("L", (8, 6), 100)]).save(path),
    "palette.gif": lambda path: gray().save(path),
    "CMYK.tiff": lambda path: gray().convert("CMYK").save(path),
    "YCbCr.tiff": lambda path: gray().convert("YCbCr").save(path, compression="tiff_lzw"),  # plain ones need Pillow 13
}


def gray():
    return Image.fromarray(np.rint(RAMP * 255).astype(np.uint8))


@pytest.mark.parametrize("name", GREY)
def test_grey_of_any_depth_spans_0_to_1(tmp_path, name):
    GREY[name](tmp_path / name)
    image = load_image(tmp_path / name)
    assert image.shape == (6, 8, 3) and image.dtype == np.float32
    step = 0.501 / 255 if not any(word in name for word in ("16", "float", "12")) else 0.502 / 4095 if "12" in name else 1e-5
    np.testing.assert_allclose(image, np.repeat(RAMP[..., None], 3, -1), atol=step + 1e-6 + 0.01 * name.startswith("YCbCr"))


def test_deep_files_are_not_rounded_to_8_bits_when_resized_and_do_not_overshoot(tmp_path):
    steps = np.repeat(np.array([[20000, 20100, 60000, 65535, 0, 65535]], np.uint16), 6, 0)
    Image.fromarray(steps).save(tmp_path / "a.png")
    np.testing.assert_allclose(load_image(tmp_path / "a.png", 6)[0, :2, 0], [20000 / 65535, 20100 / 65535], rtol=1e-6)
    image = load_image(tmp_path / "a.png", (12, 24))
    assert image.min() >= 0 and image.max() <= 1 and image.shape == (12, 24, 3)
    assert np.abs(image * 255 - np.rint(image * 255)).max() > 0.3


@pytest.mark.parametrize("mode", ["RGBA", "P with one", "P with levels", "RGB with a key", "1"])
def test_colours_are_those_stored_whatever_the_opacity(tmp_path, mode):
    colors = np.random.default_rng(0).integers(0, 2, (6, 8, 3)) * np.array([250, 200, 100])
    picture = Image.fromarray(colors.astype(np.uint8))
    options = {}
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)))
    elif mode.startswith("P"):
        picture = picture.quantize(8)
        options["transparency"] = bytes(range(0, 240, 30)) if "levels" in mode else 2
    elif mode.startswith("RGB"):
        options["transparency"] = (250, 200, 100)
    elif mode == "1":
        picture = Image.fromarray(colors[..., 0] > 0)
        colors = np.repeat(np.where(colors[..., :1] > 0, 255, 0), 3, -1)
    picture.save(tmp_path / "a.png", **options)
    np.testing.assert_allclose(load_image(tmp_path / "a.png"), colors / 255, atol=1e-6)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_every_orientation_is_turned_upright(tmp_path, orientation, deep, suffix):
    picture = Image.fromarray(DEEP) if deep else gray()
    exif = Image.Exif()
    exif[274] = orientation
    picture.save(tmp_path / f"a{suffix}", exif=exif)
    turns = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.T,
        6: lambda x: x.T[:, ::-1],
        7: lambda x: x[::-1, ::-1].T,
        8: lambda x: x.T[::-1],
    }
    np.testing.assert_allclose(load_image(tmp_path / f"a{suffix}")[..., 1], turns[orientation](RAMP), atol=0.0021)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("a.tiff", lambda p: Image.fromarray(DEEP.astype(np.int32)).save(p), "a.tiff holds 32-bit integers, and which of them"),
        ("b.tiff", lambda p: Image.fromarray((RAMP * 255).astype(np.float32)).save(p), r"b.tiff holds floats in \[0, 255\]"),
        (
            "c.tiff",
            lambda p: Image.fromarray((RAMP * np.nan).astype(np.float32)).save(p),
            r"c.tiff holds floats in \[nan, nan\]",
        ),
        ("d.tiff", lambda p: p.write_bytes(tiff(DEEP.tobytes(), bits=16, kind=2)), "d.tiff holds 32-bit integers"),
        (
            "e.tiff",
            lambda p: p.write_bytes(tiff(DEEP.tobytes()[:48], bits=8, kind=2)),
            "e.tiff holds signed numbers",
        ),
        ("f.pfm", lambda p: p.write_bytes(pfm(-RAMP)), r"f.pfm holds floats in \[-1, -0\]"),
    ],
)
def test_numbers_of_unknown_range_are_refused(tmp_path, name, make, message):
    make(tmp_path / name)
    with pytest.raises(ImageFileError, match=message):
        load_image(tmp_path / name)


def test_loaders_read_deep_files_as_load_image_does(tmp_path):
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((40, 40), 16384, np.uint16)).save(tmp_path / "a" / "a.png")
    for train in (False, True):
        ((images, _),) = load_folder(tmp_path, 32, 1, train=train, threads=0)
        np.testing.assert_allclose(images, 16384 / 65535, rtol=1e-5)
    Image.fromarray(np.full((40, 40), 7, np.int32)).save(tmp_path / "a" / "a.tiff")
    with pytest.raises(DatasetError, match=r"a.tiff holds 32-bit integers.* Remove or replace it"):
        list(load_folder(tmp_path, 32, threads=0))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".tiff", ".bmp", ".jp2"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.8])
def test_files_that_are_cut_short_are_named(tmp_path, suffix, share):
    path = tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(0).random((64, 64, 3), np.float32)
    whole = save_image(path, noise).read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ImageFileError, match=rf"cut\{suffix} is not a readable image"):
        load_image(path)


def test_other_formats_are_refused_whatever_the_ending_and_run_no_program(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was run"))
    with pytest.raises(ImageFileError, match=r"a.png is not a readable image. Legal are PNG, JPEG"):
        load_image(tmp_path / "a.png")


def bomb(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 60_000])
@pytest.mark.filterwarnings("default")
def test_picture_bombs_are_named_and_refused_at_the_documented_limit(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(bomb(side, side))
    with pytest.raises(ImageFileError, match=r"bomb.png (has|is too large).*MAX_IMAGE_PIXELS"):
        load_image(tmp_path / "bomb.png", 8)


def test_the_limit_of_pixels_is_pillows(tmp_path, monkeypatch):
    save_image(tmp_path / "a.png", np.zeros((10, 12, 3), np.float32))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 120)
    assert load_image(tmp_path / "a.png").shape == (10, 12, 3)
    with pytest.raises(ValueError, match=r"size=\(11, 12\) asks for 132 pixels, more than 120"):
        load_image(tmp_path / "a.png", (11, 12))


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path, error, message in (
        (tmp_path / "pipe.png", ImageFileError, "pipe.png is a device or pipe"),
        ("/dev/zero", ImageFileError, "/dev/zero is a device or pipe"),
        (tmp_path, IsADirectoryError, "is a folder, but an image file is needed"),
        (tmp_path / "no.png", FileNotFoundError, "no.png cannot be read: No such file"),
    ):
        with pytest.raises(error, match=message):
            load_image(path)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        (np.int64(5), (5, 5)),
        (np.uint8(5), (5, 5)),
        ((5, 9), (5, 9)),
        ([5, 9], (5, 9)),
        (np.array([5, 9]), (5, 9)),
        ((np.int32(5), 9), (5, 9)),
        (None, (20, 30)),
    ],
)
def test_sizes_and_home_folders(tmp_path, monkeypatch, size, shape):
    monkeypatch.setenv("HOME", str(tmp_path))
    image = np.random.default_rng(0).random((20, 30, 3), np.float32)
    assert save_image("~/a.png", image) == tmp_path / "a.png"
    loaded = load_image("~/a.png", size)
    assert loaded.shape == (*shape, 3)
    picture = Image.fromarray(np.rint(image * 255).astype(np.uint8))
    if size is not None and np.ndim(size) == 0:
        picture = ImageOps.fit(picture, (5, 5), Image.Resampling.BICUBIC)
    elif size is not None:
        picture = picture.resize((9, 5), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(loaded, np.asarray(picture) / 255, atol=1e-6)


@pytest.mark.parametrize(
    "size", [0, -1, True, 1.5, float("nan"), "5", (5,), (5, 6, 7), (0, 5), (5, True), 2**70, (60_000, 60_000), {}]
)
def test_sizes_that_are_none(tmp_path, size):
    save_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.float32))
    with pytest.raises((TypeError, ValueError), match="size="):
        load_image(tmp_path / "a.png", size)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 2), np.float32), "1, 3 or 4 channels"),
        (np.zeros((4, 4, 12), np.float32), "1, 3 or 4 channels"),
        (np.zeros((4, 0, 3), np.float32), r"image has shape \(4, 0, 3\)"),
        (np.zeros((4, 4), np.float32), r"one picture \[H, W, C\] is needed"),
        (np.full((4, 4, 3), 200, np.float32), r"image has values in \[200, 200\], but \[0, 1\] is needed. Divide by 255"),
        (np.full((4, 4, 3), -1.5, np.float32), "look normalized already"),
        (np.full((4, 4, 3), np.nan, np.float32), "image holds NaN or infinite values"),
        (np.full((4, 4, 3), np.inf, np.float32), "image holds NaN or infinite values"),
        (np.zeros((4, 4, 3), np.uint8), "image has dtype uint8, but floats"),
        (np.zeros((4, 4, 3), np.complex64), "image has dtype complex64"),
        ([[1.0], [2.0, 3.0]], "image must be an array of floats"),
        (None, "image has dtype object"),
    ],
)
def test_pictures_that_are_none_are_not_written(tmp_path, image, message):
    with pytest.raises((TypeError, ValueError), match=message):
        save_image(tmp_path / "a" / "a.png", image)
    assert not list(tmp_path.iterdir())


def test_to_uint8_of_numbers_that_are_none():
    with pytest.raises(ValueError, match=r"image has shape \(\)"):
        to_uint8(float("nan"))
    with pytest.raises(ValueError, match="image holds NaN"):
        to_uint8(np.full((1, 1, 1), np.nan))
    assert to_uint8(np.float16([[[0.3], [-2], [7]]])).ravel().tolist() == [round(float(np.float16(0.3)) * 255), 0, 255]


@pytest.mark.parametrize("name", ["a.gif", "a.bmp", "a.ppm", "a.jpeg"])
def test_opacity_that_would_be_lost_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="cannot keep the opacity"):
        save_image(tmp_path / name, np.full((4, 4, 4), 0.5, np.float32))


def test_texts_are_kept_and_what_a_format_cannot_hold_is_told_in_words(tmp_path):
    image = np.full((4, 4, 3), 0.5, np.float32)
    with Image.open(save_image(tmp_path / "a.png", image, {"jaxlens": "ünï → ☃"})) as file:
        assert file.text == {"jaxlens": "ünï → ☃"}
    with pytest.raises(ValueError, match=r"a.jpg' cannot keep metadata: use .png"):
        save_image(tmp_path / "a.jpg", image, {"jaxlens": "x"})
    with pytest.raises(ValueError, match=r"a.xbm': XBM cannot hold a picture of 4 x 4 x 3"):
        save_image(tmp_path / "a.xbm", image)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_files_that_may_not_be_read_are_told_in_words(tmp_path):
    path = save_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.float32))
    path.chmod(0)
    open_to_all(tmp_path)
    root = os.geteuid() == 0
    try:
        if root:
            os.chown(tmp_path, 65534, 65534)
            os.seteuid(65534)
        with pytest.raises(PermissionError, match=r"a.png cannot be read: Permission denied"):
            load_image(path)
        tmp_path.chmod(0o555)
        with pytest.raises(PermissionError, match=r"b.png cannot be written: Permission denied. Name a file in a folder"):
            save_image(tmp_path / "b.png", np.zeros((4, 4, 3), np.float32))
    finally:
        if root:
            os.seteuid(0)
