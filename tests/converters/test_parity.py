"""Every named layer of every family, hand-written and imported, against PyTorch in the same
process.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner

from converters import _compare, convert, from_torch
from jaxlens import _params, activations, modelzoo
from jaxlens.model import IMAGENET, INCEPTION, Model
from jaxlens.modelzoo import inceptionv1
from jaxlens.modelzoo._registry import find
from tests.helpers import mostly_slow
from tools import parity_table

pytest.importorskip("torch")
pytest.importorskip("torchvision")

# The smallest of each family; `python -m tools.parity_table --all` compares all networks and writes
# docs/parity.md.
FAMILIES = {
    "alexnet": {}, "convnext_tiny": {}, "densenet121": {}, "efficientnet_b0": {}, "efficientnet_v2_s": {}, "googlenet": {},
    "inception_v3": {}, "maxvit_t": {}, "mnasnet0_5": {}, "mobilenet_v2": {}, "mobilenet_v3_small": {},
    "regnet_y_400mf": {}, "resnet18": {}, "resnext50_32x4d": {}, "shufflenet_v2_x0_5": {}, "squeezenet1_1": {},
    "swin_t": {"size": (75, 101)}, "swin_v2_t": {"size": (75, 101)}, "vgg11_bn": {}, "vit_b_32": {"image_size": 64},
}  # fmt: skip


@pytest.mark.parametrize("name", mostly_slow(FAMILIES, ("alexnet", "resnet18", "squeezenet1_1")))
def test_every_layer_agrees(name):
    """The hand-written network with PyTorch, layer by layer; and the importer's with it in names,
    parameters and values.
    """
    module, model = parity_table.pair(name, **FAMILIES[name])
    inputs = model.preprocess(jax.random.uniform(jax.random.key(0), (2, *model.input_size, 3)))
    imported = from_torch(module, model.input_size, preprocess=model.preprocess, check=False)
    for network in (model, imported):
        rows = _compare.compare(module, network.forward, network.params, inputs)
        assert [row for row in rows if not row.error <= 1e-4] == []
        extra = {layer for layer in network.layers if not layer.endswith((".grid", ".attention_weights"))}
        assert extra - {row.name for row in rows} == {"input"}
        print(f"{name}: {len(rows)} layers, worst relative error {max(row.error for row in rows):.1e}")
    assert list(imported.layers) == list(model.layers)
    assert {k: v.shape for k, v in imported.layers.items()} == {k: v.shape for k, v in model.layers.items()}
    ours, theirs = dict(_params.named(model.params)), dict(_params.named(imported.params))
    for key in ours.keys() & theirs.keys():
        if ours[key].shape == theirs[key].shape:  # layer_scale and tables of biases have PyTorch's axes in an import
            np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)


def test_every_family_is_here():
    made_by = {name: getattr(find(name).build, "func", find(name).build) for name in modelzoo.names()}
    assert set(made_by.values()) == {made_by[name] for name in (*FAMILIES, "inceptionv1", "lensnet")}


def test_lensnet_has_no_original():
    with pytest.raises(LookupError, match="lensnet is not from PyTorch"):
        parity_table.report("lensnet")


def test_one_perturbed_weight_shows():
    module, model = parity_table.pair("squeezenet1_1")
    state_dict = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    state_dict["features.7.expand3x3.weight"][3, 5, 1, 1] += 1
    wrong = convert(state_dict, model)
    rows = _compare.compare(module, model.forward, wrong, jax.random.uniform(jax.random.key(0), (1, 64, 96, 3)))
    bad = {row.name for row in rows if row.error > 1e-4}
    assert {"features.7.expand3x3", "features.7", "classifier", "logits"} <= bad
    assert not any(name.startswith(("features.3", "features.6")) or name == "features.7.expand1x1" for name in bad)


def test_a_layer_that_one_side_lacks_is_an_infinite_error():
    module = parity_table.reference("squeezenet1_1")
    model = Model.from_function(lambda params, x: jnp.zeros((x.shape[0], 2)), {}, preprocess=IMAGENET, input_size=(224, 224))
    rows = _compare.compare(module, model.forward, {}, jnp.zeros((1, 64, 96, 3)))
    assert {row.error for row in rows} == {float("inf")} and {row.kind for row in rows} == {"missing", "Output"}


def test_the_command_prints_a_line_per_layer(monkeypatch, tmp_path):
    result = CliRunner().invoke(parity_table.main, ["squeezenet1_1", "--size", "33x47"])
    assert result.exit_code == 0, result.output
    assert "features.3.expand1x1_activation   ReLU " in result.output and " 8x11x64 " in result.output
    assert result.output.splitlines()[-1].startswith("squeezenet1_1: 68 layers, 0 above 1e-04; worst: ")
    monkeypatch.setattr(
        parity_table, "report", lambda name, *_, **__: [parity_table.Row("fc", "Linear", (7,), 0.5 * (name > "v"))]
    )
    result = CliRunner().invoke(parity_table.main, ["wide_resnet50_2"])
    assert result.exit_code == 1 and "5.0e-01  <-- differs" in result.output
    result = CliRunner().invoke(parity_table.main, ["resnet18", "--size", "64"])
    assert result.exit_code == 2 and "'64' must be HEIGHTxWIDTH" in result.output
    result = CliRunner().invoke(parity_table.main, ["resnet18", "--all"])
    assert result.exit_code == 2 and "Give the NAME of a network, or --all" in result.output

    result = CliRunner().invoke(parity_table.main, ["--all", "--out", str(tmp_path / "deep" / "parity.md")])
    assert result.exit_code == 1 and "NOT all layers within 1e-04" in result.output
    table = [line for line in (tmp_path / "deep" / "parity.md").read_text().splitlines() if line.startswith("| ")]
    assert len(table) == 1 + 81 and "| resnet18 | 1 | fc | 0.0e+00 | 11,689,512 | 0 |" in table


@pytest.fixture(scope="module")
def lucent():
    pytest.importorskip("lucent")
    return parity_table.reference("inceptionv1")


def ours(module, **options):
    """Our InceptionV1 with Lucent's weights."""
    model = Model.from_nnx(inceptionv1.InceptionV1(**options), preprocess=INCEPTION, input_size=(224, 224))
    return model.replace(params=convert({name: value.numpy() for name, value in module.state_dict().items()}, model))


