"""Decode image files: the one place that opens untrusted ones."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from jaxlens._checks import check_path, one_line
from jaxlens.errors import ImageFileError

# Pillow reads more. Some of those need other programs (EPS: Ghostscript) or are no pictures.
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "HEIF", "JPEG2000", "TIFF", "GIF", "BMP", "PPM")

# TIFF's tags: bits of a sample, whether 0 is white, and the samples' format: unsigned (1),
# signed (2) or floats (3).
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _WHITE_IS_ZERO, _SIGNED = 258, 262, 339, 0, 2


def open_picture(path: str | Path) -> Image.Image:
    """Return the first picture of a file, upright.

    Its mode is "RGB"; or "F", with values in [0, 1], if the file has more than 8 bits.

    Args:
        path: a file in one of `FORMATS`, of at most `PIL.Image.MAX_IMAGE_PIXELS` pixels (89 million
            unless it is set).

    Raises:
        OSError: of the fitting kind, if there is no such file or it may not be read.
        ImageFileError: if it is damaged, cut short, too large, of another format, or of numbers
            whose range is unknown.
    """
    path = check_path(path, "path")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, but an image file is needed.")
    if path.exists() and not path.is_file():  # reading a pipe might wait for ever
        raise ImageFileError(f"{path} is a device or pipe, but an image file is needed.")
    try:
        with path.open("rb") as handle, Image.open(handle, formats=readable()) as file:
            check_pixels(file.height, file.width, f"{path} has")
            ImageOps.exif_transpose(file, in_place=True)
            return _deep(path, file) if file.mode[0] in "IF" else _plain(path, file)
    except (FileNotFoundError, PermissionError) as error:
        raise type(error)(f"{path} cannot be read: {error.strerror}.") from error
    except (ImageFileError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = one_line(error).partition(", could be")[0]
        raise ImageFileError(f"{path} is too large ({reason}). Shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS.") from error
    except Image.UnidentifiedImageError as error:
        raise ImageFileError(f"{path} is not a readable image. Legal are {', '.join(readable())}.") from error
    except Exception as error:  # a decoder of an untrusted file may fail in any way
        raise ImageFileError(f"{path} is not a readable image: it is damaged or cut short ({one_line(error)}).") from error


def check_pixels(height: int, width: int, what: str) -> None:
    """Raise for pictures that would not fit into memory."""
    if Image.MAX_IMAGE_PIXELS is not None and height * width > Image.MAX_IMAGE_PIXELS:
        raise ImageFileError(
            f"{what} {height} x {width} pixels, more than the {Image.MAX_IMAGE_PIXELS} that are read. Shrink it, or raise "
            "PIL.Image.MAX_IMAGE_PIXELS."
        )


def readable() -> tuple[str, ...]:
    """Return those of `FORMATS` that the installed Pillow knows."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def pixels(picture: Image.Image) -> np.ndarray:
    """Return a picture of `open_picture` as float32 `[H, W, 3]` in [0, 1].

    It may have been cropped or resized.
    """
    array = np.array(picture, np.float32)
    if picture.mode == "F":
        return np.repeat(array.clip(0, 1)[..., None], 3, axis=-1)  # bicubic filters overshoot
    array /= 255
    return array


def _plain(path: Path, file: Image.Image) -> Image.Image:
    """Return a picture of 8 bits or fewer as RGB, with the stored colors whatever their opacity."""
    if _SIGNED in _tag(file, _SAMPLE_FORMAT):
        raise _unknown_range(path, "signed numbers")
    if file.mode == "P" and "transparency" in file.info:
        file = file.convert("RGBA")
    try:
        return file.convert("RGB")
    except ValueError as error:
        raise ImageFileError(f"{path} is in mode {file.mode}, which cannot be made RGB. Save it as RGB.") from error


def _deep(path: Path, file: Image.Image) -> Image.Image:
    """Return gray of 16 or 32 bits, or of floats, as floats in [0, 1]."""
    values = np.asarray(file).astype(np.float32)
    if file.mode.startswith("I;16"):
        values /= 2.0 ** next(iter(_tag(file, _BITS)), 16) - 1
    elif file.mode == "I" and file.format in ("PNG", "PPM"):  # of these Pillow reads 16 bits into 32
        values /= 65535
    elif file.mode == "I":
        raise _unknown_range(path, "32-bit integers")
    elif not (values.min() >= 0 and values.max() <= 1):
        raise _unknown_range(path, f"floats in [{values.min():.4g}, {values.max():.4g}]")
    return Image.fromarray(1 - values if _WHITE_IS_ZERO in _tag(file, _PHOTOMETRIC) else values)


def _tag(file: Any, number: int) -> tuple[int, ...]:
    """Return a TIFF file's tag; nothing for other files."""
    value = file.tag_v2.get(number, ()) if file.format == "TIFF" else ()
    return value if isinstance(value, tuple) else (value,)


def _unknown_range(path: Path, kind: str) -> ImageFileError:
    return ImageFileError(
        f"{path} holds {kind}, and which of them is white is not known. Read it with PIL or tifffile, bring its values to "
        "[0, 1] and pass the array, or save it with 8 or 16 bits."
    )
