"""`render_layers`: a render job over whole layers, which may be stopped, killed, resumed, and shared."""

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import filelock
import jax
import numpy as np
from tqdm.auto import tqdm

from jaxlens._checks import check_int
from jaxlens.errors import NonFiniteError, NonFiniteWarning
from jaxlens.microscope import _manifest
from jaxlens.microscope._layers import find_layers
from jaxlens.microscope._tile import Tile, folder_name, read_tile, tile_path, write_tile
from jaxlens.model import Model
from jaxlens.optvis.render import RenderResult, default_batch, render

_PAUSE = 1.0  # seconds between looks at chunks that other processes are rendering


@dataclasses.dataclass(frozen=True)
class RenderJob:
    """A folder of tiles, as `render_layers` left it.

    Attributes:
        folder: where the tiles are, as `LAYER/CHANNEL.png`.
        layers: by layer, the channels of this job.
        rendered: how many tiles this call wrote.
        finished: whether every tile of this call's part is there; False after Ctrl-C.
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


@dataclasses.dataclass(frozen=True)
class _Chunk:
    """Neurons of one layer that are claimed and rendered together, always the same ones: so a tile that is
    rendered after an interruption is, to the last bit, the one that would have been rendered without.

    Attributes:
        layer: whose.
        channels: which of them this call wants.
        number: channels number * n to number * n + n - 1 belong to it, n being the folder's, whoever wants which of them.
        size: how many are rendered, counting repetitions; the same for all chunks, so that one program serves them.
    """

    layer: str
    channels: tuple[int, ...]
    number: int
    size: int

    @property
    def name(self) -> str:
        return f"{folder_name(self.layer)}-{self.number}"


def render_layers(
    model: Model,
    layers: Sequence[str] | None,
    out: str | Path,
    *,
    channels: Sequence[int] | None = None,
    size: Any = 128,
    steps: Any = 512,
    seed: Any = 0,
    param: Any = None,
    transforms: Sequence[Any] | None = None,
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

    `OUT/manifest.json` holds the settings. Each tile (see `Tile`) carries their hash; other settings are refused.

    Args:
        model: any Model.
        layers: names, or patterns such as "mixed4*"; None is the whole network (`microscope.blocks` and "logits").
        out: the folder; made if it is not there.
        channels: which of each layer, all by default; a layer that has fewer shows those it has.
        size, steps, seed, param, transforms, fixed_image_size, redirect_steps, compute_dtype: as in `render`; together with
            the weights they are the settings. `seed` is an int.
        batch: neurons that are claimed and rendered together; as in `render` by default. The folder keeps the first one.
        memory_limit, devices: as in `render`.
        progress: show a progress bar over all tiles, with the time left.

    Raises:
        UnknownLayerError, ValueError, TypeError: before anything is compiled; among them other settings than the folder's.
        OSError: if the folder cannot be written to, or the disk is full. Finished tiles stay; the same call goes on.
    """
    began = time.perf_counter()
    names, folder = find_layers(model, layers), Path(out)
    seed = check_int(seed, "seed", low=0)
    settings = {
        "model": model.name,
        "weights": _manifest.weights_hash(model),
        "preprocess": _manifest.told(model.preprocess),
        "gradient_rule": None if model.rule is None else _manifest.fingerprint(model.rule, "model.rule"),
        "input_size": list(model.input_size),
        "steps": check_int(steps, "steps", low=0),
        "seed": seed,
        "size": np.asarray(size).tolist(),
        "param": None if param is None else _manifest.fingerprint(param, "param"),
        "transforms": None if transforms is None else _manifest.fingerprint(list(transforms), "transforms"),
        "fixed_image_size": None if fixed_image_size is None else np.asarray(fixed_image_size).tolist(),
        "redirect_steps": None if redirect_steps is None else check_int(redirect_steps, "redirect_steps", low=0),
        "compute_dtype": None if compute_dtype is None else jax.numpy.dtype(compute_dtype).name,
    }
    wanted = {name: _channels(model, name, channels) for name in names}
    _refuse_same_folders(wanted)
    devices = list(devices or jax.local_devices())
    chunk = default_batch(devices) if batch is None else check_int(batch, "batch", low=1)
    with _explained(folder, []):
        manifest = _manifest.join(folder, _manifest.Manifest(settings, wanted, chunk, _manifest.versions()))
    chunks = [part for name in names for part in _split(name, wanted[name], manifest.chunk)]
    chunks = chunks[jax.process_index() :: jax.process_count()]
    options = {
        "size": size,
        "steps": steps,
        "seed": seed,
        "param": param,
        "transforms": transforms,
        "fixed_image_size": fixed_image_size,
        "redirect_steps": redirect_steps,
        "compute_dtype": compute_dtype,
        "batch": batch,
        "memory_limit": memory_limit,
        "devices": devices,
        "progress": False,
    }
    total = sum(len(part.channels) for part in chunks)
    rendered, finished = 0, True
    absent = {part: len(_missing(folder, part, manifest.hash)) for part in chunks}
    waiting, left = [part for part in chunks if absent[part]], sum(absent.values())
    with tqdm(total=total, initial=total - left, unit="neuron", disable=not progress, dynamic_ncols=True) as bar:
        try:
            while waiting:
                busy: list[_Chunk] = []
                for part in waiting:
                    with _explained(folder, chunks), _claim(folder, part) as ours:
                        if not ours:
                            busy.append(part)
                            continue
                        missing = _missing(folder, part, manifest.hash)
                        if missing:
                            bar.set_postfix_str(part.layer, refresh=True)
                            rendered += _render(model, folder, part, missing, manifest.hash, options)
                    bar.update(absent[part])
                if len(busy) == len(waiting):
                    time.sleep(_PAUSE)
                waiting = busy
        except KeyboardInterrupt:
            finished = False
    return RenderJob(folder, wanted, rendered, finished, time.perf_counter() - began)


