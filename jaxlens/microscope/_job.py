"""`render_layers`: a render job over whole layers, which may be stopped, killed, resumed, and shared."""

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from jaxlens._checks import check_flag, check_int, check_path
from jaxlens._progress import progress_bar
from jaxlens.errors import NonFiniteError, NonFiniteWarning
from jaxlens.microscope import _manifest
from jaxlens.microscope._chunk import Chunk, claim, missing, split, tidy
from jaxlens.microscope._layers import find_layers
from jaxlens.microscope._settings import settings_of
from jaxlens.microscope._tile import Tile, folder_name, picture, read_tile, tile_path, write_tile
from jaxlens.model import Model, check_model
from jaxlens.optvis.render import RenderResult, default_batch, render
from jaxlens.optvis.render._arguments import device_list
from jaxlens.optvis.render._interrupt import deferred_interrupt

_PAUSE = 1.0  # seconds between looks at chunks that other processes are rendering


@dataclasses.dataclass(frozen=True)
class RenderJob:
    """A folder of tiles, as `render_layers` left it.

    Attributes:
        folder: where the tiles are, as `LAYER/CHANNEL.png`.
        layers: by layer, the channels of this job.
        rendered: how many tiles this call wrote.
        finished: whether every tile of this call's part is there; False after Ctrl-C, or if the folder was removed meanwhile.
        seconds: that this call took.
    """

    folder: Path
    layers: dict[str, list[int]]
    rendered: int
    finished: bool
    seconds: float

    def tiles(self, layer: str) -> list[Tile]:
        """The finished tiles of a layer, with their images, by channel."""
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
    batch: Any = None,
    memory_limit: Any = None,
    devices: Sequence[Any] | None = None,
    progress: bool = True,
) -> RenderJob:
    """Renders every channel of some layers into a folder: one PNG per neuron, written the moment it is finished.

    The folder is the job's memory. After an interruption of any kind, the same call goes on where it was: tiles that are
    there stay, and what was in flight is rendered again, to the same pixels on the same machine. Any
    number of processes may run the same call on one folder, on several machines that share it too: each claims some
    neurons at a time with a file lock, which the system frees when a process dies. Under `jax.distributed` each process
    renders its own slice of the list, so that the folder need not be shared. Later calls may add layers.

    `OUT/manifest.json`, written with the first finished tiles, holds the settings: hashes of what is computed (the network with
    its options and its preprocessing, the weights, `param`) and the numbers. Each tile (see `Tile`) carries their hash; other
    settings are refused.

    Args:
        model: any Model.
        layers: names, or patterns such as "mixed4*"; None is the whole network (`microscope.blocks` and "logits").
        out: the folder; made if it is not there.
        channels: which of each layer, all by default; a layer that has fewer shows those it has.
        size, steps, seed, param, transforms, fixed_image_size, redirect_steps, compute_dtype: as in `render`; together with
            the weights they are the settings. `seed` is an int, and `param` one for all neurons.
        batch: neurons that are claimed and rendered together; as in `render` by default. The folder keeps the first one.
        memory_limit, devices: as in `render`.
        progress: show a progress bar over all tiles, with the time left.

    Raises:
        UnknownLayerError, ValueError, TypeError: before anything is compiled; among them other settings than the folder's.
        OSError: if the folder cannot be written to, or the disk is full. Finished tiles stay; the same call goes on.
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
    chunk = default_batch(devices) if batch is None else check_int(batch, "batch", low=1)
    if memory_limit is not None:
        check_int(memory_limit, "memory_limit", low=1)
    mine = _manifest.Manifest(settings_of(model, **own), wanted, chunk, _manifest.record(model.name))
    with _explained(folder, []):
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        shared = _manifest.find(folder, mine)
    options = own | {"batch": batch, "memory_limit": memory_limit, "devices": devices, "progress": False}
    work = _Work(model, folder, mine, shared, options, progress)
    try:
        with deferred_interrupt() as pressed:
            finished = work.run(pressed)
    except KeyboardInterrupt:
        finished = False
    finally:
        tidy(folder, made)
    return RenderJob(folder, wanted, work.rendered, finished, time.perf_counter() - began)


class _OtherChunks(Exception):
    """Another process began the folder meanwhile, with chunks of another size."""


@dataclasses.dataclass
class _Work:
    """What is to be rendered into a folder by one call, and how much of it is."""

    model: Model
    folder: Path
    mine: _manifest.Manifest
    shared: _manifest.Manifest
    options: dict[str, Any]
    progress: bool
    rendered: int = 0

    @property
    def chunks(self) -> list[Chunk]:
        """This process' own."""
        parts = [part for name, wanted in self.mine.layers.items() for part in split(name, wanted, self.shared.chunk)]
        return parts[jax.process_index() :: jax.process_count()]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tiles' pictures."""
        param, sides = self.options["param"], self.mine.settings["size"]
        images = (1, *sides, self.model.channels) if param is None else param.shape
        return picture(np.empty(images, np.uint8), self.model.channels).shape

    def run(self, pressed: Callable[[], bool]) -> bool:
        """Renders what is missing; whether all of it is there."""
        while True:
            try:
                return self.once(pressed)
            except _OtherChunks:
                continue

    def once(self, pressed: Callable[[], bool]) -> bool:
        chunks = self.chunks
        absent = {part: len(self.missing(part)) for part in chunks}
        total, left = sum(len(part.channels) for part in chunks), sum(absent.values())
        waiting = [part for part in chunks if absent[part]]
        compiled: set[str] = set()
        with progress_bar(total, "neuron", self.progress, total - left) as bar:
            while waiting and not pressed():
                busy: list[Chunk] = []
                for part in waiting:
                    if pressed():
                        return False
                    with _explained(self.folder, chunks), claim(self.folder, part) as ours:
                        if not ours:
                            busy.append(part)
                            continue
                        if wanting := self.missing(part):
                            if part.layer not in compiled:
                                compiled.add(part.layer)
                                bar.compiling()
                            tiles = self.render(part, wanting)
                            if tiles is None:
                                return False
                            self.write(tiles)
                    bar.update(absent[part], part.layer)
                if len(busy) == len(waiting):
                    time.sleep(_PAUSE)
                waiting = busy
        if chunks:
            with _explained(self.folder, chunks):
                if _manifest.read(self.folder) is None or set(self.mine.layers) - set(self.shared.layers):
                    _manifest.join(self.folder, self.mine)
        return not any(self.missing(part) for part in chunks)

    def missing(self, part: Chunk) -> list[int]:
        return missing(self.folder, part, self.shared.hash, self.shape)

    def render(self, part: Chunk, wanting: list[int]) -> list[Tile] | None:
        """Renders a chunk whole and gives the tiles that are missing; None after Ctrl-C."""
        for channel in wanting:  # of a process that was killed while it wrote: the chunk is ours alone
            path = tile_path(self.folder, part.layer, channel)
            for half in path.parent.glob(f".{path.name}.*.part"):
                half.unlink(missing_ok=True)
        filled = [*part.channels, *[part.channels[-1]] * (part.size - len(part.channels))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NonFiniteWarning)  # the tile tells
            try:
                result = render(self.model, [f"{part.layer}:{channel}" for channel in filled], **self.options)
            except NonFiniteError as error:
                result = cast(RenderResult, error.result)
        if not result.finished:
            return None
        scores, tiles = result.final_scores(), []
        for place, channel in enumerate(part.channels):
            if channel in wanting:
                image, failed = picture(result.images[place], self.model.channels), int(result.failed_at[place])
                seed, settings = self.mine.settings["seed"], self.shared.hash
                tiles.append(Tile(part.layer, channel, float(scores[place]), seed, settings, failed, image=image))
        return tiles

    def write(self, tiles: list[Tile]) -> None:
        """Writes tiles, and with the first of them the manifest."""
        if not self.rendered:
            joined = _manifest.join(self.folder, self.mine)
            other, self.shared = joined.chunk != self.shared.chunk, joined
            if other:
                raise _OtherChunks
        for tile in tiles:
            write_tile(tile_path(self.folder, tile.layer, tile.channel), tile)
            self.rendered += 1


