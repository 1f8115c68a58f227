"""`modelzoo.load`: a name and a set of weights to a Model."""

import dataclasses
import functools
import hashlib
import importlib.util
import itertools
import json
import os
import warnings
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from flax import nnx

from jaxlens import _download, _params
from jaxlens._checks import brief, check_int, check_path
from jaxlens._files import cache_dir
from jaxlens._package import install_hint
from jaxlens.errors import WeightsError
from jaxlens.model import IMAGENET, Model, check_model
from jaxlens.modelzoo import _imported
from jaxlens.modelzoo._network import Network, Weights
from jaxlens.modelzoo._registry import find, names

_CACHE_ADVICE = "Set JAXLENS_CACHE to another folder."
_MOST = 1 << 20  # classes, or pixels of a side: larger networks do not fit into memory
_WITHOUT_TORCH = (".safetensors", ".npz", ".h5", ".hdf5")


def load(name: Any, weights: Any = "DEFAULT", *, seed: Any = 0, progress: bool = True, **options: Any) -> Model:
    """A network of the zoo, with its weights, as a `Model`.

    "lensnet" comes with the package and needs nothing else. Published weights are downloaded on first use, checked
    against their hash, converted (this needs `pip install 'jaxlens-vision[torch]'`) and kept in the cache (see `cache_dir`);
    from then on neither network nor torch is needed.

    Args:
        name: one of `modelzoo.names()`: torchvision's names, "inceptionv1" for the network of Lucid and Lucent, or
            "lensnet", our small one whose training images are `jaxlens.data.synthetic`; or the path of a `.safetensors` file
            that `modelzoo.save` wrote, of a network of the zoo or of one that `converters.from_torch` imported.
        weights: "DEFAULT"; one of `modelzoo.weights(name)`, such as "IMAGENET1K_V2"; the path of a file (a PyTorch state
            dict in `.pth`, `.pt`, `.safetensors`, `.npz` or `.h5`, or what `modelzoo.save` wrote); or None for random weights:
            He-normal kernels, zero biases, batch norms that do nothing.
        seed: of the random weights.
        progress: show a bar while downloading.
        **options: what the network's class takes: `num_classes` for weights fine-tuned to other classes (the labels are
            then None), `aux_logits` and `transform_input` of the Inceptions, `image_size` of the vision transformers.

    Returns: a Model with its preprocessing, labels and input size, those of its weights (with None or a file of your own: of
        the default weights). Its layers carry PyTorch's dotted names. `vgg16`'s "IMAGENET1K_FEATURES" have no classifier:
        their logits are NaN, as in torchvision.

    Raises:
        LookupError: for an unknown name or set of weights, with the nearest and all the legal ones.
        TypeError: for a name or weights that are neither a text nor a path, or an option that the network does not have.
        WeightsError: if a file cannot be had, is damaged, is not the published one, or (`ConversionError`) does not
            fit the network; the message lists every missing, unexpected and misshapen tensor.
        OSError: of the fitting kind, if a file may not be read, or the cache may not be read or written.
        ImportError: if torch is needed and absent.

    Warns: `NonFiniteWarning`, with their names, of weights that are NaN or infinite.

    Example:
        >>> model = modelzoo.load("squeezenet1_1", weights=None)
        >>> model(jnp.zeros((1, 224, 224, 3))).shape
        (1, 1000)
    """
    if isinstance(name, os.PathLike) or (isinstance(name, str) and name.endswith(".safetensors")):
        return _saved(check_path(name, "name"), weights, options)
    network = find(name)
    source = network.find(weights)
    # a file downloaded by hand keeps the value range of the weights it holds
    file = source.name if isinstance(source, Path) else None
    about = source if isinstance(source, Weights) else next((w for w in network.weights if w.file == file), network.usual)
    template = _template(network, about, options)
    if isinstance(source, Weights):
        return _published(network, source, template, progress)
    if source is not None:
        return _from_file(template, source)
    drawn = _params.random(template.params, check_int(seed, "seed", low=0))
    return template.replace(params=_params.fill(template.params, drawn, name, "random"))


def _saved(path: Path, weights: object, options: Mapping[str, Any]) -> Model:
    """The model in a file of ours."""
    arrays, metadata = _params.read(path)
    name = metadata.get("model", "")
    if not _params.is_ours(metadata) or not ("graph" in metadata or name in names()):
        raise WeightsError(f"{path} does not say which network it holds: modelzoo.load(NAME, {str(path)!r}).")
    if "graph" not in metadata:
        return load(name, path, **options)
    if weights != "DEFAULT" or options:
        raise TypeError(f"{path} holds an imported network whole: it takes neither weights nor options.")
    return _imported.model(path, arrays, metadata)


