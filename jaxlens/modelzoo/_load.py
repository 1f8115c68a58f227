"""`modelzoo.load`: a name and a set of weights to a Model."""

import dataclasses
import functools
import importlib.util
import warnings
from importlib import resources
from pathlib import Path
from typing import Any

from flax import nnx

from jaxlens import _download
from jaxlens._checks import check_int
from jaxlens._files import cache_dir
from jaxlens.errors import WeightsError
from jaxlens.model import Model
from jaxlens.modelzoo import _params
from jaxlens.modelzoo._registry import Network, Weights, find


def load(name: str, weights: str | Path | None = "DEFAULT", *, seed: int = 0, progress: bool = True) -> Model:
    """A network of the zoo, with its weights, as a `Model`.

    "lensnet" comes with the package and needs nothing else. Published weights are downloaded on first use, checked
    against their hash, converted (this needs `pip install jaxlens[torch]`) and kept in the cache (see `cache_dir`); from
    then on neither network nor torch is needed.

    Args:
        name: one of `modelzoo.names()`: torchvision's names, "inceptionv1" for the network of Lucid and Lucent, or
            "lensnet", our small one whose training images are `jaxlens.data.synthetic`.
        weights: "DEFAULT"; one of `modelzoo.weights(name)`, such as "IMAGENET1K_V2"; the path of a file (a torch state
            dict in `.pth`, `.pt` or `.safetensors`, or what `modelzoo.save` wrote); or None for random weights:
            He-normal kernels, zero biases, batch norms that do nothing.
        seed: of the random weights.
        progress: show a bar while downloading.

    Returns: a Model with its preprocessing, labels and input size: (224, 224), lensnet's (64, 64). Its layers carry
        PyTorch's dotted names. `vgg16`'s "IMAGENET1K_FEATURES" have no classifier: their logits are NaN, as in torchvision.

    Raises:
        LookupError: for an unknown name or set of weights, with the nearest and all the legal ones.
        WeightsError: if a file cannot be had, is damaged, is not the published one, or (`ConversionError`) does not
            fit the network; the message lists every missing, unexpected and misshapen tensor.
        ImportError: if torch is needed and absent.

    Example:
        >>> model = modelzoo.load("squeezenet1_1", weights=None)
        >>> model(jnp.zeros((1, 224, 224, 3))).shape
        (1, 1000)
    """
    network = find(name)
    source = network.find(weights)
    if isinstance(source, Weights):
        params = _published(network, source, progress)
    elif source is None:
        drawn = _params.random(_template(name).params, check_int(seed, "seed", low=0))
        params = _params.fill(_template(name).params, drawn, name, "random")
    else:
        params = _from_file(network, source)
    # a file downloaded by hand keeps the value range of the weights it holds
    file = source.name if isinstance(source, Path) else None
    about = source if isinstance(source, Weights) else next((w for w in network.weights if w.file == file), network.weights[0])
    return _template(name).replace(params=params, preprocess=about.preprocess, labels=_labels(about.labels, network.outputs))


def save(model: Model, path: str | Path, **metadata: str) -> Path:
    """Writes a model's parameters as safetensors, in Flax's layout; `load(name, path)` reads them back without torch.

    The file is written whole or not at all.

    Args:
        model: any Model; its parameters are stored under their dotted names.
        path: the file, `.safetensors`.
        **metadata: strings to store with it.

    Returns: the path.
    """
    path = Path(path).expanduser()
    if path.suffix != ".safetensors":
        raise ValueError(f"path={str(path)!r} must end in .safetensors.")
    _params.write(path, model.params, {"model": model.name, **metadata})
    return path


@dataclasses.dataclass(frozen=True)
class Info:
    """What there is to know about a network of the zoo before loading it.

    `weights` has the default first; `cached` are those that load without a download; `parameters` counts what is
    trained (not the running statistics of batch norms); `show` names neurons worth seeing first, if some are known.
    """

    name: str
    parameters: int
    outputs: int
    input_size: tuple[int, int]
    weights: tuple[str, ...]
    cached: tuple[str, ...]
    source: str
    show: tuple[str, ...] = ()


def info(name: str) -> Info:
    """Size, weights, source and licence of a network, and which of its weights are in the cache."""
    network = find(name)
    cached = tuple(w.name for w in network.weights if w.bundled or _entry(name, w).is_file())
    weights = tuple(w.name for w in network.weights)
    return Info(name, network.parameters, network.outputs, network.input_size, weights, cached, network.source, network.show)


def architecture(name: str) -> nnx.Module:
    """A network of the zoo as an abstract NNX module: shapes where its weights will be."""
    return find(name).build()


@functools.cache
def _template(name: str) -> Model:
    """The Model with shapes for weights; made once, so that two loads of a network share their compiled programs."""
    network = find(name)
    return Model.from_nnx(network.build(), name=name, input_size=network.input_size)


def _entry(network: str, source: Weights) -> Path:
    """The cache file of a published set of weights; another source file is another entry."""
    return cache_dir() / f"{network}-{source.name}-{source.digest.partition(':')[2][:8]}.safetensors"


def _published(network: Network, source: Weights, progress: bool) -> Any:
    """Published weights, from the package, from the cache or through it."""
    if source.bundled is not None:
        return _from_file(network, source.bundled)
    entry = _entry(network.name, source)
    if entry.is_file():
        try:
            return _from_file(network, entry)
        except WeightsError as error:
            warnings.warn(f"Removed a damaged cache entry and fetching it anew: {error}", RuntimeWarning, stacklevel=3)
            entry.unlink(missing_ok=True)
    _require_torch(f"The weights {source.name} of {network.name} are a PyTorch file")
    advice = f"Or download it by other means and pass weights='path/to/{source.file}'; weights=None gives random weights."
    try:
        with _download.fetched(source, entry, advice=advice, progress=progress) as (file, digest):
            params = _from_file(network, file)
        _params.write(entry, params, {"model": network.name, "weights": source.name, "source": source.url, "digest": digest})
    except OSError as error:
        raise OSError(f"The cache {entry.parent} cannot be written ({error}). Set JAXLENS_CACHE to another folder.") from error
    return params


def _from_file(network: Network, path: Path) -> Any:
    """Parameters from a file of ours, or from PyTorch's through `converters`."""
    template = _template(network.name)
    if path.suffix == ".safetensors":
        arrays, metadata = _params.read(path)
        if _params.is_ours(metadata):
            return _params.fill(template.params, arrays, network.name, f"{path} ({metadata.get('model', 'unknown')})")
    elif path.is_file():
        _require_torch(f"{path} is a PyTorch file")
    import converters  # the only place: what is converted once needs neither converters nor torch

    return converters.convert(converters.read_state_dict(path), network.name, source=str(path))


def _require_torch(reason: str) -> None:
    if importlib.util.find_spec("torch") is None:
        raise ImportError(
            f"{reason}, and reading it needs torch: pip install 'jaxlens[torch]'. Where torch cannot be, convert it elsewhere "
            "(python -m converters NAME --weights FILE --out FILE.safetensors) and pass weights='FILE.safetensors'."
        )


@functools.cache
def _labels(kind: str | None, outputs: int) -> tuple[str, ...] | None:
    """One label per output. InceptionV1 has 1008 outputs for 1001 labels, the first a dummy: the rest mean nothing."""
    if kind is None:
        return None
    text = (resources.files("jaxlens.modelzoo") / "labels" / f"{kind}.txt").read_text(encoding="utf-8")
    labels = text.splitlines()
    return tuple(labels + [f"unused {i}" for i in range(len(labels), outputs)])