def _channels(model: Model, layer: str, wanted: Any) -> list[int]:
    count = model.layers[layer].channels
    if wanted is None:
        return list(range(count))
    if isinstance(wanted, str | bytes) or not hasattr(wanted, "__iter__") or not len(wanted):
        raise TypeError(f"channels={wanted!r} must be a list of numbers, such as range(4), or None for all.")
    numbers = sorted({check_int(number, "channels", low=0) for number in wanted})
    return [number for number in numbers if number < count]


def _refuse_same_folders(layers: dict[str, list[int]]) -> None:
    names: dict[str, str] = {}
    for layer in layers:
        other = names.setdefault(folder_name(layer), layer)
        if other != layer:
            raise ValueError(f"layers {other!r} and {layer!r} would share a folder; render them into different ones.")


@contextlib.contextmanager
def _explained(folder: Path, chunks: list[Chunk]) -> Iterator[None]:
    """A full disk or a read-only folder, as a message that says what is kept and what to do."""
    try:
        yield
    except OSError as error:
        paths = [tile_path(folder, chunk.layer, channel) for chunk in chunks for channel in chunk.channels]
        kept = (
            f"{sum(path.exists() for path in paths)} of {len(paths)} tiles are finished and stay"
            if paths
            else "Nothing is lost"
        )
        raise OSError(
            error.errno,
            f"out={str(folder)!r} cannot be written to ({error.strerror or error}). {kept}. "
            "Make room or allow writing, and run the same again to go on.",
        ) from error
