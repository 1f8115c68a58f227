"""`render_layers`: a job over whole layers that may be stopped, killed, resumed and shared."""

import dataclasses
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from jaxlens import _jobs
from jaxlens._checks import check_flag, check_int, check_path
from jaxlens._jobs import Chunk, _manifest
from jaxlens.errors import NonFiniteError, NonFiniteWarning
from jaxlens.microscope._settings import settings_of
from jaxlens.microscope._tile import Tile, folder_name, picture, read_tile, tile_path, write_tile
from jaxlens.model import Model, check_model
from jaxlens.model._blocks import find_layers
from jaxlens.optvis import objectives
from jaxlens.optvis.render import RenderResult, default_batch_size, render
from jaxlens.optvis.render._arguments import device_list


@dataclasses.dataclass(frozen=True)
class RenderJob:
    """A folder of tiles, as `render_layers` left it.

    Attributes:
        folder: The folder. The tiles are `LAYER/CHANNEL.png` in it.
        layers: The channels of this job, by layer.
        rendered: The number of tiles that this call wrote.
        finished: Whether the folder has every tile of this call's part. False after Ctrl-C, or if
            the folder was removed meanwhile.
        seconds: The duration of this call.

    Example:
        >>> from jaxlens import Model, microscope, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> options = {"channels": [1, 3], "size": (24, 32), "steps": 2, "progress": False}
        >>> job = microscope.render_layers(model, ["conv1"], "tiles", **options)
        >>> job.finished, job.layers
        (True, {'conv1': [1, 3]})
        >>> [tile.channel for tile in job.tiles("conv1")]
        [1, 3]
    """

    folder: Path
    layers: dict[str, list[int]]
    rendered: int
    finished: bool
    seconds: float

    def tiles(self, layer: str) -> list[Tile]:
        """Return the finished tiles of a layer with their images, in the order of the channels."""
        if layer not in self.layers:
            raise ValueError(f"layer={layer!r} is not in this job, which has {', '.join(self.layers)}.")
        paths = [tile_path(self.folder, layer, channel) for channel in self.layers[layer]]
        return [read_tile(path) for path in paths if path.exists()]


def render_layers(
    model: Model,
    layers: Any,
    out: str | Path,
    *,
    channels: Any = None,
    size: Any = 128,
    steps: Any = 512,
    seed: Any = 0,
    param: Any = None,
    transforms: Any = None,
    fixed_image_size: Any = None,
    redirect_steps: Any = None,
    compute_dtype: Any = None,
    batch_size: Any = None,
    memory_limit: Any = None,
    devices: Sequence[Any] | None = None,
    progress: bool = True,
) -> RenderJob:
    """Render every channel of some layers into a folder, one PNG for each neuron.

    Each PNG is written as soon as it is finished. The folder is the memory of the job. After any
    interruption the same call goes on: finished tiles stay, and tiles that were in flight are
    rendered again, to the same pixels on the same machine. Any number of processes may run the same
    call on one folder, also on several machines that share it. Each process claims some neurons at
    a time with a file lock, which the system frees when the process dies. Under `jax.distributed`
    each process renders its own slice of the list, so that the machines need not share the folder.
    Later calls may add layers.

    `OUT/manifest.json` holds the settings: the numbers, and hashes of what is computed (the network
    with its options and its preprocessing, the weights, `param`). It is written with the first
    finished tiles. Each tile (see `Tile`) carries the hash of the settings. A call with other
    settings is refused.

    Args:
        model: Any Model.
        layers: Names of layers, or patterns such as "mixed4*". None stands for the whole network:
            `microscope.blocks` and "logits".
        out: The folder. It is made if it does not exist.
        channels: The channels to render in each layer, by default all. Numbers that a layer does
            not have are left out for that layer.
        size, steps, seed, param, transforms, fixed_image_size, redirect_steps, compute_dtype: As in
            `render`. Together with the weights they are the settings. `seed` is an int, and `param`
            is one parameterization for all neurons.
        batch_size: Number of neurons that are claimed and rendered together. The default is that of
            `render`. The folder keeps the number of the first call.
        memory_limit, devices: As in `render`.
        progress: Show a progress bar over all tiles, with the time left.

    Raises:
        UnknownLayerError, ValueError, TypeError: Before anything is compiled, for bad arguments and
            for other settings than those of the folder.
        OSError: If the folder cannot be written to, or the disk is full. Finished tiles stay, and
            the same call goes on.

    Example:
        >>> from pathlib import Path
        >>> from jaxlens import Model, microscope, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> options = {"channels": range(2), "size": (24, 32), "steps": 2, "progress": False}
        >>> job = microscope.render_layers(model, ["conv1"], "tiles", **options)
        >>> sorted(path.as_posix() for path in Path("tiles").glob("*/*.png"))
        ['tiles/conv1/0000.png', 'tiles/conv1/0001.png']
        >>> microscope.render_layers(model, ["conv1"], "tiles", **options).rendered
        0
    """
    began, progress = time.perf_counter(), check_flag(progress, "progress")
    names, folder = find_layers(check_model(model), layers), check_path(out, "out")
    own = {
        "size": size,
        "steps": steps,
        "seed": seed,
        "param": param,
        "transforms": transforms,
        "fixed_image_size": fixed_image_size,
        "redirect_steps": redirect_steps,
        "compute_dtype": compute_dtype,
    }
    wanted = {name: _channels(model, name, channels) for name in names}
    most = max(model.layers[name].channels for name in names)
    if channels is not None and (beyond := [int(number) for number in channels if number >= most]):
        raise ValueError(f"channels={beyond} are in none of the layers, which have {most} channels at most: 0..{most - 1}.")
    _refuse_same_folders(wanted)
    devices = jax.local_devices() if devices is None else device_list(devices)
    chunk = default_batch_size(devices) if batch_size is None else check_int(batch_size, "batch_size", low=1)
    if memory_limit is not None:
        check_int(memory_limit, "memory_limit", low=1)
    settings = settings_of(model, **own)
    manifest = _manifest.Manifest(settings, wanted, chunk, _manifest.record(model.name))
    options = own | {
        "seed": settings["seed"],
        "batch_size": batch_size,
        "memory_limit": memory_limit,
        "devices": devices,
        "progress": False,
    }
    tiles = _Tiles(model, folder, manifest.hash, _shape(model, param, settings["size"]), options)
    made = _jobs.run(tiles, folder, manifest, progress=progress)
    return RenderJob(folder, wanted, made.count, made.finished, time.perf_counter() - began)


