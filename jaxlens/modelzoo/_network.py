"""A network of the zoo: how to build it, and where its published weights come from."""

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flax import nnx

from jaxlens._checks import check_path, one_line, suggest
from jaxlens.model import IMAGENET, Preprocess


@dataclasses.dataclass(frozen=True)
class Weights:
    """One published weights file: a torch state dict, or a file of ours in the package.

    Attributes:
        name: the name of the weights, such as "IMAGENET1K_V2".
        url: the address of the file, or the name of the package's file.
        digest: "sha256:" and the first digits of the file's SHA-256, which torchvision puts into
            the file name; or "gitblob:" and the git blob id of a file in a git repository.
        preprocess: from images in [0, 1] to what the network takes.
        labels: the name of a list of labels; None for weights without classes.
        input_size: height and width of the images that the weights were trained on.
        license: the license, where it is not the network's.
        mebibytes: the size as torchvision publishes it, to three decimal places.
    """

    name: str
    url: str
    digest: str
    preprocess: Preprocess = IMAGENET
    labels: str | None = "imagenet"
    input_size: tuple[int, int] = (224, 224)
    license: str | None = None
    mebibytes: float | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """The smallest and the largest number of bytes that the file may have."""
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
    """One network of the zoo.

    Attributes:
        name: its name in the zoo.
        build: the class or function that builds it; it takes the options of `modelzoo.load`.
        parameters: the number of trained parameters.
        weights: its published weights, the default first; there may be none.
        source: where it and its weights come from, with their license.
        outputs: the number of its outputs.
        show: neurons worth seeing first.
    """

    name: str
    build: Callable[..., nnx.Module]
    parameters: int
    weights: tuple[Weights, ...]
    source: str
    outputs: int = 1000
    show: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """The options of `build`, with their defaults."""
        build, bound = (self.build.func, self.build.keywords) if isinstance(self.build, functools.partial) else (self.build, {})
        # a module class itself shows the signature of Flax's metaclass
        parameters = inspect.signature(build.__init__ if isinstance(build, type) else build).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in bound}

    @property
    def usual(self) -> Weights:
        """The weights whose preprocessing, labels and size hold where none are asked for."""
        return self.weights[0] if self.weights else Weights("none", "none", "", labels=None)

    def find(self, weights: Any) -> Weights | Path | None:
        """Return the published file, the path or the None that `modelzoo.load` is given."""
        if weights is None:
            return None
        if isinstance(weights, os.PathLike):
            return check_path(weights, "weights")
        if not isinstance(weights, str) or not weights or "\0" in weights:
            raise TypeError(f"weights={one_line(repr(weights), 60)} must be a name ({_listed(self.weights)}), a path, or None.")
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
