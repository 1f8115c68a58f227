"""Animations: moving pictures in one file."""

import contextlib
import itertools
import subprocess
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.typing import ArrayLike
from PIL import Image

from jaxlens._checks import check_flag, check_images, check_number, check_path, one_line
from jaxlens._files import atomic
from jaxlens._package import optional
from jaxlens._types import Images, Number
from jaxlens.data._image import to_uint8

# Of each format: Pillow's name, and in milliseconds the unit of time, the shortest time that
# viewers keep to, and the longest time that the format's field holds.
_PILLOW = {".gif": ("GIF", 10, 20, 655_350), ".webp": ("WEBP", 1, 1, 16_777_215), ".png": ("PNG", 1, 1, 65_535)}
_VIDEO = 0.001, 1000  # frames per second
_SUFFIXES = (*_PILLOW, ".mp4")

if TYPE_CHECKING:
    Frames = Images | Iterable[ArrayLike]
else:  # checked by hand
    Frames = Any


def save_animation(path: str | Path, frames: Frames, fps: Number = 20, loop: bool = True) -> Path:
    """Write pictures as an animation in the format that the path's ending names.

    The file appears whole or not at all.

    Args:
        path: ends in one of
            ".gif": 256 colors per frame, at most 50 frames per second, shown by everything.
            ".webp": small, with losses that are hard to see.
            ".png": an animated PNG, without losses.
            ".mp4": H.264, smallest, with half the resolution in color. It needs
                `pip install 'jaxlens-vision[video]'`. H.264 demands an even height and width: an
                odd one is made even by repeating the last row or column.
        frames: floats in [0, 1], `[N, H, W, 3]`, or an iterable of `[H, W, 3]`. ".mp4" holds one
            frame of an iterable in memory at a time.
        fps: frames per second. Times are rounded to what the format counts in (10 ms for GIF, 1 ms
            for WebP and PNG) such that their sum is right. Equal frames in a row may become one
            that stays longer.
        loop: begin again at the end, for ever. For ".mp4" the player decides.

    Returns: the path.

    Raises:
        ValueError: for another ending, no frames, frames of different sizes or out of range, and an
            `fps` that is not above 0 or too fast or too slow for the format.
        TypeError: for frames that are not floats.
        ImportError: for ".mp4" without its extra.
        OSError: if the file cannot be written.

    Example:
        >>> import numpy as np
        >>> from jaxlens import data
        >>> frames = np.linspace(np.zeros((24, 32, 3)), np.ones((24, 32, 3)), 5)  # black to white
        >>> data.save_animation("fade.gif", frames, fps=25).name
        'fade.gif'

        With `found = render(model, "mixed4a:3", thresholds=range(1, 129)).snapshots` the frames of
        an ascent are `[found[step][0, 0] for step in sorted(found)]`.
    """
    path = check_path(path, "path")
    suffix = animation_format(path, fps)
    if isinstance(frames, str | bytes | dict) or not isinstance(frames, Iterable | np.ndarray | jax.Array):
        raise TypeError(f"frames={one_line(repr(frames), 60)} must be an array [N, H, W, 3], or an iterable of [H, W, 3].")
    shape = getattr(frames, "shape", None)
    if shape is not None and len(shape) != 4:
        hint = " Add the first axis: frames[None]." if len(shape) == 3 else ""
        raise ValueError(f"frames has shape {tuple(shape)}, but [N, H, W, 3] is needed.{hint}")
    loop = check_flag(loop, "loop")
    with atomic(path) as part:
        if suffix == ".mp4":
            _write_mp4(part, _checked(frames), fps)
        else:
            _write_pillow(suffix, part, _checked(frames), fps, loop)
    return path


def animation_format(path: Path, fps: Any) -> str:
    """Return the path's ending, or raise if no animation of this speed can be written there."""
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ValueError(f"path={str(path)!r} ends in {suffix!r}, but must end in one of {', '.join(_SUFFIXES)}.")
    fps = check_number(fps, "fps")
    if not fps > 0:
        raise ValueError(f"fps={fps:g} must be a number of frames per second above 0.")
    shortest, longest = _PILLOW[suffix][2:] if suffix in _PILLOW else (1000 / side for side in _VIDEO[::-1])
    if fps > 1000 / shortest:
        raise ValueError(f"fps={fps:g} is too fast for {suffix}, which shows at most {1000 // shortest:g} frames per second.")
    if fps < 1000 / longest:
        raise ValueError(f"fps={fps:g} is too slow for {suffix}, which shows a frame for at most {longest / 1000:g} seconds.")
    if suffix == ".mp4":
        _ffmpeg()
    return suffix


def _checked(frames: Iterable[Any]) -> Iterator[np.ndarray]:
    """Yield each frame as uint8, or raise an error with its number."""
    shape = None
    for i, frame in enumerate(frames):
        pixels = np.asarray(check_images(frame, name=f"frames[{i}]", batched=False), np.float32)
        if shape is not None and pixels.shape != shape:
            raise ValueError(f"frames[{i}] has shape {pixels.shape}, but frames[0] has {shape}: all need the same size.")
        shape = pixels.shape
        yield to_uint8(pixels)
    if shape is None:
        raise ValueError("frames is empty: give at least one picture.")


def _write_pillow(suffix: str, path: Path, frames: Iterator[np.ndarray], fps: float, loop: bool) -> None:
    kind, unit, *_ = _PILLOW[suffix]
    first, *rest = [Image.fromarray(frame) for frame in frames]
    ends = np.rint(np.arange(len(rest) + 2) * (1000 / unit / fps)).astype(int) * unit
    options: dict[str, Any] = {"quality": 90} if suffix == ".webp" else {}
    if suffix != ".gif":
        options["loop"] = 0 if loop else 1
    elif loop:  # without the entry a GIF is shown once
        options["loop"] = 0
    first.save(path, format=kind, save_all=True, append_images=rest, duration=np.diff(ends).tolist(), **options)


def _write_mp4(path: Path, frames: Iterator[np.ndarray], fps: float) -> None:
    ffmpeg, first = _ffmpeg(), next(frames)
    pad = [(0, side % 2) for side in first.shape[:2]] + [(0, 0)]
    height, width = (side + side % 2 for side in first.shape[:2])
    rate = str(Fraction(float(fps)).limit_denominator(100_000))
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", rate, "-i", "-"]
    # Colors as in BT.709, and the file says so: otherwise players guess by its size.
    tags = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    colors = ["-vf", f"scale=out_color_matrix=bt709:out_range=tv,{tags}", "-pix_fmt", "yuv420p"]
    target = ["-c:v", "libx264", "-crf", "16", *colors, "-movflags", "+faststart", "-f", "mp4", f"file:{path}"]
    command = [ffmpeg, "-y", "-v", "error", *source, *target]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stderr
        for frame in itertools.chain([first], frames):
            data = np.pad(frame, pad, mode="edge").tobytes()
            try:
                process.stdin.write(data)
            except OSError:  # ffmpeg has ended: its error output says why
                break
        with contextlib.suppress(OSError):
            process.stdin.close()
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise OSError(f"ffmpeg could not write the video (exit status {process.returncode}): {said}")


def _ffmpeg() -> str:
    """Return the path of the program that comes with imageio-ffmpeg."""
    return optional("imageio_ffmpeg", "Writing .mp4 files needs imageio-ffmpeg", "video").get_ffmpeg_exe()
