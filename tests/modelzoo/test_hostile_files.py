"""Files that are damaged, foreign or malicious: one clear error each, nothing executed, no hang."""

import pickle
import random

import h5py
import numpy as np
import pytest
import safetensors.numpy

from jaxlens import _params
from jaxlens.errors import WeightsError
from tests.modelzoo.weight_files import KINDS, THEIRS, load, ours, refused, same, values, write

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

pytestmark = pytest.mark.timeout(120)  # for all that a hang would look like


@pytest.mark.parametrize("name", KINDS)
def test_whole_files_load(folder, imported, tensors, name):
    model = load(folder / name)
    if name == "graph.safetensors":
        assert same(model, imported) and model.labels == tuple("abcde") and model.forward == imported.forward
    else:
        kernel = tensors["features.0.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(values(model)["features.0.kernel"], kernel)
        assert same(model, load(folder / "ours.safetensors"))


@pytest.mark.parametrize("name", KINDS)
def test_truncated(folder, tmp_path, name):
    whole = (folder / name).read_bytes()
    lengths = [0, 1, 7, 8, 9, 100, 1000, *(len(whole) * i // 8 for i in range(1, 8)), len(whole) - 100, len(whole) - 1]
    for length in filter(lambda n: n < len(whole), lengths):
        (tmp_path / name).write_bytes(whole[:length])
        refused(tmp_path / name)


@pytest.mark.parametrize("name", KINDS)
def test_changed_bytes(folder, tmp_path, name):
    """Formats without a checksum cannot tell changed weights; ours must. None may fail in a way of
    its own.
    """
    whole, good = (folder / name).read_bytes(), load(folder / name)
    draw = random.Random(0)
    for _ in range(20):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 10])):  # near the ends, where the structure is, or anywhere
            place = draw.choice([draw.randrange(min(3000, len(whole))), -1 - draw.randrange(3000), draw.randrange(len(whole))])
            damaged[place % len(whole)] = draw.randrange(256)
        (tmp_path / name).write_bytes(damaged)
        try:
            model = load(tmp_path / name)
        except WeightsError:
            refused(tmp_path / name)
        else:
            assert name in THEIRS or same(model, good)


@pytest.mark.parametrize("name", KINDS)
def test_no_file_a_folder_and_other_contents(folder, tmp_path, name):
    assert "There is no weights file" in refused(tmp_path / name)
    (tmp_path / name).mkdir()
    refused(tmp_path / name)
    (tmp_path / name).rmdir()
    for contents in (
        b"<html>404</html>",
        b"\x00" * 4096,
        b"\xff" * 4096,
        b"PK\x03\x04" + b"\x00" * 99,
        b"\x89HDF\r\n\x1a\n" * 9,
    ):
        (tmp_path / name).write_bytes(contents)
        refused(tmp_path / name)
    for other in KINDS:  # the contents of one format under the name of another
        if other.rpartition(".")[2][0] != name.rpartition(".")[2][0]:
            (tmp_path / name).write_bytes((folder / other).read_bytes())
            refused(tmp_path / name)


def other_model(_):
    return {key: value.numpy() for key, value in torchvision.models.mobilenet_v3_small(weights=None).state_dict().items()}


def changed(**changes):
    return lambda tensors: {**tensors, **{key.replace("_", ".", 2): value for key, value in changes.items()}}


STATE_DICTS = {
    "another model": (other_model, r"(?s)5\d missing.*\.\.\. and \d+ more.*\d\d unexpected.*\.\.\. and \d+ more"),
    "renamed": (lambda t: {f"net.{key}.now": value for key, value in t.items()}, r"52 missing"),
    "a hundred more": (lambda t: {**t, **{f"more.{i}": np.zeros(1) for i in range(332)}}, r"\.\.\. and 312 more"),
    "one missing": (lambda t: {key: value for key, value in t.items() if key != "classifier.1.bias"}, "1 missing"),
    "a long name": (lambda t: {**t, "x" * 50_000: np.zeros(1)}, "1 unexpected"),
    "a name of signs": (lambda t: {**t, "a\x1b[2Jb\n" * 99: np.zeros(1)}, "1 unexpected"),
    "nothing": (lambda t: {}, None),
    "turned": (lambda t: {key: value.T for key, value in t.items()}, "misshapen"),
    "integers": (changed(features_0_weight=np.ones((64, 3, 3, 3), np.int8)), "features.0.kernel is int8, floats are needed"),
    "bools": (changed(features_0_bias=np.ones(64, bool)), "features.0.bias is bool, floats are needed"),
    "complex": (changed(features_0_bias=np.ones(64, np.complex64)), "complex64"),
    "too large": (changed(features_0_bias=np.full(64, 1e300)), "too large for float32"),
    "many axes": (changed(features_0_bias=np.ones((1,) * 32)), "misshapen"),
    "empty": (changed(features_0_bias=np.ones(0, np.float32)), "misshapen"),
}


@pytest.mark.parametrize("change", STATE_DICTS)
@pytest.mark.parametrize("name", ["net.pth", "theirs.safetensors", "net.npz", "net.h5"])
def test_state_dicts_that_do_not_fit(tensors, tmp_path, name, change):
    edit, match = STATE_DICTS[change]
    try:
        path = write(tmp_path / name, edit(tensors))
    except (ValueError, OSError, RuntimeError, safetensors.SafetensorError) as error:
        pytest.skip(f"{name} cannot hold this: {error}")
    refused(path, match)


def test_an_integer_is_not_cast_in_our_files_either(folder, tmp_path):
    arrays, metadata = _params.read(folder / "ours.safetensors")
    arrays["features.0.bias"] = arrays["features.0.bias"].view(np.int32)
    refused(ours(tmp_path / "ours.safetensors", arrays, metadata), "is int32, floats are needed")


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["a pickle", "torch", "torch, old format", "npz", "a pickle named npz", "h5"])
def test_a_payload_is_not_executed(tensors, tmp_path, kind):
    sign = tmp_path / "executed"
    payload = Payload(sign)
    path = tmp_path / {"npz": "net.npz", "a pickle named npz": "net.npz", "h5": "net.h5"}.get(kind, "net.pth")
    if kind.startswith("a pickle"):
        path.write_bytes(pickle.dumps(payload))
        act = lambda: pickle.loads(path.read_bytes())  # noqa: E731
    elif kind == "npz":
        np.savez(path, **tensors, more=np.array([payload], dtype=object))
        act = lambda: np.load(path, allow_pickle=True)["more"]  # noqa: E731
    elif kind == "h5":
        write(path, tensors)
        with h5py.File(path, "a") as file:
            file["more"] = np.void(pickle.dumps(payload))
        act = lambda: pickle.loads(h5py.File(path)["more"][()].tobytes())  # noqa: E731
    else:
        torch.save({"features": payload}, path, _use_new_zipfile_serialization=kind == "torch")
        act = lambda: torch.load(path, weights_only=False)  # noqa: E731
    refused(path)
    assert not sign.exists()
    act()  # the control: it does act where it is let
    assert sign.exists()