def save(model: Any, path: Any, **metadata: Any) -> Path:
    """Writes a model as safetensors, in Flax's layout; `load(path)` reads it back without torch.

    The file holds the parameters, preprocessing, input size and labels; of a model that `converters.from_torch` imported
    the graph too, as data. It is written whole or not at all.

    Args:
        model: a Model that `load` or `converters.from_torch` made, or one of a network of the zoo under its name there; its
            parameters are stored under their dotted names.
        path: the file, `.safetensors`.
        **metadata: strings to store with it.

    Returns: the path.

    Raises:
        TypeError: for a model that is no Model, or metadata that are no strings.
        ValueError: for another ending, or a model that `load` could not read.
        OSError: of the fitting kind, if the file cannot be written.
    """
    model, path = check_model(model), check_path(path, "path")
    if path.suffix != ".safetensors":
        raise ValueError(f"path={str(path)!r} must end in .safetensors.")
    if wrong := [key for key, text in metadata.items() if not isinstance(text, str)]:
        raise TypeError(f"{wrong[0]}={brief(repr(metadata[wrong[0]]), 60)} must be a string.")
    about = _imported.metadata(model) or _zoo_metadata(model)
    _params.write(path, model.params, {"model": model.name, **about, **metadata})
    return path


def _zoo_metadata(model: Model) -> dict[str, str]:
    """What a file says of a network of the zoo besides its weights; `load` has the network itself."""
    if model.name not in names():
        raise ValueError(
            f"model={model.name!r} is neither a network of the zoo nor imported by converters.from_torch, so modelzoo.load "
            "could not read it. If it is one of the zoo, say so: model.replace(name='resnet18'). Else keep model.params, for "
            "instance with orbax."
        )
    network, ours = find(model.name), {name for name, _ in _params.named(model.params)}
    theirs: set[str] = set()
    switches = [name for name, default in network.options.items() if isinstance(default, bool)]
    for values in itertools.product((False, True), repeat=len(switches)):
        template = _template(network, network.usual, dict(zip(switches, values, strict=True)))
        theirs = {name for name, _ in _params.named(template.params)}
        if ours == theirs:
            return {"about": json.dumps(_imported.described(model))}
    raise ValueError(
        f"model={model.name!r} has other tensors than the zoo's network of that name, so modelzoo.load could not read it: "
        f"{brief(', '.join(sorted(ours ^ theirs)))}. Keep model.params, for instance with orbax."
    )


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


def info(name: Any) -> Info:
    """Size, weights, source and licence of a network, and which of its weights are in the cache."""
    network = find(name)
    cached = tuple(w.name for w in network.weights if w.bundled or _entries(name, w))
    weights, size = tuple(w.name for w in network.weights), network.usual.input_size
    return Info(name, network.parameters, network.outputs, size, weights, cached, network.source, network.show)


def architecture(name: Any, **options: Any) -> nnx.Module:
    """A network of the zoo as an abstract NNX module: shapes where its weights will be. Options as in `load`."""
    network = find(name)
    return network.build(**_checked(network, options))


