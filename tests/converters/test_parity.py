"""Every named layer of every network of the zoo, against PyTorch in the same process."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from click.testing import CliRunner

from converters import _compare, convert, parity
from jaxlens import activations, modelzoo
from jaxlens.model import INCEPTION, Model
from jaxlens.modelzoo import inceptionv1

pytest.importorskip("torch")
pytest.importorskip("torchvision")

# What we name and Lucent computes without a module.
OWN = {"localresponsenorm0", "localresponsenorm1", "avgpool"} | {f"{name}_pre_relu" for name in inceptionv1.MIXED}


@pytest.mark.parametrize("name", [name for name in modelzoo.names() if name != "lensnet"])
def test_every_layer_agrees(name):
    if name == "inceptionv1":
        pytest.importorskip("lucent")
    rows = parity.report(name)
    assert [row for row in rows if not row.error <= 1e-4] == []
    layers = Model.from_nnx(modelzoo.architecture(name)).layers
    assert set(layers) - {row.name for row in rows} == {"input", "logits"} | (OWN if name == "inceptionv1" else set())
    print(f"{name}: {len(rows)} layers, worst relative error {max(row.error for row in rows):.1e}")


def test_lensnet_has_no_original():
    with pytest.raises(LookupError, match="lensnet is not from PyTorch"):
        parity.report("lensnet")


def test_one_perturbed_weight_shows():
    module = parity.reference("squeezenet1_1")
    state_dict = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    state_dict["features.7.expand3x3.weight"][3, 5, 1, 1] += 1
    network = modelzoo.architecture("squeezenet1_1")
    model = Model.from_nnx(network).replace(params=convert(state_dict, network))
    rows = parity.compare(module, model, jax.random.uniform(jax.random.key(0), (1, 64, 96, 3)))
    bad = {row.name for row in rows if row.error > 1e-4}
    assert {"features.7.expand3x3", "features.7", "classifier"} <= bad
    assert not any(name.startswith(("features.3", "features.6")) or name == "features.7.expand1x1" for name in bad)


@pytest.fixture(scope="module")
def lucent():
    pytest.importorskip("lucent")
    return parity.reference("inceptionv1")


def ours(module, **options):
    """Our InceptionV1 with Lucent's weights."""
    network = inceptionv1.InceptionV1(**options)
    params = convert({name: value.numpy() for name, value in module.state_dict().items()}, network)
    return Model.from_nnx(network, preprocess=INCEPTION).replace(params=params)


def test_inceptionv1_has_tensorflows_constants_unless_told_otherwise(lucent):
    images = jax.random.uniform(jax.random.key(0), (1, 64, 96, 3))
    want = _compare.run_torch(lucent, np.asarray(INCEPTION(images)))["conv2d1_pre_relu_conv"]
    errors = []
    for options in ({}, {"lrn": inceptionv1.LUCENT_LRN}):
        with jax.default_matmul_precision("highest"):
            got = activations(ours(lucent, **options), images, ["conv2d1_pre_relu_conv"])["conv2d1_pre_relu_conv"]
        errors.append(np.abs(got - want).max() / np.abs(want).max())
    assert errors[0] > 1e-2 and errors[1] < 1e-5


def test_the_head_of_inceptionv1_as_lucent_runs_it(lucent):
    """On 7x7 maps, for which Lucent's average pool is made; `parity.compare` replaces it at other sizes."""
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


def test_a_layer_that_one_side_lacks_is_an_infinite_error():
    module = parity.reference("squeezenet1_1")
    model = Model.from_function(lambda params, x: jnp.zeros((x.shape[0], 2)), {})
    rows = parity.compare(module, model, jnp.zeros((1, 64, 96, 3)))
    assert {row.error for row in rows} == {float("inf")} and {row.kind for row in rows} == {"missing"}


def test_the_command_prints_a_line_per_layer(monkeypatch):
    result = CliRunner().invoke(parity.main, ["squeezenet1_1", "--size", "33x47"])
    assert result.exit_code == 0, result.output
    assert "features.3.expand1x1_activation   ReLU " in result.output and " 8x11x64 " in result.output
    assert result.output.splitlines()[-1].startswith("squeezenet1_1: 67 layers, 0 above 1e-04; worst: ")
    monkeypatch.setattr(parity, "report", lambda *_, **__: [parity.Row("fc", "Linear", (7,), 0.5)])
    result = CliRunner().invoke(parity.main, ["resnet18"])
    assert result.exit_code == 1 and "5.0e-01  <-- differs" in result.output
    result = CliRunner().invoke(parity.main, ["resnet18", "--size", "64"])
    assert result.exit_code == 2 and "'64' must be HEIGHTxWIDTH" in result.output
