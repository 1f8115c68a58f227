"""Weights files of every kind that `modelzoo.load` accepts: written, loaded, and refused in
words.
"""

import h5py
import numpy as np
import pytest
import safetensors.numpy

from jaxlens import _params, modelzoo
from jaxlens.errors import WeightsError
from jaxlens.model import IMAGENET

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from converters import from_torch  # noqa: E402 (needs torch)

NAME = "squeezenet1_1"
# What modelzoo.load accepts: weights of a network of the zoo, and an imported network whole.
KINDS = ["net.pth", "net.pt", "theirs.safetensors", "net.npz", "net.h5", "ours.safetensors", "graph.safetensors"]
THEIRS = [name for name in KINDS if name not in ("ours.safetensors", "graph.safetensors")]


def write(path, tensors):
    """A PyTorch state dict of NumPy arrays in the format of the file's name."""
    if path.suffix in (".pth", ".pt"):
        tensors = {key: torch.from_numpy(np.array(value)) for key, value in tensors.items()}
        torch.save(tensors, path, _use_new_zipfile_serialization=path.suffix == ".pth")  # .pt: a plain pickle
    elif path.suffix == ".safetensors":
        safetensors.numpy.save_file(
            {key: np.ascontiguousarray(value) for key, value in tensors.items()}, path, {"format": "pt"}
        )
    elif path.suffix == ".npz":
        np.savez(path, **tensors)
    else:
        with h5py.File(path, "w") as file:
            for key, value in tensors.items():
                file[key.replace(".", "/")] = value
    return path


def random_tensors():
    """The state dict of `NAME` with random weights."""
    torch.manual_seed(0)
    return {key: value.numpy() for key, value in torchvision.models.squeezenet1_1(weights=None).state_dict().items()}


def small_import():
    """An imported network, to be saved whole."""
    torch.manual_seed(0)
    nn = torch.nn
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    return from_torch(nn.Sequential(*layers), (16, 16), labels=list("abcde"), preprocess=IMAGENET)


def write_all(folder, tensors, imported):
    """A good file of every kind."""
    for name in THEIRS:
        write(folder / name, tensors)
    modelzoo.save(modelzoo.load(NAME, folder / "net.npz"), folder / "ours.safetensors")
    modelzoo.save(imported, folder / "graph.safetensors")
    return folder


def load(path):
    return modelzoo.load(path) if path.name.startswith("graph") else modelzoo.load(NAME, path)


def values(model):
    return {key: np.asarray(leaf) for key, leaf in _params.named(model.params)}


def same(one, other):
    one, other = values(one), values(other)
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def refused(path, match=None):
    """Loads a file and returns its error, which names it and fits a screen."""
    with pytest.raises((WeightsError, FileNotFoundError), match=match) as caught:
        load(path)
    message = str(caught.value)
    assert path.name in message and len(message) <= 3000 and message.count("\n") <= 25, message
    assert message.replace("\n", "").isprintable()
    return message


def ours(path, arrays, metadata, sign=True):
    """A file of ours as a liar can write it: the checksum is right."""
    metadata = {**metadata, "checksum": _params._checksum(arrays, metadata)} if sign else metadata
    safetensors.numpy.save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, path, metadata)
    return path
