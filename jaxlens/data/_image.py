"""Image files, through Pillow."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from jaxlens._files import atomic


def load_image(path: str | Path, size: int | tuple[int, int] | None = None) -> np.ndarray:
    """An image file as float32 `[H, W, 3]` in [0, 1].

    Args:
        path: any format Pillow reads; turned upright by its EXIF tag, transparency dropped.
        size: (height, width) to resize to; an int makes the shorter side that long and crops the centre square.
    """
    with Image.open(path) as file:
        picture = ImageOps.exif_transpose(file).convert("RGB")
    if isinstance(size, int):
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
    elif size is not None:
        picture = picture.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(picture, np.float32) / 255


def save_image(path: str | Path, image: np.ndarray) -> Path:
    """Writes a picture to a file, in the format its ending names. The file is whole or not there.

    Args:
        path: any ending Pillow knows; its folder is made if it is not there.
        image: floats in [0, 1], `[H, W, C]` with 3 colours, 1 for grey, or 4 with opacity, which .png, .webp and .tiff keep.

    Returns: the path.

    Raises:
        ValueError: for another shape or an unknown ending, or opacity in a file that cannot keep it.
        TypeError: for an image that is not of floats.
    """
    path, pixels = Path(path), to_uint8(image)
    if pixels.ndim != 3:
        raise ValueError(f"image has shape {pixels.shape}, but one picture [H, W, C] is needed.")
    kind = picture_format(path, pixels.shape[-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as part:
        Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(part, format=kind)
    return path


def picture_format(path: Path, channels: int = 3) -> str:
    """Pillow's name of the format that a path's ending names, or an error if it cannot hold such a picture."""
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise ValueError(f"path={str(path)!r} ends in {path.suffix!r}, which Pillow does not write; .png and .jpg are common.")
    if channels == 4 and kind == "JPEG":
        raise ValueError(f"path={str(path)!r} cannot keep the opacity of image, which has 4 channels: use .png or .webp.")
    return kind


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] as 0..255, rounded to nearest; values outside are clipped."""
    array = np.asarray(image)
    if array.ndim < 3 or array.shape[-1] not in (1, 3, 4):
        raise ValueError(f"image has shape {array.shape}, but [..., H, W, C] with 1, 3 or 4 channels is needed.")
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"image has dtype {array.dtype}, but floats in [0, 1] are needed.")
    return np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)


def show_image(image: np.ndarray) -> None:
    """Shows floats `[H, W, 3]`: inline in a notebook, else in the system's viewer where there is one."""
    picture = Image.fromarray(to_uint8(image))
    if "ipykernel" in sys.modules:
        from IPython.display import display

        display(picture)
    else:
        picture.show()
