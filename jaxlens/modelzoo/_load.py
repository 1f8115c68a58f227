"""`modelzoo.load`: make a Model from a name and a set of weights."""

import dataclasses
import functools
import importlib.util
import itertools
import json
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from flax import nnx

from jaxlens import _download, _params
from jaxlens._checks import check_int, check_path, one_line
from jaxlens._package import install_hint
from jaxlens.errors import WeightsError
from jaxlens.model import IMAGENET, Model, check_model
from jaxlens.modelzoo import _imported
from jaxlens.modelzoo._cache import CACHE_ADVICE, entries_of, entry_of, read_entry
from jaxlens.modelzoo._network import Network, Weights
from jaxlens.modelzoo._registry import find, names

_MAX_SIZE = 1 << 20  # classes, or pixels of a side: larger networks do not fit into memory
_WITHOUT_TORCH = (".safetensors", ".npz", ".h5", ".hdf5")


def load(name: Any, weights: Any = "DEFAULT", *, seed: Any = 0, progress: bool = True, **options: Any) -> Model:
    """Load a network of the zoo with its weights as a `Model`.

    "lensnet" comes with the package and needs nothing else. Published weights are downloaded on
    first use, checked against their hash, converted (which needs
    `pip install 'jaxlens-vision[torch]'`) and kept in the cache (see `cache_dir`). Later loads need
    neither network nor torch.

    Args:
        name: one of `modelzoo.names()`: torchvision's names, "inceptionv1" for the network of Lucid
            and Lucent, or "lensnet", our small network, which is trained on the images of
            `jaxlens.data.synthetic`. Or the path of a `.safetensors` file that `modelzoo.save`
            wrote, for a network of the zoo or one that `converters.from_torch` imported.
        weights: "DEFAULT"; one of `modelzoo.weights(name)`, such as "IMAGENET1K_V2"; the path of a
            file (a PyTorch state dict in `.pth`, `.pt`, `.safetensors`, `.npz` or `.h5`, or a file
            that `modelzoo.save` wrote); or None for random weights: He-normal kernels, zero biases,
            batch norms that do nothing.
        seed: the seed of the random weights.
        progress: whether to show a bar during a download.
        **options: arguments of the network's class. `num_classes` fits weights that were fine-tuned
            to other classes (the labels are then None); the Inceptions take `aux_logits` and
            `transform_input`, the vision transformers `image_size`.

    Returns: a Model with the preprocessing, labels and input size of its weights; for None or your
        own file, those of the default weights. Its layers have PyTorch's dotted names. `vgg16`'s
        "IMAGENET1K_FEATURES" have no classifier: the logits are NaN, as in torchvision.

    Raises:
        LookupError: for an unknown name or set of weights; the message has the nearest and all
            the legal ones.
        TypeError: for a name or weights that are neither a text nor a path, or for an option that
            the network does not have.
        WeightsError: if a file cannot be fetched, is damaged, is not the published one, or
            (`ConversionError`) does not fit the network. The message lists every missing,
            unexpected and misshapen tensor.
        OSError: if a file cannot be read, or the cache cannot be read or written; of the fitting
            subclass.
        ImportError: if torch is needed and absent.

    Warns: `NonFiniteWarning`, with the names of weights that are NaN or infinite.

    Example:
        >>> from jaxlens import modelzoo
        >>> model = modelzoo.load("lensnet")
        >>> model.input_size, model.labels[:2]
        ((64, 64), ('bar-0', 'bar-45'))
        >>> untrained = modelzoo.load("resnet18", weights=None, num_classes=7)
        >>> untrained.params["fc"]["kernel"].shape
        (512, 7)
    """
    if isinstance(name, os.PathLike) or (isinstance(name, str) and name.endswith(".safetensors")):
        return _saved(check_path(name, "name"), weights, options)
    network = find(name)
    source = network.find(weights)
    # a file that the user downloaded has the preprocessing of its weights, which its name tells
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
    """Load the model in a file of ours."""
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
    """Write a model as safetensors, in Flax's layout; `load(path)` reads it without torch.

    The file holds the parameters, preprocessing, input size and labels. For a model that
    `converters.from_torch` imported it also holds the graph, as data. The file is written whole or
    not at all.

    Args:
        model: a Model that `load` or `converters.from_torch` made, or another Model of a network of
            the zoo under its name there. Parameters are stored under their dotted names.
        path: the path of the file; it must end in `.safetensors`.
        **metadata: strings to store in the file.

    Returns: the path.

    Raises:
        TypeError: for a model that is no Model, or metadata that are no strings.
        ValueError: for another ending, or a model that `load` could not read.
        OSError: if the file cannot be written; of the fitting subclass.

    Example:
        >>> from jaxlens import modelzoo
        >>> model = modelzoo.load("lensnet")
        >>> modelzoo.save(model, "mine.safetensors", note="a copy").name
        'mine.safetensors'
        >>> modelzoo.load("mine.safetensors").labels == model.labels
        True
    """
    model, path = check_model(model), check_path(path, "path")
    if path.suffix != ".safetensors":
        raise ValueError(f"path={str(path)!r} must end in .safetensors.")
    if wrong := [key for key, text in metadata.items() if not isinstance(text, str)]:
        raise TypeError(f"{wrong[0]}={one_line(repr(metadata[wrong[0]]), 60)} must be a string.")
    about = _imported.metadata(model) or _zoo_metadata(model)
    _params.write(path, model.params, {"model": model.name, **about, **metadata})
    return path


