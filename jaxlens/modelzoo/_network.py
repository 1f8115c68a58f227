"""What there is to know of a network: how it is built, and where its published weights come from."""

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flax import nnx

from jaxlens._checks import brief, check_path, suggest
from jaxlens.model import IMAGENET, Preprocess


@dataclasses.dataclass(frozen=True)
class Weights:
    """One published weights file: a torch state dict, or a file of ours that comes with the package.

    `url` is its address, or the name of the package's file. `digest` is "sha256:" and the first digits of the file's
    SHA-256 (torchvision puts them in the file name), or "gitblob:" and the git blob id of a file in a git repository.
    `mebibytes` is its size as torchvision publishes it, to three places.
    """

    name: str
    url: str
    digest: str
    preprocess: Preprocess = IMAGENET
    labels: str | None = "imagenet"
    input_size: tuple[int, int] = (224, 224)
    license: str | None = None  # where it is another than the network's
    mebibytes: float | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """How many bytes the file has at least and at most."""
        if self.mebibytes is None:
            return 0, 1 << 28
        return round((self.mebibytes - 0.001) * 2**20), round((self.mebibytes + 0.001) * 2**20)

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def bundled(self) -> Path | None:
        """The file, if it comes with the package."""
        return None if "/" in self.url else Path(__file__).parent / "weights" / self.url


@dataclasses.dataclass(frozen=True)
class Network:
    """One network; the first of its weights, if there are any, is the default. `build` takes the options of `modelzoo.load`."""

    name: str
    build: Callable[..., nnx.Module]
    parameters: int
    weights: tuple[Weights, ...]
    source: str
    outputs: int = 1000
    show: tuple[str, ...] = ()  # neurons worth seeing first

    @property
    def options(self) -> dict[str, Any]:
        """What `build` may be told, with its defaults."""
        build, bound = (self.build.func, self.build.keywords) if isinstance(self.build, functools.partial) else (self.build, {})
        # a module class itself shows the signature of Flax's metaclass
        parameters = inspect.signature(build.__init__ if isinstance(build, type) else build).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in bound}

    @property
    def usual(self) -> Weights:
        """What decides the preprocessing, the labels and the size where no published weights are asked for."""
        return self.weights[0] if self.weights else Weights("none", "none", "", labels=None)

    def find(self, weights: Any) -> Weights | Path | None:
        """What `modelzoo.load` takes: a published file, a path, or None."""
        if weights is None:
            return None
        if isinstance(weights, os.PathLike):
            return check_path(weights, "weights")
        if not isinstance(weights, str) or not weights or "\0" in weights:
            raise TypeError(f"weights={brief(repr(weights), 60)} must be a name ({_listed(self.weights)}), a path, or None.")
        if weights == "DEFAULT" and not self.weights:
            raise LookupError(
                f"weights={weights!r}: no weights of {self.name} are published. Pass a path, or None for random ones."
            )
        if weights == "DEFAULT":
            return self.weights[0]
        for known in self.weights:
            if known.name == weights:
                return known
        path = Path(weights).expanduser()
        if path.suffix or path.exists() or path.name != weights:
            return path
        near = suggest(weights, [known.name for known in self.weights])[0]
        raise LookupError(
            f"weights={weights!r} is not a set of weights of {self.name}. Closest: {near!r}. There are: 'DEFAULT', "
            f"{_listed(self.weights)}; or pass a path (.pth, .pt, .safetensors, .npz, .h5), or None for random weights."
        )


def _listed(weights: tuple[Weights, ...]) -> str:
    return ", ".join(repr(known.name) for known in weights)
