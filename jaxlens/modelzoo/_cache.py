"""The zoo's cache: converted weights, one file for each published set of them."""

import hashlib
import warnings
from pathlib import Path

from jaxlens import _params
from jaxlens._checks import one_line
from jaxlens._files import cache_dir
from jaxlens.errors import WeightsError
from jaxlens.model import Model
from jaxlens.modelzoo._network import Network, Weights

CACHE_ADVICE = "Set JAXLENS_CACHE to another folder."


def entry_of(network: str, source: Weights, template: Model) -> Path:
    """Return the cache file of published weights.

    Another source file, or a network with other tensors, has another entry.
    """
    shapes = sorted((name, leaf.shape) for name, leaf in _params.named(template.params))
    tensors = hashlib.sha256(repr(shapes).encode()).hexdigest()[:8]
    return cache_dir() / f"{network}-{source.name}-{_short(source)}-{tensors}.safetensors"


def entries_of(network: str, source: Weights) -> list[Path]:
    """Return the cache files of published weights that there are."""
    return list(cache_dir().glob(f"{network}-{source.name}-{_short(source)}-*.safetensors"))


def _short(source: Weights) -> str:
    return source.digest.partition(":")[2][:8]


def read_entry(network: Network, source: Weights, template: Model, entry: Path) -> Model | None:
    """Return the model of a cache entry, or None if there is none or it is damaged.

    A damaged entry is removed. An entry that may not be read is another user's and stays.
    """
    try:
        if not entry.is_file():
            return None
        arrays, metadata = _params.read(entry)
        says = {key: metadata.get(key, "") for key in ("model", "weights", "digest")}
        if (says["model"], says["weights"]) != (network.name, source.name) or not says["digest"].startswith(source.digest):
            raise WeightsError(f"{entry} says that it holds something else: {one_line(says)}.")
        return template.replace(params=_params.fill(template.params, arrays, template.name, str(entry)))
    except WeightsError as error:
        warnings.warn(f"Removed a damaged cache entry and fetching it anew: {error}", RuntimeWarning, stacklevel=4)
        _remove(entry)
    except FileNotFoundError:  # another process removed it just now
        pass
    except OSError as error:
        raise type(error)(f"The cache entry {entry} cannot be read ({one_line(error)}). {CACHE_ADVICE}") from error
    return None


def _remove(entry: Path) -> None:
    try:
        entry.unlink(missing_ok=True)
    except OSError as error:
        raise type(error)(
            f"The cache entry {entry} is damaged and cannot be removed ({one_line(error)}). {CACHE_ADVICE}"
        ) from error
