"""Image files, through Pillow."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

from jaxlens._checks import check_images, check_int, check_path, one_line
from jaxlens._files import atomic
from jaxlens._types import Images, Size
from jaxlens.data._decode import open_picture, pixels

_SIDE = 1 << 16  # pixels; formats allow no longer sides
# Pillow's names of the formats that keep an opacity of 256 levels.
_OPACITY = ("PNG", "WEBP", "TIFF", "AVIF", "JPEG2000", "TGA", "SGI", "ICO", "IM", "DDS", "QOI")


def load_image(path: str | Path, size: Size | None = None) -> np.ndarray:
    """Read an image file as float32 `[H, W, 3]` in [0, 1].

    Black is 0 and white is 1, whatever the file's bits: gray of 16 bits is divided by 65535 and not
    rounded to 8. The values of a file of floats are taken as they are, if all are in [0, 1]. Gray
    becomes three equal colors. Transparency is ignored: the stored colors are taken, whatever the
    opacity, as torchvision does.

    Args:
        path: PNG, JPEG, WebP, AVIF, JPEG 2000, TIFF, GIF (its first frame), BMP or PPM. The
            contents tell the format, not the ending. The picture is turned upright by its EXIF tag.
            It may have at most `PIL.Image.MAX_IMAGE_PIXELS` pixels, 89 million by default.
        size: (height, width) to resize to. An integer makes the shorter side that long and crops
            the center square.

    Raises:
        OSError: of the fitting kind, if there is no such file or it may not be read.
        ImageFileError: (an OSError and ValueError) if the file is damaged, cut short, too large, or
            of another format; or if it holds 32-bit integers or floats beyond [0, 1], where nothing
            says which value is white.
        TypeError, ValueError: for a size that is not legal.

    Example:
        >>> import numpy as np
        >>> from jaxlens import data
        >>> path = data.save_image("photo.png", np.full((24, 32, 3), 0.5))
        >>> data.load_image(path).shape, data.load_image(path, 16).shape
        ((24, 32, 3), (16, 16, 3))
    """
    sides = None if size is None else _sides(size)
    picture = open_picture(path)
    if sides is not None and isinstance(size, int | np.integer):
        picture = ImageOps.fit(picture, sides, Image.Resampling.BICUBIC)
    elif sides is not None:
        picture = picture.resize((sides[1], sides[0]), Image.Resampling.BICUBIC)
    return pixels(picture)


def save_image(path: str | Path, image: Images, metadata: Mapping[str, str] | None = None) -> Path:
    """Write a picture to a file, in the format that the path's ending names.

    The file appears whole or not at all.

    Args:
        path: any ending that Pillow writes. A missing folder is made.
        image: floats in [0, 1], `[H, W, C]` with 3 colors, 1 for gray, or 4 with opacity, which
            .png, .webp and .tiff keep.
        metadata: texts by name to keep in the file; only .png files take them.

    Returns: the path.

    Raises:
        ValueError: for another shape, values beyond [0, 1], an unknown ending, or opacity or texts
            in a file that keeps none.
        TypeError: for an image that is not of floats.
        OSError: of the fitting kind, if the file cannot be written.

    Example:
        >>> import numpy as np
        >>> from jaxlens import data
        >>> gray = np.linspace(0, 1, 24 * 32).reshape(24, 32, 1)
        >>> data.save_image("pictures/ramp.png", gray, {"layer": "mixed4a"}).as_posix()
        'pictures/ramp.png'
    """
    path, array = check_path(path, "path"), _floats(image)
    if array.ndim != 3:
        raise ValueError(f"image has shape {array.shape}, but one picture [H, W, C] is needed.")
    written = to_uint8(array)
    check_images(array, name="image", channels=None, batched=False)
    kind = picture_format(path, array.shape[-1])
    options: dict[str, Any] = {} if metadata is None else {"pnginfo": _texts(path, kind, metadata)}
    with atomic(path) as part:
        try:
            Image.fromarray(written.squeeze(-1) if written.shape[-1] == 1 else written).save(part, format=kind, **options)
        except Exception as error:
            if isinstance(error, OSError) and error.errno:
                raise type(error)(f"{path} cannot be written: {error.strerror}.") from error
            shape = " x ".join(map(str, array.shape))
            raise ValueError(f"path={str(path)!r}: {kind} cannot hold a picture of {shape} ({one_line(error)}).") from error
    return path


def picture_format(path: Path, channels: int = 3) -> str:
    """Return Pillow's name of the format that a path's ending names.

    An error says so if the format cannot hold such a picture.
    """
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise ValueError(f"path={str(path)!r} ends in {path.suffix!r}, which Pillow does not write; .png and .jpg are common.")
    if channels == 4 and kind not in _OPACITY:
        raise ValueError(f"path={str(path)!r} cannot keep the opacity of image, which has 4 channels: use .png or .webp.")
    return kind


def to_uint8(image: Images) -> np.ndarray:
    """Return floats in [0, 1], `[..., H, W, C]`, as integers 0..255, rounded to the nearest.

    Finite values outside [0, 1] are clipped.

    Example:
        >>> import numpy as np
        >>> from jaxlens import data
        >>> data.to_uint8(np.array([[[0.0, 0.2, 1.3]]])).tolist()
        [[[0, 51, 255]]]
    """
    array = _floats(image)
    if array.ndim < 3 or array.shape[-1] not in (1, 3, 4) or 0 in array.shape[-3:]:
        raise ValueError(f"image has shape {array.shape}, but [..., H, W, C] with 1, 3 or 4 channels is needed.")
    if not np.isfinite(array).all():
        raise ValueError("image holds NaN or infinite values, but floats in [0, 1] are needed.")
    return np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)


def show_image(image: Images) -> None:
    """Show floats `[H, W, C]` in [0, 1]: inline in a notebook, else in the system's viewer.

    Where there is no viewer, nothing is shown.

    Example:
        >>> import numpy as np
        >>> from jaxlens import data
        >>> image = np.full((24, 32, 3), 0.5)
        >>> data.show_image(image)  # doctest: +SKIP
    """
    array = _floats(image)
    if array.ndim != 3:
        raise ValueError(f"image has shape {array.shape}, but one picture [H, W, C] is needed.")
    written = to_uint8(array)
    picture = Image.fromarray(written.squeeze(-1) if written.shape[-1] == 1 else written)
    if "ipykernel" in sys.modules:
        from IPython.display import display

        display(picture)
    else:
        picture.show()


def _floats(image: Any) -> np.ndarray:
    """Return an array of floats; half precision is widened: its steps may exceed 1/255."""
    try:
        array = np.asarray(image)
    except Exception as error:  # ragged lists, objects, what is traced
        raise TypeError(f"image must be an array of floats in [0, 1], but got {type(image).__name__}.") from error
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"image has dtype {array.dtype}, but floats in [0, 1] are needed.")
    return array.astype(np.float32) if array.dtype.itemsize < 4 else array


def _sides(size: Any) -> tuple[int, int]:
    """Return height and width."""
    pair = size if isinstance(size, tuple | list) or np.ndim(size) == 1 else (size, size)
    if len(pair) != 2:
        raise ValueError(f"size={size!r} must be an integer or (height, width).")
    height, width = check_int(pair[0], "size", low=1, high=_SIDE), check_int(pair[1], "size", low=1, high=_SIDE)
    if Image.MAX_IMAGE_PIXELS is not None and height * width > Image.MAX_IMAGE_PIXELS:
        raise ValueError(f"size={size!r} asks for {height * width} pixels, more than {Image.MAX_IMAGE_PIXELS}.")
    return height, width


def _texts(path: Path, kind: str, metadata: Mapping[str, str]) -> PngImagePlugin.PngInfo:
    if kind != "PNG":
        raise ValueError(f"path={str(path)!r} cannot keep metadata: use .png.")
    if not (isinstance(metadata, Mapping) and all(isinstance(text, str) for pair in metadata.items() for text in pair)):
        raise TypeError(f"metadata={one_line(repr(metadata))} must be texts by name.")
    info = PngImagePlugin.PngInfo()
    for name, text in metadata.items():
        info.add_itxt(name, text)
    return info
