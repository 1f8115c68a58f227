"""Files that are damaged, foreign or malicious: one clear error each, nothing executed, no other file read, no hang."""

import io
import json
import pickle
import random
import struct
import zipfile

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

pytestmark = pytest.mark.timeout(120)  # for all that a hang would look like

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


@pytest.fixture(scope="module")
def tensors():
    torch.manual_seed(0)
    return {key: value.numpy() for key, value in torchvision.models.squeezenet1_1(weights=None).state_dict().items()}


@pytest.fixture(scope="module")
def imported():
    torch.manual_seed(0)
    nn = torch.nn
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    return from_torch(nn.Sequential(*layers), (16, 16), labels=list("abcde"), preprocess=IMAGENET)


@pytest.fixture(scope="module")
def folder(tensors, imported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
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
    """Formats without a checksum cannot tell changed weights; ours must. None may fail in a way of its own."""
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


# What a safetensors file may say of itself: its header, or the bytes before it.
LENGTHS = [0, 1, 7, 1 << 20, 99_999_999, 1 << 31, 1 << 60, (1 << 63) - 1, (1 << 64) - 1]
HEADERS = {
    "no JSON": lambda h: b"not JSON",
    "no JSON, but almost": lambda h: json.dumps(h).encode()[:-1] + b",",
    "bytes": lambda h: b"\xff" * 99,
    "a list": lambda h: b"[]",
    "deep lists": lambda h: b"[" * 100_000,
    "deep dicts": lambda h: b'{"a":' * 100_000,
    "nothing": lambda h: b"{}",
    "metadata that is a list": lambda h: {**h, "__metadata__": [1]},
    "metadata that is no text": lambda h: {**h, "__metadata__": {"graph": {"a": 1}}},
    "an entry twice": lambda h: json.dumps(h).encode()[:-1] + b"," + json.dumps(twice(h)).encode()[1:],
}
ENTRIES = {
    "beyond the end": {"data_offsets": [0, 1 << 40]},
    "from beyond the end": {"data_offsets": [1 << 40, (1 << 40) + 256]},
    "backwards": {"data_offsets": [256, 0]},
    "negative": {"data_offsets": [-256, 0]},
    "overlapping": {"data_offsets": [128, 384]},
    "one offset": {"data_offsets": [0]},
    "no offsets": {"data_offsets": None},
    "large offsets": {"data_offsets": [0, 1 << 70]},
    "another shape": {"shape": [8, 8]},
    "no axes": {"shape": []},
    "a negative shape": {"shape": [-64]},
    "a huge shape": {"shape": [1 << 40, 1 << 40]},
    "an overflowing shape": {"shape": [1 << 63, 2]},
    "an empty huge shape": {"shape": [0, 1 << 62], "data_offsets": [0, 0]},
    "a hundred axes": {"shape": [64, *[1] * 99]},
    "no number": {"shape": [float("nan")]},
    "a fraction": {"shape": [64.5]},
    "a text": {"shape": "64"},
    "integers": {"dtype": "I32"},
    "complex": {"dtype": "C64", "shape": [32]},
    "halves": {"dtype": "F16"},
    "eighths": {"dtype": "F8_E4M3", "shape": [256]},
    "an unknown dtype": {"dtype": "O"},
}


def twice(header):
    """An entry of the header, with the place of another."""
    one, other = [key for key in header if key != "__metadata__"][:2]
    return {one: {**header[one], "data_offsets": header[other]["data_offsets"]}}


def header_of(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write_safetensors(path, header, data, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


@pytest.mark.parametrize("name", ["theirs.safetensors", "ours.safetensors", "graph.safetensors"])
def test_a_safetensors_file_that_lies(folder, tmp_path, name):
    header, data = header_of(folder / name)
    path = tmp_path / name
    assert load(write_safetensors(path, header, data))  # the control
    for length in LENGTHS:
        refused(write_safetensors(path, header, data, length))
    for change in HEADERS.values():
        refused(write_safetensors(path, change(header), data))
    key = next(key for key, entry in header.items() if entry.get("shape") in ([64], [4]) and "bias" in key)
    for change in ENTRIES.values():
        refused(write_safetensors(path, {**header, key: {**header[key], **change}}, data))
    refused(write_safetensors(path, header, data + b"more"))
    refused(write_safetensors(path, {**header, key + "\x00": header[key]}, data))


def test_our_files_of_later_versions_and_other_networks(folder, tmp_path):
    arrays, metadata = _params.read(folder / "ours.safetensors")
    path = tmp_path / "ours.safetensors"
    refused(ours(path, arrays, {**metadata, "format_version": "2"}), "has format version 2; this jaxlens reads 1")
    refused(ours(path, arrays, {**metadata, "format": "another"}), "does not fit squeezenet1_1")
    refused(ours(path, {**arrays, "features.0.bias": np.zeros(63, np.float32)}, metadata), "1 misshapen")
    refused(ours(path, arrays, {**metadata, "checksum": "0"}, sign=False), "do not match its checksum")
    for model in ("resnet18", "no such network", "x" * 10_000, "", "../../x", "\x1b[2J"):
        with pytest.raises(WeightsError) as caught:
            modelzoo.load(ours(path, arrays, {**metadata, "model": model}))
        assert len(str(caught.value)) < 3000 and path.name in str(caught.value)


def ours(path, arrays, metadata, sign=True):
    """A file of ours as a liar can write it: the checksum is right."""
    metadata = {**metadata, "checksum": _params._checksum(arrays, metadata)} if sign else metadata
    safetensors.numpy.save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, path, metadata)
    return path


def nodes(*ops):
    """A graph of these operators, each a name and its arguments, their values v0, v1, ...; the last is the result."""
    made = [
        {"out": f"v{i}", "op": op, "args": args, **({"kwargs": more[0]} if more else {})}
        for i, (op, args, *more) in enumerate(ops)
    ]
    return lambda g: {**g, "nodes": [*g["nodes"], *made], "output": {"ref": made[-1]["out"]}}


def at(*path, value):
    """The graph with another value at this place."""

    def change(graph):
        place = graph
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return graph

    return change


def laughs(graph):
    """Tuples of tuples: 10^60 parts from 60 lines."""
    out, made = graph["output"], []
    for i in range(60):
        made.append({"out": f"l{i}", "module": f"l{i}", "kind": "L", "inputs": [], "body": [], "result": [out] * 10})
        out = {"ref": f"l{i}"}
    return {**graph, "nodes": [*graph["nodes"], *made], "output": out}


def nested(depth):
    def change(graph):
        node = {"out": "deep", "op": "relu", "args": [{"ref": "input_1"}]}
        for i in range(depth):
            node = {"out": f"d{i}", "module": "d", "kind": "D", "inputs": [], "body": [node], "result": {"ref": "input_1"}}
        return {**graph, "nodes": [*graph["nodes"], node]}

    return change


X, Y, LARGE = {"ref": "input_1"}, {"ref": "v12"}, 10**15
CALL = {"out": "v5", "op": "softmax", "args": [{"ref": "v4"}, -1]}
SOFTMAX = {"out": "v6", "module": "2", "kind": "Softmax", "inputs": ["v4"], "result": {"ref": "v5"}}
ARGS = ("nodes", 0, "body", 0, "args")
WRONG = [None, True, 0, -1, 1.5, 1e999, 10**400, "", "x" * 100_000, [], [[]], {}, {"a": 1}, {"ref": "nothing"}, {"param": "no"}]
PLACES = [
    ("version",), ("inputs",), ("inputs", 0), ("nodes",), ("nodes", 0), ("nodes", 0, "body"), ("nodes", 0, "body", 0),
    ("nodes", 0, "out"), ("nodes", 0, "module"), ("nodes", 0, "kind"), ("nodes", 0, "inputs"), ("nodes", 0, "inputs", 0),
    ("nodes", 0, "result"), ("nodes", 0, "body", 0, "op"), ("nodes", 0, "body", 0, "out"), ARGS, (*ARGS, 0), (*ARGS, 1),
    (*ARGS, 3), ("nodes", 1, "body", 0, "kwargs"), ("nodes", 1, "body", 0, "kwargs", "eps"), ("output",), ("orders",),
    ("orders", "0.kernel"),
]  # fmt: skip
# Of these values those with which the file is another network, and not damaged.
HONEST = {
    ("version",): [True], ("nodes", 0, "kind"): [""], ("nodes", 0, "inputs"): [[]],
    (*ARGS, 3): [True], ("nodes", 1, "body", 0, "kwargs"): [{}],
    ("nodes", 1, "body", 0, "kwargs", "eps"): [True, 0, -1, 1.5, 1e999],
}  # fmt: skip
GRAPHS = {
    "no JSON": lambda g: "not JSON",
    "cut": lambda g: json.dumps(g)[:-9],
    "a list": lambda g: [],
    "a number": lambda g: 7,
    "deep lists": lambda g: "[" * 100_000,
    "deep dicts": lambda g: '{"a":' * 100_000,
    "a deep argument": at(*ARGS, 3, value=json.loads("[" * 500 + "]" * 500)),
    "deep modules": nested(300),
    "another version": at("version", value=2),
    "a long version": at("version", value="2" * 100_000),
    "no nodes": lambda g: {key: value for key, value in g.items() if key != "nodes"},
    "no inputs": lambda g: {**g, "inputs": [], "nodes": [], "output": []},
    "an unknown operator": nodes(("no_such_operator", [Y])),
    "a hundred unknown operators": nodes(*((f"no_such_operator_{i}" * 99, [Y]) for i in range(100))),
    "eval": nodes(("eval", ["1"])),
    "import": nodes(("__import__", ["os"])),
    "a path": nodes(("os.system", ["true"])),
    "the class of a tensor": nodes(("getattr", [Y, "__class__"])),
    "the inside of a tensor": nodes(("getattr", [Y, "with_data"])),
    "the class of a list": nodes(("size", [Y]), ("getattr", [{"ref": "v0"}, "__class__"])),
    "the fields of an extremum": nodes(("max", [Y, 1]), ("getattr", [{"ref": "v0"}, "_fields"])),
    "unknown keywords": nodes(("relu", [Y], {"self": 1})),
    "a site of its own": at("nodes", 2, value={**SOFTMAX, "body": [{**CALL, "kwargs": {"weights_site": "eval"}}]}),
    "reads what comes later": at(*ARGS, 0, value={"ref": "v12"}),
    "reads itself": at(*ARGS, 0, value={"ref": "v1"}),
    "a module that returns itself": at("nodes", 0, "result", value={"ref": "v2"}),
    "a dtype that is none": nodes(("to", [Y, {"dtype": "object"}])),
    "a structured dtype": nodes(("zeros", [[2]], {"dtype": {"dtype": "i4,(99999999,)f8"}})),
    "half a slice": nodes(("getitem", [Y, {"slice": [1]}])),
    "too few arguments": nodes(("conv2d", [Y])),
    "too many arguments": nodes(("relu", [Y, Y, Y, Y])),
    "axes in no order": at("orders", "0.kernel", value=[0, 0, 1, 2]),
    "axes of another rank": at("orders", "0.kernel", value=[1, 0]),
    "axes beyond": at("orders", "0.kernel", value=[1, 2, 3, 4]),
    "negative axes": at("orders", "0.kernel", value=[-1, 2, 1, 0]),
    "axes in another order": at("orders", "0.kernel", value=[0, 1, 2, 3]),
    "axes of no parameter": at("orders", "more", value=[0]),
    "negative sizes": nodes(("zeros", [-1, 5])),
    "negative strides": at(*ARGS, 3, value=[-1, -1]),
    "strides of zero": at(*ARGS, 3, value=[0, 0]),
    "many groups": at(*ARGS, 6, value=LARGE),
    "more elements than there are": nodes(("view", [Y, LARGE, -1])),
    "broadcast": nodes(("expand", [Y, LARGE, 2, 5])),
    "broadcast in steps": nodes(*(("repeat", [Y if not i else {"ref": f"v{i - 1}"}, 10, 10]) for i in range(50))),
    "filled": nodes(("full", [[LARGE, LARGE], 1.0])),
    "numbered": nodes(("arange", [LARGE])),
    "padded": nodes(("pad", [X, [LARGE] * 4])),
    "padded by reflection": nodes(("pad", [X, [10**6] * 4, "reflect"])),
    "resized": nodes(("interpolate", [X, [10**9, 10**9]], {"mode": "bilinear"})),
    "pooled": nodes(("avg_pool2d", [X, [10**5, 10**5], 1, 10**5])),
    "pooled, adaptively": nodes(("adaptive_avg_pool2d", [X, [LARGE, LARGE]])),
    "pooled by maxima": nodes(("adaptive_max_pool2d", [X, [10**6, 10**6]])),
    "unfolded": nodes(("unfold", [X, 10**5, 1, 10**5])),
    "cut into pieces": nodes(("expand", [Y, 10**6, 2, 5]), ("unbind", [{"ref": "v0"}])),
    "split": nodes(("expand", [Y, 10**6, 2, 5]), ("split", [{"ref": "v0"}, 1])),
    "in chunks": nodes(("expand", [Y, 10**6, 2, 5]), ("chunk", [{"ref": "v0"}, 10**6])),
    "attended": nodes(
        ("expand", [Y, 1, 10**6, 2, 5]), ("view", [{"ref": "v0"}, 1, 2 * 10**6, 5]),
        ("scaled_dot_product_attention", [{"ref": "v1"}] * 3, {"is_causal": True}),
    ),
    "a list without end": at(*ARGS, 3, value=[1] * 100_000),
    "a large number": at(*ARGS, 3, value=10**100),
    "a power": nodes(("pow", [10, 10**10]), ("full", [[1], {"ref": "v0"}])),
    "squares of squares": nodes(*(("mul", [{"ref": f"v{i - 1}"} if i else 10] * 2) for i in range(60))),
    "a list, often": nodes(("mul", [[1], 10**12])),
    "a text, often": nodes(("sub", ["x", "x"], {"alpha": 10**12})),
    "a wide text": nodes(("mod", ["%999999999999d", 1])),
    "a text, doubled": nodes(*(("add", [{"ref": f"v{i - 1}"} if i else "xxxx"] * 2) for i in range(50))),
    "lists of lists": laughs,
    "a tuple of nothing": lambda g: {**g, "output": []},
    "a number as output": lambda g: {**g, "output": 7},
}  # fmt: skip
ABOUT = {
    "no JSON": "not JSON", "nothing": {}, "a list": [], "deep": "[" * 100_000,
    "an output that is not there": {"output": ["logits"]}, "an output that is a number": {"output": 1},
    "an output of lists": {"output": [[1]]}, "no size": {"input_size": None}, "a negative size": {"input_size": [-16, 16]},
    "a size of zero": {"input_size": [0, 16]}, "a fraction": {"input_size": [16.5, 16]}, "a text": {"input_size": "16"},
    "a huge size": {"input_size": [10**9, 10**9]}, "one axis": {"input_size": [16]}, "too small": {"input_size": [1, 1]},
    "other channels": {"channels": 4}, "no channels": {"channels": 0}, "a text of channels": {"channels": "3"},
    "a scale that is no number": {"scale": [float("nan")] * 3}, "an infinite offset": {"offset": [1e999] * 3},
    "two scales": {"scale": [1.0, 1.0]}, "texts": {"scale": ["1", "1", "1"]}, "a long scale": {"scale": [1.0] * 99_999},
    "one label": {"labels": "abcde"}, "numbers": {"labels": [1, 2, 3, 4, 5]},
}  # fmt: skip


@pytest.fixture
def rewritten(folder, tmp_path):
    """Writes the file of the imported network with another graph, or with something else said about it."""
    arrays, metadata = _params.read(folder / "graph.safetensors")

    def write(graph=None, about=None):
        texts = {"graph": graph, "about": about}
        texts = {key: text if isinstance(text, str) else json.dumps(text) for key, text in texts.items() if text is not None}
        return ours(tmp_path / "graph.safetensors", arrays, {**metadata, **texts})

    return write, lambda: json.loads(metadata["graph"]), lambda: json.loads(metadata["about"])


def test_an_honest_change_of_the_graph_loads(rewritten):
    """The control: it is not the writing that fails."""
    write, graph, about = rewritten
    assert load(write(graph(), about())).labels == tuple("abcde")
    shape = nodes(("dim", [Y]), ("mul", [{"ref": "v0"}, [1]]), ("new_ones", [Y, {"ref": "v1"}]))  # x.new_ones((1,) * x.ndim)
    assert load(write(shape(graph())))(np.zeros((1, 16, 16, 3), np.float32)).shape == (1, 1)
    twice = load(write(nodes(("softmax", [Y, 1]), ("mul", [{"ref": "v0"}, 2]))(graph())))
    assert twice(np.zeros((1, 16, 16, 3), np.float32)).sum() == pytest.approx(2)
    assert load(write(nested(20)(graph())))


@pytest.mark.parametrize("damage", GRAPHS)
def test_a_damaged_graph(rewritten, damage):
    write, graph, _ = rewritten
    refused(write(GRAPHS[damage](graph())))


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_wrong_types_in_the_graph(rewritten, place):
    write, graph, _ = rewritten
    for value in WRONG:
        path = write(at(*place, value=value)(graph()))
        if any(value is good or (value == good and type(value) is type(good)) for good in HONEST.get(place, [])):
            assert load(path)
        else:
            refused(path)


@pytest.mark.parametrize("damage", ABOUT)
def test_damage_to_what_is_said_of_the_model(rewritten, damage):
    write, _, about = rewritten
    said = ABOUT[damage]
    refused(write(about={**about(), **said} if isinstance(said, dict) and said else said))


def test_weights_that_the_graph_does_not_fit(folder, tmp_path):
    arrays, metadata = _params.read(folder / "graph.safetensors")
    path = tmp_path / "graph.safetensors"
    refused(ours(path, {key: value for key, value in arrays.items() if key != "0.bias"}, metadata), "1 missing")
    refused(ours(path, {**arrays, "more": np.zeros(3, np.float32)}, metadata), "1 unexpected")
    refused(ours(path, {**arrays, "0.bias": np.zeros(3, np.float32)}, metadata), "does not run with its weights")
    refused(ours(path, {**arrays, "0.kernel": arrays["0.kernel"][0]}, metadata), "an order of 4 axes")
    refused(ours(path, {f"w{i}": np.zeros(1) for i in range(999)}, metadata), r"\.\.\. and 989 more")
    refused(ours(path, arrays, {key: value for key, value in metadata.items() if key != "about"}), "cannot be read")
    refused(ours(path, arrays, {**metadata, "graph": metadata["graph"].replace("relu", "tanh")}, sign=False), "checksum")
    refused(ours(path, arrays, {**metadata, "about": metadata["about"].replace("16", "17")}, sign=False), "checksum")


@pytest.mark.parametrize("name", ["net.npz", "net.pth"])
def test_a_zip_bomb(tmp_path, name):
    """A gigabyte of zeros in a megabyte."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 28,)})
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file, file.open("a.npy", "w") as entry:
        entry.write(header.getvalue())
        for _ in range(16):
            entry.write(bytes(1 << 24))
    refused(tmp_path / name, "claims to hold 268,")


def test_an_npz_of_other_things(tensors, tmp_path):
    path = tmp_path / "net.npz"
    for more in (np.array(["text"]), np.array([b"bytes"]), np.array(["2020-01-01"], "M8[D]"), np.zeros(2, [("a", "f4")])):
        np.savez(path, **tensors, more=more)
        refused(path, "'more' holds no real numbers")
    with zipfile.ZipFile(write(path, tensors), "a") as file:
        file.writestr("notes.txt", "text")
    refused(path, "'notes.txt' holds no real numbers")
    for header in (b"(" * 5000, b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }", b"open('x')"):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n")
        refused(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/b.npy", "")
        file.writestr("a.b.npy", "")
    refused(path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_tensor_that_shows_one_number_many_times(tmp_path, dtype):
    torch.save({"a": torch.zeros(1, dtype=dtype).expand(10**12)}, tmp_path / "net.pth")
    refused(tmp_path / "net.pth", "claims to hold 4,000,000,000,000 bytes")


@pytest.mark.parametrize(
    "value",
    [
        {1: torch.ones(1)},
        {"a": torch.ones(2).to_sparse()},
        {"a": torch.ones(2, device="meta")},
        {"a": torch.ones(2, dtype=torch.complex64)},
        {"state_dict": {"state_dict": {}}},
        {"x" * 10_000: 1},
    ],
    ids=["numbers as names", "sparse", "without data", "complex", "wrapped twice", "long"],
)
def test_a_torch_file_of_other_tensors(tmp_path, value):
    torch.save(value, tmp_path / "net.pth")
    refused(tmp_path / "net.pth")


def _link(file, target):
    file["more"] = target


def _outside(folder):
    """Another file with numbers: what a link must not reach."""
    (folder / "raw").write_bytes(b"secret numbers.." * 4)
    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.ones(64, np.float32)


HDF5 = {
    "an external link": lambda f, d: _link(f, h5py.ExternalLink("other.h5", "/secret")),
    "an external link to a folder": lambda f, d: _link(f, h5py.ExternalLink("other.h5", "/")),
    "a link to nothing": lambda f, d: _link(f, h5py.SoftLink("/nothing")),
    "a link to itself": lambda f, d: _link(f, h5py.SoftLink("/more")),
    "a link through an external link": lambda f, d: (f.create_group("g"), _link(f["g"], h5py.ExternalLink("other.h5", "/"))),
    "data of another file": lambda f, d: f.create_dataset("more", (16,), "f4", external=[(str(d / "raw"), 0, 64)]),
    "a virtual dataset": lambda f, d: f.create_virtual_dataset("more", _virtual(d)),
    "a group in itself": lambda f, d: f.__setitem__("features/more", f["/"]),
    "a group twice": lambda f, d: f.__setitem__("more", f["features"]),
    "texts": lambda f, d: f.__setitem__("more", ["a", "b"]),
    "bytes": lambda f, d: f.__setitem__("more", np.array([b"a"])),
    "rows of any length": lambda f, d: f.create_dataset("more", (2,), h5py.vlen_dtype(np.float32)),
    "references": lambda f, d: f.create_dataset("more", data=[f["features"].ref], dtype=h5py.ref_dtype),
    "records": lambda f, d: f.__setitem__("more", np.zeros(2, [("a", "f4"), ("b", "i4")])),
    "nothing": lambda f, d: f.__setitem__("more", h5py.Empty("f4")),
    "a dtype": lambda f, d: f.__setitem__("more", np.dtype("f4")),
    "a terabyte of nothing": lambda f, d: f.create_dataset("more", (1 << 38,), "f4"),
    "a bomb": lambda f, d: f.create_dataset("more", (1 << 28,), "f4", chunks=(1 << 20,), compression="gzip"),
    "a name twice": lambda f, d: f.__setitem__("features.0.bias", np.zeros(64, np.float32)),
}  # fmt: skip


def _virtual(folder):
    layout = h5py.VirtualLayout((64,), "f4")
    layout[:] = h5py.VirtualSource(folder / "other.h5", "secret", (64,))
    return layout


@pytest.mark.parametrize("what", HDF5)
def test_an_hdf5_file_of_other_things(tensors, tmp_path, what):
    _outside(tmp_path)
    path = write(tmp_path / "net.h5", tensors)
    assert load(path)
    with h5py.File(path, "a") as file:
        HDF5[what](file, tmp_path)
    if what in ("an external link", "data of another file", "a virtual dataset"):
        with h5py.File(path) as file:  # the control: followed, it does reach the other file
            assert file["more"][()].any()
    refused(path)
