"""Attribution maps as pictures: heat maps alone, blended with the image or masking it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxlens._checks import as_array, check_flag, check_images, check_int, check_text, shortened
from jaxlens._types import Images
from jaxlens.attribution._maps import check_channels_last, resize
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import MapsLike, ValuesLike
from jaxlens.data import to_uint8
from jaxlens.plot._grid import check_names, grid
from jaxlens.plot._panel import Look, check_range, lines, zoomed
from jaxlens.plot._types import Colormap

MAX_ZOOM = 64
WIDTH = 160  # the least width of a table's panels: names need room


def attribution_map(
    values: ValuesLike,
    image: Images,
    *,
    view: str = "heat_map",
    sign: str = "all",
    outliers: float = 2.0,
    scale: float | None = None,
    cmap: Colormap = None,
    alpha: float = 0.5,
    colorbar: bool = False,
    title: str = "",
    zoom: int = 1,
) -> Image.Image:
    """Draw an attribution as a picture of the size of its image.

    The channels are summed, the map is resized to the image (bilinear), and `sign` is applied. The
    picture shows `v = clip(map / top, -1, 1)`. Here top is the smallest magnitude such that all
    magnitudes up to it make `100 - outliers` percent of the sum of all.

    Args:
        values: an Attribution of one image, or floats `[h, w]`, `[h, w, C]` or `[B, h, w, C]`.
        image: floats in [0, 1], `[H, W, C]` or `[B, H, W, C]` with 1 or 3 channels. The B panels
            stand side by side.
        view: "heat_map": colors alone. "blended": colors over the gray image. "masked": the image
            times v. "alpha": the image on white with opacity v. "original": the image alone.
        sign: "all" shows both signs, with 0 in the middle of the colors. "positive" and "negative"
            show the magnitudes of the values of that sign, "absolute" those of all values. "masked"
            and "alpha" need one of these three.
        outliers: percent of the sum of magnitudes, in [0, 100). The largest magnitudes, which hold
            that much, all get the full color.
        scale: the value that gets the full color, instead of top. Give several maps the same scale
            to compare their magnitudes.
        cmap: other colors: the name of a matplotlib colormap, or a function from floats in [0, 1]
            to `[..., 3]`, such as a colormap itself. With sign "all", 0.5 is the color of 0. By
            default blue, white, red for "all", and white to dark for the others.
        alpha: the weight of the colors in a "blended" view.
        colorbar: draw a bar of the colors with their lowest and highest values below, in views that
            have colors.
        title: a line at the top.
        zoom: draw each pixel of the image as a square of `zoom` x `zoom` pixels.

    Returns: a Pillow image. A map of zeros is a blank panel with the note "all zero". A map without
        values of the chosen sign has the note "none positive" or "none negative".

    Raises:
        ValueError: for NaN, shapes that do not fit, and choices that are not legal.

    Differs from captum's `visualize_image_attr`, which fails for a map of zeros and does not
    resize.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo, plot
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (1, 24, 32, 3))
        >>> found = attribution.saliency(model, images)
        >>> plot.attribution_map(found, images[0], view="blended", sign="absolute", zoom=4).size
        (128, 96)
    """
    look = Look(view=view, sign=sign, outliers=outliers, cmap=cmap, alpha=alpha, colorbar=colorbar)
    zoom, scale = _check_zoom(zoom), _check_scale(scale)
    images = _images(image, "image", batched=np.ndim(image) != 3)  # type: ignore[arg-type]
    maps = _maps(values, "values", images)
    panels = [look.panel(v, x, scale or look.top(v), zoom) for v, x in zip(maps, images, strict=True)]
    panel = np.concatenate(_aligned(panels), axis=1)
    return grid([[panel]], [None], [], title) if check_text(title, "title") else Image.fromarray(panel)


def attributions(
    maps: MapsLike,
    images: Images,
    names: Sequence[str] | None = None,
    *,
    view: str = "heat_map",
    sign: str | Mapping[str, str] = "all",
    outliers: float = 2.0,
    shared_scale: bool = False,
    scale: float | None = None,
    cmap: Colormap = None,
    alpha: float = 0.5,
    colorbar: bool = False,
    notes: Mapping[str, Sequence[str]] | None = None,
    original: bool = True,
    title: str = "",
    zoom: int | None = None,
) -> Image.Image:
    """Draw a table of attributions: a row for each image and a column for each method.

    Args:
        maps: `{name: values}`, values as in `attribution_map`, for B images; or a list of
            Attributions, which are named by their methods.
        images: floats in [0, 1], `[B, H, W, C]` with 1 or 3 channels.
        names: B names at the left.
        shared_scale: use one scale for all panels: equal values have equal colors, and a method or
            an image with weak values looks weak. By default each panel has a scale of its own, and
            only places can be compared. For one scale per method, make one table per method.
        notes: for each name of `maps`, B texts to write below its panels, such as scores. A text
            may have several lines.
        original: show the images in the first column.
        title: a line at the top.
        zoom: see `attribution_map`. By default panels become 160 pixels wide or more.
        sign: see `attribution_map`; or `{name: sign}` for the maps of some methods ("all" for the
            others).
        view, outliers, scale, cmap, alpha, colorbar: see `attribution_map`.

    Returns: a Pillow image.

    Raises:
        ValueError: as `attribution_map`; also if there are no maps, or if the number of maps, names
            or notes is not that of the images.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo, plot
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> methods = [attribution.saliency, attribution.input_x_gradient]
        >>> maps = [method(model, images) for method in methods]
        >>> plot.attributions(maps, images, ["dog", "cat"], colorbar=True).save("attributions.png")
    """
    scale, images = _check_scale(scale), _images(images, "images")
    shared_scale, original = check_flag(shared_scale, "shared_scale"), check_flag(original, "original")
    if shared_scale and scale is not None:
        raise ValueError(f"scale={scale} is shared by all panels: leave out shared_scale=True.")
    named = {str(name): each for name, each in maps.items()} if isinstance(maps, Mapping) else _named(maps)
    if not named:
        raise ValueError("maps is empty: give at least one, such as {'saliency': values}.")
    names = check_names(names, "names", len(images), "images")
    columns = {name: _maps(values, f"maps[{name!r}]", images) for name, values in named.items()}
    signs = dict.fromkeys(columns, "all") | dict(sign) if isinstance(sign, Mapping) else dict.fromkeys(columns, sign)
    if unknown := [name for name in signs if name not in columns]:
        raise ValueError(f"sign[{unknown[0]!r}] is for none of the maps, which are {', '.join(map(repr, columns))}.")
    looks = {
        name: Look(view=view, sign=each, outliers=outliers, cmap=cmap, alpha=alpha, colorbar=colorbar)
        for name, each in signs.items()
    }
    below = _notes(notes, columns, len(images))
    if shared_scale:
        scale = max(looks[name].top(v) for name, column in columns.items() for v in column) or None
    zoom = math.ceil(WIDTH / images.shape[2]) if zoom is None else _check_zoom(zoom)
    rows = []
    for i, image in enumerate(images):
        row = [zoomed(to_uint8(image), zoom)] if original else []
        for name, column in columns.items():
            look = looks[name]
            panel = look.panel(column[i], image, scale or look.top(column[i]), zoom)
            row.append(np.concatenate([panel, *lines(below[name][i], panel.shape[1])]))
        rows.append(row)
    above = ["image"] * original + list(columns)
    return grid(rows, [above, *[None] * (len(rows) - 1)], names or [], title)


def _images(images: Any, name: str, batched: bool = True) -> np.ndarray:
    """Return checked images as float64 `[B, H, W, 3]`."""
    array = np.asarray(check_images(images, name=name, channels=None, batched=batched), np.float64)
    array = array if batched else array[None]
    if array.shape[-1] not in (1, 3) or 0 in array.shape:
        some = f"Show three of its channels, {name}[..., :3], or their mean, {name}.mean(-1, keepdims=True)"
        hint = f"It looks channels-first: use np.moveaxis({name}, -3, -1)" if array.shape[1] in (1, 3) else some
        raise ValueError(f"{name} has shape {array.shape}, but [B, H, W, C] with C of 1 or 3 is needed. {hint}.")
    return np.broadcast_to(array, (*array.shape[:-1], 3))


def _maps(values: Any, name: str, images: np.ndarray) -> np.ndarray:
    """Return one map per image, of the image's size: float64 `[B, H, W]`."""
    raw = values.values if isinstance(values, Attribution) else values
    array = np.asarray(as_array(raw, name, "an Attribution, or maps [B, h, w, C]"))
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"{name} has dtype {array.dtype}, but floats are needed.")
    if not isinstance(values, Attribution):
        array = array[..., None] if array.ndim == 2 else array
        array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or 0 in array.shape:
        where = f" It belongs to layer {values.layer!r}, which has no map." if isinstance(values, Attribution) else ""
        raise ValueError(f"{name} has shape {np.shape(raw)}, but maps [B, h, w, C] are needed.{where}")
    if not isinstance(values, Attribution) and np.ndim(raw) == 3 and np.shape(raw) == images.shape[:3]:
        raise ValueError(
            f"{name} has shape {np.shape(raw)}, but maps [B, h, w, C] of {len(images)} image(s) are needed: "
            f"use {name}[..., None]."
        )
    if not isinstance(values, Attribution):
        check_channels_last(array, images.shape[1:3], name)
    if len(array) != len(images):
        raise ValueError(f"{name} has maps of {len(array)} image(s), but there are {len(images)}.")
    array = array.astype(np.float64)
    if bad := [i for i, each in enumerate(array) if not np.isfinite(each).all()]:
        raise ValueError(f"{name} has values that are NaN or infinite, in image(s) {', '.join(map(str, bad))}.")
    array = array.sum(-1, keepdims=True)
    if array.shape[1:3] == images.shape[1:3]:
        return array[..., 0]
    largest = np.abs(array).max(axis=(1, 2, 3), keepdims=True)  # `resize` computes in float32
    unit = np.where(largest > 0, largest, 1)
    small = jnp.asarray(array / unit, jnp.float32)
    return (np.asarray(resize(small, images.shape[1:3]), np.float64) * unit)[..., 0]