@dataclasses.dataclass
class _Tiles:
    """Make the tiles of a folder; see `jaxlens._jobs.Maker`."""

    model: Model
    folder: Path
    settings: str
    shape: tuple[int, ...]
    options: dict[str, Any]
    unit: str = "neuron"
    stored: str = "tile"

    def path(self, group: str, item: int) -> Path:
        return tile_path(self.folder, group, item)

    def whole(self, group: str, item: int) -> bool:
        path = self.path(group, item)
        if path.is_dir():
            raise ValueError(f"{str(path)!r} is a folder where a tile is to be written. Move it elsewhere.")
        try:
            tile = read_tile(path)
        except (FileNotFoundError, ValueError):  # a damaged tile is rendered again
            return False
        if tile.settings != self.settings:
            raise ValueError(f"{path} was rendered with other settings than {path.parents[1]}. Move it elsewhere.")
        whole = tile.finished and tile.image is not None and tile.image.shape[:2] == self.shape[:2]
        return whole and (tile.layer, tile.channel) == (group, item)

    def make(self, chunk: Chunk, missing: list[int]) -> list[tuple[int, Tile]] | None:
        filled = [*chunk.items, *[chunk.items[-1]] * (chunk.size - len(chunk.items))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NonFiniteWarning)  # the tile says it
            try:
                result = render(self.model, objectives.channel(chunk.group, filled), **self.options)
            except NonFiniteError as error:
                result = cast(RenderResult, error.result)
        if not result.finished:
            return None
        scores, tiles = result.final_scores(), []
        for place, channel in enumerate(chunk.items):
            if channel in missing:
                image, failed = picture(result.images[place], self.model.channels), int(result.failed_at[place])
                score, seed = float(scores[place]), self.options["seed"]
                tiles.append((channel, Tile(chunk.group, channel, score, seed, self.settings, failed, image=image)))
        return tiles

    def write(self, group: str, item: int, made: Tile) -> None:
        write_tile(self.path(group, item), made)


def _shape(model: Model, param: Any, sides: Any) -> tuple[int, ...]:
    """Return the shape of a tile's picture."""
    images = (1, *sides, model.channels) if param is None else param.shape
    return picture(np.empty(images, np.uint8), model.channels).shape


def _channels(model: Model, layer: str, wanted: Any) -> list[int]:
    """Return the channels wanted that a layer has, in order."""
    count = model.layers[layer].channels
    if wanted is None:
        return list(range(count))
    if isinstance(wanted, str | bytes) or not hasattr(wanted, "__iter__") or not len(wanted):
        raise TypeError(f"channels={wanted!r} must be a list of numbers, such as range(4), or None for all.")
    numbers = sorted({check_int(number, "channels", low=0) for number in wanted})
    return [number for number in numbers if number < count]


def _refuse_same_folders(layers: dict[str, list[int]]) -> None:
    """Raise an error if two layers would have one folder."""
    names: dict[str, str] = {}
    for layer in layers:
        other = names.setdefault(folder_name(layer), layer)
        if other != layer:
            raise ValueError(f"layers {other!r} and {layer!r} would share a folder; render them into different ones.")