def _zoo_metadata(model: Model) -> dict[str, str]:
    """Return what a file says of a network of the zoo besides its weights.

    The network itself is not in the file: `load` builds it.
    """
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
        f"{one_line(', '.join(sorted(ours ^ theirs)))}. Keep model.params, for instance with orbax."
    )


@dataclasses.dataclass(frozen=True)
class Info:
    """A network of the zoo before it is loaded; `modelzoo.info` returns it.

    Attributes:
        name: its name in the zoo.
        parameters: the number of trained parameters, without the running statistics of batch norms.
        outputs: the number of its outputs.
        input_size: height and width of the images that its default weights were trained on.
        weights: the names of its published weights, the default first.
        cached: those of them that load without a download.
        source: where the network and its weights come from, with their license.
        show: neurons worth seeing first, where some are known.

    Example:
        >>> from jaxlens import modelzoo
        >>> found = modelzoo.info("resnet50")
        >>> isinstance(found, modelzoo.Info)
        True
        >>> found.weights
        ('IMAGENET1K_V2', 'IMAGENET1K_V1')
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
    """Return the size, weights and source of a network, and which of its weights are cached.

    Args:
        name: one of `modelzoo.names()`.

    Returns: an `Info`.

    Raises:
        LookupError: for an unknown name; the message has the nearest ones.

    Example:
        >>> from jaxlens import modelzoo
        >>> found = modelzoo.info("resnet50")
        >>> found.parameters, found.outputs, found.input_size
        (25557032, 1000, (224, 224))
    """
    network = find(name)
    cached = tuple(w.name for w in network.weights if w.bundled or entries_of(name, w))
    weights, size = tuple(w.name for w in network.weights), network.usual.input_size
    return Info(name, network.parameters, network.outputs, size, weights, cached, network.source, network.show)


def architecture(name: Any, **options: Any) -> nnx.Module:
    """Build a network of the zoo as an abstract NNX module, with shapes in place of weights.

    Args:
        name: one of `modelzoo.names()`.
        **options: arguments of the network's class, as in `load`.

    Raises:
        LookupError: for an unknown name; the message has the nearest ones.
        TypeError: for an option that the network does not have.

    Example:
        >>> from jaxlens import modelzoo
        >>> network = modelzoo.architecture("squeezenet1_1", num_classes=7)
        >>> network.features.names[:3]
        ('0', '1', '2')
        >>> getattr(network.classifier, "1").kernel.shape
        (1, 1, 512, 7)
    """
    network = find(name)
    return network.build(**_checked(network, options))


def _checked(network: Network, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a network, each checked to be of the kind of its default."""
    known, checked = network.options, dict(options)
    if unknown := sorted(options.keys() - known):
        raise TypeError(f"{network.name} has no option {', '.join(unknown)}. It takes: {', '.join(sorted(known)) or 'none'}.")
    for name, value in options.items():
        if isinstance(known[name], bool) and not isinstance(value, bool):
            raise TypeError(f"{name}={one_line(repr(value), 60)} must be True or False.")
        if isinstance(known[name], int) and not isinstance(known[name], bool):
            checked[name] = check_int(value, name, low=1, high=_MAX_SIZE)
    return checked