def _channels(model: Model, layer: str, wanted: Sequence[int] | None) -> list[int]:
    count = model.layers[layer].channels
    if wanted is None:
        return list(range(count))
    numbers = sorted({check_int(number, "channels", low=0) for number in wanted})
    return [number for number in numbers if number < count]


def _refuse_same_folders(layers: dict[str, list[int]]) -> None:
    names: dict[str, str] = {}
    for layer in layers:
        other = names.setdefault(folder_name(layer), layer)
        if other != layer:
            raise ValueError(f"layers {other!r} and {layer!r} would share a folder; render them into different ones.")


def _split(layer: str, channels: list[int], most: int) -> list[_Chunk]:
    cells: dict[int, list[int]] = {}
    for channel in channels:
        cells.setdefault(channel // most, []).append(channel)
    size = max(map(len, cells.values()), default=0)
    return [_Chunk(layer, tuple(members), number, size) for number, members in cells.items()]


def _missing(folder: Path, chunk: _Chunk, settings: str) -> list[int]:
    """Channels without a whole tile."""
    missing = []
    for channel in chunk.channels:
        path = tile_path(folder, chunk.layer, channel)
        try:
            tile = read_tile(path, image=False)
        except (FileNotFoundError, ValueError):  # a damaged one is rendered again
            missing.append(channel)
            continue
        if tile.settings != settings:
            raise ValueError(f"{path} was rendered with other settings than {path.parents[1]}. Move it elsewhere.")
    return missing


@contextlib.contextmanager
def _claim(folder: Path, chunk: _Chunk) -> Iterator[bool]:
    """Whether this process alone may render a chunk, for as long as the `with` block lasts."""
    path = folder / ".claims" / f"{chunk.name}.lock"
    path.parent.mkdir(exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
        # Whoever opened this file before, or makes it again, finds the tiles there.
        path.unlink(missing_ok=True)
    finally:
        lock.release()


def _render(model: Model, folder: Path, chunk: _Chunk, missing: list[int], settings: str, options: dict[str, Any]) -> int:
    """Renders a chunk whole and writes the tiles that are missing; how many."""
    for channel in missing:  # of a process that was killed while it wrote: the chunk is ours alone
        path = tile_path(folder, chunk.layer, channel)
        for part in path.parent.glob(f".{path.name}.*.part"):
            part.unlink(missing_ok=True)
    filled = [*chunk.channels, *[chunk.channels[-1]] * (chunk.size - len(chunk.channels))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NonFiniteWarning)  # the tile tells
        try:
            result = render(model, [f"{chunk.layer}:{channel}" for channel in filled], **options)
        except NonFiniteError as error:
            result = cast(RenderResult, error.result)
    if not result.finished:
        raise KeyboardInterrupt
    scores = result.final_scores()
    for place, channel in enumerate(chunk.channels):
        if channel in missing:
            image = np.concatenate(list(result.images[place]), axis=1)
            failed = int(result.failed_at[place])
            write_tile(folder, Tile(chunk.layer, channel, float(scores[place]), options["seed"], settings, failed, image))
    return len(missing)


@contextlib.contextmanager
def _explained(folder: Path, chunks: list[_Chunk]) -> Iterator[None]:
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
