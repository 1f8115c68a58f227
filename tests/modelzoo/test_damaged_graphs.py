"""Saved imports whose graph, or what is said of the model, is damaged or malicious: one clear error
each.
"""

import json

import numpy as np
import pytest

from jaxlens import _params
from tests.modelzoo.weight_files import load, ours, refused

pytestmark = pytest.mark.timeout(120)  # for all that a hang would look like


def nodes(*ops):
    """A graph of these operators, each a name and its arguments, their values v0, v1, ...; the last
    is the result.
    """
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
    """Writes the file of the imported network with another graph, or with something else said about
    it.
    """
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
