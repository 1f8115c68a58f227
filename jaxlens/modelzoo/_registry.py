"""The networks of the zoo: those that the files of this folder list in `NETWORKS`."""

import functools
import importlib
import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxlens._checks import one_line, suggest
from jaxlens.model import IMAGENET, Preprocess
from jaxlens.modelzoo._network import Network, Weights


def _listed_networks() -> list[Any]:
    """Return `NETWORKS` of each file: several `Network`, or torchvision's builders by name."""
    names = sorted(found.name for found in pkgutil.iter_modules(importlib.import_module(__package__ or "").__path__))
    modules = [importlib.import_module(f"jaxlens.modelzoo.{name}") for name in names if not name.startswith("_")]
    return [module.NETWORKS for module in modules if hasattr(module, "NETWORKS")]


def _torchvision() -> dict[str, Network]:
    """Return torchvision's networks with their published weights.

    `python -m tools.torchvision_table` writes the table of the weights.
    """
    table = json.loads((Path(__file__).parent / "torchvision.json").read_text(encoding="utf-8"))
    source = "torchvision (BSD-3-Clause); weights trained on ImageNet, whose terms apply to them"
    networks = {}
    for family in _listed_networks():
        for name, build in family.items() if isinstance(family, Mapping) else ():
            weights = tuple(_published(key, entry) for key, entry in table[name]["weights"].items())
            networks[name] = Network(name, build, table[name]["parameters"], weights, source)
    return dict(sorted(networks.items()))


def _published(name: str, entry: Mapping[str, Any]) -> Weights:
    stem = entry["file"].removesuffix(".pth")
    size = entry.get("input_size", 224)
    return Weights(
        name,
        f"https://download.pytorch.org/models/{entry['file']}",
        "sha256:" + stem.rpartition("-")[2],
        preprocess=Preprocess.mean_std(tuple(entry["mean"]), tuple(entry["std"])) if "mean" in entry else IMAGENET,
        labels=entry.get("labels", "imagenet"),
        input_size=(size, size),
        license=entry.get("license"),
        mebibytes=entry.get("mebibytes"),
    )


@functools.cache
def networks() -> Mapping[str, Network]:
    """Return every network by name: first those that come with the package, last torchvision's."""
    own = [network for family in _listed_networks() if not isinstance(family, Mapping) for network in family]
    own.sort(key=lambda network: (not any(each.bundled for each in network.weights), network.name))
    return {network.name: network for network in own} | _torchvision()


def find(name: Any) -> Network:
    """Return the network of that name, or raise an error that names the closest."""
    if not isinstance(name, str):
        raise TypeError(f"name={one_line(repr(name), 60)} must be one of `modelzoo.names()`, such as 'resnet50', or a path.")
    if name not in networks():
        closest, how = suggest(name, networks()), f"`modelzoo.names()` (or `jaxlens models`) lists all {len(networks())}"
        raise LookupError(f"name={name!r} is not in the model zoo. Closest: {closest}. {how}.")
    return networks()[name]


def names() -> tuple[str, ...]:
    """Return the names of all networks that `modelzoo.load` knows.

    Example:
        >>> from jaxlens import modelzoo
        >>> modelzoo.names()[:4]
        ('lensnet', 'inceptionv1', 'alexnet', 'convnext_base')
    """
    return tuple(networks())


def weights(name: Any) -> tuple[str, ...]:
    """Return the names of the published weights of a network, the default first.

    Example:
        >>> from jaxlens import modelzoo
        >>> modelzoo.weights("resnet50")
        ('IMAGENET1K_V2', 'IMAGENET1K_V1')
    """
    return tuple(known.name for known in find(name).weights)