def _template(network: Network, about: Weights, options: Mapping[str, Any]) -> Model:
    """Return the Model with shapes in place of weights, complete otherwise."""
    options = _checked(network, options)
    if "image_size" in network.options:
        options.setdefault("image_size", about.input_size[0])
    size = (options["image_size"],) * 2 if "image_size" in options else about.input_size
    labels = _labels(about.labels, network.outputs) if options.get("num_classes") in (None, network.outputs) else None
    body = _body(network, tuple(sorted(options.items())))
    return body.replace(preprocess=about.preprocess, input_size=size, labels=labels)


@functools.cache
def _body(network: Network, options: tuple[tuple[str, Any], ...]) -> Model:
    """Return a network as a Model, built once, so that all loads share compiled programs.

    Its preprocessing and size are placeholders: `_template` puts in those of the weights.
    """
    built = network.build(**dict(options))
    return Model.from_nnx(built, name=network.name, preprocess=IMAGENET, input_size=(224, 224))


def _published(network: Network, source: Weights, template: Model, progress: bool) -> Model:
    """Load published weights from the package or the cache, and fetch them into the cache first."""
    if source.bundled is not None:
        return _from_file(template, source.bundled)
    entry = entry_of(network.name, source, template)
    if (model := read_entry(network, source, template, entry)) is not None:
        return model
    _require_torch(f"The weights {source.name} of {network.name} are a PyTorch file")
    advice = f"Or download it by other means and pass weights='path/to/{source.file}'; weights=None gives random weights."
    try:
        with _download.fetched(source, entry, advice=advice, progress=progress) as (file, digest):
            model = _from_file(template, file)
        about = {"model": network.name, "weights": source.name, "source": source.url, "digest": digest}
        _params.write(entry, model.params, about)
    except OSError as error:
        raise OSError(f"The cache {entry.parent} cannot be written ({error}). {CACHE_ADVICE}") from error
    return model


def _from_file(template: Model, path: Path) -> Model:
    """Load the weights of a file of ours, or of PyTorch's through `converters`."""
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
    from jaxlens import converters  # only here: converted files need neither converters nor torch

    return template.replace(params=converters.convert(converters.read_state_dict(path), template, source=str(path)))


def _described(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """Return what a file of ours says of a model besides its weights, as fields of the Model."""
    try:
        return _imported.description(json.loads(metadata["about"])) if "about" in metadata else {}
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise WeightsError(f"{path} is damaged: what it says of the model cannot be read ({one_line(error)}).") from error


def _require_torch(reason: str) -> None:
    if importlib.util.find_spec("torch") is None:
        raise ImportError(
            f"{reason}, and reading it needs torch: {install_hint('torch')}. Where torch cannot be, convert it elsewhere "
            "(python -m jaxlens.converters NAME --weights FILE --out FILE.safetensors) and pass weights='FILE.safetensors'."
        )


@functools.cache
def _labels(kind: str | None, outputs: int) -> tuple[str, ...] | None:
    """Return one label per output.

    InceptionV1 has 1008 outputs for 1001 labels, the first a dummy: the other outputs mean nothing.
    """
    if kind is None:
        return None
    text = (resources.files("jaxlens.modelzoo") / "labels" / f"{kind}.txt").read_text(encoding="utf-8")
    labels = text.splitlines()
    return tuple(labels + [f"unused {i}" for i in range(len(labels), outputs)])
