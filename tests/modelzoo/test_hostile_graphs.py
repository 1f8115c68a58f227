"""Saved imports that would take for ever, or whose modules have names that no module has."""

import json

import numpy as np
import pytest

from jaxlens import _params, modelzoo
from jaxlens.errors import NonFiniteWarning, WeightsError
from jaxlens.graph import Graph, GraphForward
from jaxlens.graph._ir import Module, Op, Param, Ref
from jaxlens.model import Model, Preprocess

pytestmark = pytest.mark.timeout(120)
PLAIN = Preprocess()


def of(*nodes, **params):
    """A model of these operators, one after another."""
    graph = Graph(("x",), nodes, Ref(nodes[-1].out))
    return Model(params=params, forward=GraphForward(graph), preprocess=PLAIN, input_size=(8, 8))


def written(path, model):
    """The file that `modelzoo.save` would write, had it no bounds."""
    about = {"output": [], "scale": [1.0], "offset": [0.0], "input_size": [8, 8], "channels": 3, "labels": None}
    _params.write(path, model.params, {"model": "m", "graph": model.forward.graph.to_json(), "about": json.dumps(about)})
    return path


FACTORS = {
    "a factor": Op("y", "interpolate", (Ref("x"),), (("scale_factor", 1e6),)),
    "factors": Op("y", "interpolate", (Ref("x"), None, (1.0, 1e9)), (("mode", "bilinear"),)),
    "infinity": Op("y", "interpolate", (Ref("x"), None, float("inf"))),
    "nan": Op("y", "interpolate", (Ref("x"), None, float("nan"))),
    "ATen's": Op("y", "upsample_bilinear2d", (Ref("x"), None, False, (1e6, 1e6))),
}


@pytest.mark.parametrize("name", FACTORS)
def test_a_large_factor_is_refused_before_it_is_used(name, tmp_path):
    model = of(FACTORS[name])
    with pytest.raises(ValueError, match="by a factor of"):
        modelzoo.save(model, tmp_path / "net.safetensors")
    with pytest.raises(WeightsError, match="is damaged: its graph does not run with its weights"):
        modelzoo.load(written(tmp_path / "net.safetensors", model))


def test_a_tensor_that_no_memory_holds_is_refused(tmp_path):
    for padding in ((10**6, 10**3), (10**4, 10**4)):
        weights = np.ones((3, 3, 3, 3), np.float32)
        model = of(Op("y", "conv2d", (Ref("x"), Param("w"), None, (1, 1), padding)), w=weights)
        with pytest.raises(ValueError, match="elements"):
            modelzoo.save(model, tmp_path / "net.safetensors")
        with pytest.raises(WeightsError, match="is damaged: its graph does not run with its weights"):
            modelzoo.load(written(tmp_path / "net.safetensors", model))


def test_a_graph_of_very_many_operators_is_refused(tmp_path):
    nodes = [Op(f"v{i}", "neg", (Ref("x" if not i else f"v{i - 1}"),)) for i in range(6001)]
    model = of(*nodes)
    with pytest.raises(ValueError, match="a graph of 6,001 operators"):
        modelzoo.save(model, tmp_path / "net.safetensors")
    with pytest.raises(WeightsError, match="6,001 operators; up to 6,000 are read"):
        modelzoo.load(written(tmp_path / "net.safetensors", model))


@pytest.mark.parametrize("name", ["..", "a..b", "../../x", "/etc/x", "a.", "a.\x1b[2J", "~x"])
def test_a_module_has_a_name_that_pytorch_allows(name, tmp_path):
    body = (Op("y", "neg", (Ref("x"),)),)
    model = of(Module("z", name, "Neg", (Ref("x"),), body, Ref("y")))
    with pytest.raises(WeightsError, match="is no path of a module"):
        modelzoo.load(written(tmp_path / "net.safetensors", model))


def test_what_load_would_refuse_is_refused_at_save(tmp_path):
    model = of(Module("z", "/x", "Neg", (Ref("x"),), (Op("y", "neg", (Ref("x"),)),), Ref("y")))
    with pytest.raises(ValueError, match="is beyond what modelzoo.load accepts from a file .*no path of a module"):
        modelzoo.save(model, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_nan_are_named_at_load(tmp_path):
    model = of(Op("y", "mul", (Ref("x"), Param("w"))), w=np.array([1, np.nan, 1], np.float32).reshape(3, 1, 1))
    path = modelzoo.save(model, tmp_path / "net.safetensors")
    with pytest.warns(NonFiniteWarning, match=r"(?s)net\.safetensors has weights that are NaN or infinite.* w$"):
        modelzoo.load(path)