@pytest.mark.slow
def test_inceptionv1_agrees_with_lucents(lucent):
    rows = parity_table.report("inceptionv1")
    assert [row for row in rows if not row.error <= 1e-4] == []
    # what we name and Lucent computes without a module
    own = {"localresponsenorm0", "localresponsenorm1", "avgpool"} | {f"{name}_pre_relu" for name in inceptionv1.MIXED}
    layers = Model.from_nnx(modelzoo.architecture("inceptionv1"), preprocess=IMAGENET, input_size=(224, 224)).layers
    assert set(layers) - {row.name for row in rows} == {"input", "logits"} | own


@pytest.mark.slow
def test_inceptionv1_has_tensorflows_constants_unless_told_otherwise(lucent):
    images = jax.random.uniform(jax.random.key(0), (1, 64, 96, 3))
    with parity_table._pooling_any_size():
        want = _compare.run_torch(lucent, np.asarray(INCEPTION(images)))["conv2d1_pre_relu_conv"]
    want = np.moveaxis(want, 1, -1)
    errors = []
    for options in ({}, {"lrn": inceptionv1.LUCENT_LRN}):
        with jax.default_matmul_precision("highest"):
            got = activations(ours(lucent, **options), images, ["conv2d1_pre_relu_conv"])["conv2d1_pre_relu_conv"]
        errors.append(_compare.error(np.asarray(got), want))
    assert errors[0] > 1e-2 and errors[1] < 1e-5


@pytest.mark.slow
def test_the_head_of_inceptionv1_as_lucent_runs_it(lucent):
    """On 7x7 maps, for which Lucent's average pool is made; `parity_table.report` replaces it at
    other sizes.
    """
    import torch

    maps = jax.random.uniform(jax.random.key(0), (2, 7, 7, 1024), maxval=0.2)
    handle = lucent.mixed5b.register_forward_hook(lambda *_: torch.from_numpy(np.array(maps).transpose(0, 3, 1, 2).copy()))
    with torch.no_grad():
        want = lucent(torch.zeros(2, 3, 64, 96)).numpy()
    handle.remove()
    with jax.default_matmul_precision("highest"):
        replaced = lambda site, call, *args: maps if site.name == "mixed5b" else call(*args)  # noqa: E731
        got = activations(ours(lucent), jnp.zeros((2, 64, 96, 3)), ["softmax2"], [replaced])["softmax2"]
    assert want.max() < 0.9
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * want.max())


@pytest.mark.slow
def test_the_auxiliary_heads_of_the_inceptions():
    """PyTorch runs them in training only: its heads, on our maps."""
    import torch

    for name, head, fed, size in (
        ("googlenet", "aux1", "inception4a", (64, 96)),
        ("inception_v3", "AuxLogits", "Mixed_6e", (299, 315)),
    ):
        module, model = parity_table.pair(name, size=size, aux_logits=True)
        images = jax.random.uniform(jax.random.key(0), (1, *size, 3))
        with jax.default_matmul_precision("highest"):
            values = activations(model, images, [fed, head])
        with torch.no_grad():
            want = getattr(module, head)(torch.from_numpy(np.array(values[fed]).transpose(0, 3, 1, 2).copy())).numpy()
        assert _compare.error(np.asarray(values[head]), want) < 1e-5
        state_dict = {key: value.numpy() for key, value in module.state_dict().items()}
        convert(state_dict, modelzoo.architecture(name))  # a network without the heads does not mind their tensors