def _checked(network: Network, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a network, each of the kind of its default."""
    known, checked = network.options, dict(options)
    if unknown := sorted(options.keys() - known):
        raise TypeError(f"{network.name} has no option {', '.join(unknown)}. It takes: {', '.join(sorted(known)) or 'none'}.")
    for name, value in options.items():
        if isinstance(known[name], bool) and not isinstance(value, bool):
            raise TypeError(f"{name}={brief(repr(value), 60)} must be True or False.")
        if isinstance(known[name], int) and not isinstance(known[name], bool):
            checked[name] = check_int(value, name, low=1, high=_MOST)
    return checked


def _template(network: Network, about: Weights, options: Mapping[str, Any]) -> Model:
    """The Model with shapes for weights, and all that a Model knows besides."""
    options = _checked(network, options)
    if "image_size" in network.options:
        options.setdefault("image_size", about.input_size[0])
    size = (options["image_size"],) * 2 if "image_size" in options else about.input_size
    labels = _labels(about.labels, network.outputs) if options.get("num_classes") in (None, network.outputs) else None
    body = _body(network, tuple(sorted(options.items())))
    return body.replace(preprocess=about.preprocess, input_size=size, labels=labels)


@functools.cache
def _body(network: Network, options: tuple[tuple[str, Any], ...]) -> Model:
    """Made once, so that loads of a network share compiled programs; `load` puts in what the weights were trained on."""
    built = network.build(**dict(options))
    return Model.from_nnx(built, name=network.name, preprocess=IMAGENET, input_size=(224, 224))


def _entry(network: str, source: Weights, template: Model) -> Path:
    """The cache file of a published set of weights; another source file or other tensors are another entry."""
    shapes = sorted((name, leaf.shape) for name, leaf in _params.named(template.params))
    tensors = hashlib.sha256(repr(shapes).encode()).hexdigest()[:8]
    return cache_dir() / f"{network}-{source.name}-{_short(source)}-{tensors}.safetensors"


def _entries(network: str, source: Weights) -> list[Path]:
    return list(cache_dir().glob(f"{network}-{source.name}-{_short(source)}-*.safetensors"))


def _short(source: Weights) -> str:
    return source.digest.partition(":")[2][:8]


def _published(network: Network, source: Weights, template: Model, progress: bool) -> Model:
    """Published weights, from the package, from the cache or through it."""
    if source.bundled is not None:
        return _from_file(template, source.bundled)
    entry = _entry(network.name, source, template)
    if (model := _cached(network, source, template, entry)) is not None:
        return model
    _require_torch(f"The weights {source.name} of {network.name} are a PyTorch file")
    advice = f"Or download it by other means and pass weights='path/to/{source.file}'; weights=None gives random weights."
    try:
        with _download.fetched(source, entry, advice=advice, progress=progress) as (file, digest):
            model = _from_file(template, file)
        about = {"model": network.name, "weights": source.name, "source": source.url, "digest": digest}
        _params.write(entry, model.params, about)
    except OSError as error:
        raise OSError(f"The cache {entry.parent} cannot be written ({error}). {_CACHE_ADVICE}") from error
    return model


def _cached(network: Network, source: Weights, template: Model, entry: Path) -> Model | None:
    """The model of a cache entry, or None if there is none or it is damaged: then it is removed.

    What may not be read is another user's and no damage: it stays.
    """
    try:
        if not entry.is_file():
            return None
        arrays, metadata = _params.read(entry)
        says = {key: metadata.get(key, "") for key in ("model", "weights", "digest")}
        if (says["model"], says["weights"]) != (network.name, source.name) or not says["digest"].startswith(source.digest):
            raise WeightsError(f"{entry} says that it holds something else: {brief(says)}.")
        return template.replace(params=_params.fill(template.params, arrays, template.name, str(entry)))
    except WeightsError as error:
        warnings.warn(f"Removed a damaged cache entry and fetching it anew: {error}", RuntimeWarning, stacklevel=4)
        _remove(entry)
    except FileNotFoundError:  # another process removed it just now
        pass
    except OSError as error:
        raise type(error)(f"The cache entry {entry} cannot be read ({brief(error)}). {_CACHE_ADVICE}") from error
    return None


def _remove(entry: Path) -> None:
    try:
        entry.unlink(missing_ok=True)
    except OSError as error:
        raise type(error)(
            f"The cache entry {entry} is damaged and cannot be removed ({brief(error)}). {_CACHE_ADVICE}"
        ) from error


def _from_file(template: Model, path: Path) -> Model:
    """The model of a file of ours, or of PyTorch's through `converters`."""
    if path.suffix == ".safetensors":
        arrays, metadata = _params.read(path)
        if _params.is_ours(metadata):
            holds = metadata.get("model", "unknown")
            params = _params.fill(template.params, arrays, template.name, f"{path} ({holds})")
            if holds in names() and holds != template.name:
                raise WeightsError(
                    f"{path} holds the weights of {holds}, not of {template.name}: modelzoo.load({str(path)!r})."
                )
            return template.replace(params=params, **_described(metadata, path))
    elif path.is_file() and path.suffix not in _WITHOUT_TORCH:
        _require_torch(f"{path} is a PyTorch file")
    from jaxlens import converters  # what is converted once needs neither converters nor torch

    return template.replace(params=converters.convert(converters.read_state_dict(path), template, source=str(path)))


def _described(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """What a file of ours says of a model besides its weights, as fields of the Model."""
    try:
        return _imported.description(json.loads(metadata["about"])) if "about" in metadata else {}
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise WeightsError(f"{path} is damaged: what it says of the model cannot be read ({brief(error)}).") from error


def _require_torch(reason: str) -> None:
    if importlib.util.find_spec("torch") is None:
        raise ImportError(
            f"{reason}, and reading it needs torch: {install_hint('torch')}. Where torch cannot be, convert it elsewhere "
            "(python -m jaxlens.converters NAME --weights FILE --out FILE.safetensors) and pass weights='FILE.safetensors'."
        )


@functools.cache
def _labels(kind: str | None, outputs: int) -> tuple[str, ...] | None:
    """One label per output. InceptionV1 has 1008 outputs for 1001 labels, the first a dummy: the rest mean nothing."""
    if kind is None:
        return None
    text = (resources.files("jaxlens.modelzoo") / "labels" / f"{kind}.txt").read_text(encoding="utf-8")
    labels = text.splitlines()
    return tuple(labels + [f"unused {i}" for i in range(len(labels), outputs)])