def _named(maps: Any) -> dict[str, Attribution]:
    """Name each attribution by its method; where a method occurs twice, by its layer too."""
    if not isinstance(maps, Sequence) or isinstance(maps, str):
        raise TypeError(f"maps={shortened(maps)} must be {{name: values}}, or a list of Attributions.")
    for i, each in enumerate(maps):
        if not isinstance(each, Attribution):
            raise TypeError(f"maps[{i}] is of type {type(each).__name__}, which has no name: give {{name: values}}.")
    methods = [each.method for each in maps]
    names = [each.method if methods.count(each.method) == 1 else f"{each.method} {each.layer}" for each in maps]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"maps holds {min(twice)!r} more than once: give {{name: values}}.")
    return dict(zip(names, maps, strict=True))


def _notes(notes: Mapping[str, Sequence[str]] | None, columns: Mapping[str, Any], count: int) -> dict[str, Sequence[str]]:
    if notes is not None and not isinstance(notes, Mapping):
        raise TypeError(f"notes={shortened(notes)} must be {{name: texts}}, with a text for each image.")
    below = dict.fromkeys(columns, [""] * count) | dict(notes or {})
    for name, texts in below.items():
        if name not in columns:
            raise ValueError(f"notes[{name!r}] is for none of the maps, which are {', '.join(map(repr, columns))}.")
        if len(texts) != count:
            raise ValueError(f"notes[{name!r}] has {len(texts)} entries for {count} images.")
    return below


def _check_scale(scale: float | None) -> float | None:
    return None if scale is None else check_range(scale, "scale", lambda x: x > 0, "a number > 0, the value of full color")


def _check_zoom(zoom: Any) -> int:
    if check_int(zoom, "zoom", low=1) > MAX_ZOOM:
        raise ValueError(f"zoom={zoom} must be at most {MAX_ZOOM} pixels for one.")
    return zoom


def _aligned(panels: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pad all panels to the height of the highest: a blank panel has no color bar."""
    high = max(len(panel) for panel in panels)
    return [np.pad(panel, ((0, high - len(panel)), (0, 0), (0, 0)), constant_values=255) for panel in panels]
