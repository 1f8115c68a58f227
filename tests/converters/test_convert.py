"""State dicts to parameters: every tensor accounted for, one rule per layer type."""

import numpy as np
import pytest
from click.testing import CliRunner
from flax import nnx

import converters
from converters.__main__ import main
from jaxlens import _params, modelzoo
from jaxlens.errors import ConversionError

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")


@pytest.fixture(scope="module")
def tensors():
    torch.manual_seed(0)
    return {name: value.numpy() for name, value in torchvision.models.resnet18(weights=None).state_dict().items()}


def test_every_tensor_goes_where_it_belongs(tensors):
    params = dict(_params.named(converters.convert(tensors, modelzoo.architecture("resnet18"))))
    assert len(params) == len([name for name in tensors if not name.endswith("num_batches_tracked")])
    np.testing.assert_array_equal(params["conv1.kernel"], tensors["conv1.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(params["fc.kernel"], tensors["fc.weight"].T)
    np.testing.assert_array_equal(params["layer2.0.downsample.1.var"], tensors["layer2.0.downsample.1.running_var"])
    np.testing.assert_array_equal(params["layer2.0.downsample.1.scale"], tensors["layer2.0.downsample.1.weight"])


def test_missing_unexpected_and_misshapen_tensors_are_all_listed(tensors):
    bad = {name: value for name, value in tensors.items() if name not in ("bn1.weight", "layer1.0.bn1.running_var")}
    bad["head.weight"] = np.zeros((3, 4), np.float32)
    bad["fc.weight"], bad["fc.bias"] = np.zeros((10, 512), np.float32), np.zeros(10, np.float32)
    with pytest.raises(ConversionError) as caught:
        converters.convert(bad, modelzoo.load("resnet18", weights=None), source="mine.pth")
    assert str(caught.value) == (
        "mine.pth does not fit resnet18, which has 102 tensors:"
        "\n  2 missing:\n    bn1.weight (64,)\n    layer1.0.bn1.running_var (64,)"
        "\n  1 unexpected:\n    head.weight (3, 4)"
        "\n  2 misshapen:\n    fc.bias: (10,) given, (1000,) needed\n    fc.weight: (10, 512) given, (1000, 512) needed"
    )


def test_a_prefix_that_all_names_have_is_taken_off_and_named(tensors):
    prefixed = {f"backbone.body.{name}": value for name, value in tensors.items()}
    params = dict(_params.named(converters.convert(prefixed, modelzoo.architecture("resnet18"))))
    np.testing.assert_array_equal(params["conv1.kernel"], tensors["conv1.weight"].transpose(2, 3, 1, 0))
    del prefixed["backbone.body.fc.bias"]
    with pytest.raises(ConversionError, match=r"mine.pth \(without the prefix 'backbone.body.'\) does not fit.*\n.*1 missing"):
        converters.convert(prefixed, modelzoo.architecture("resnet18"), source="mine.pth")


def test_the_network_of_a_training_script_beside_its_losses_and_metrics(tensors):
    script = {f"net.{name}": value for name, value in tensors.items()} | {"loss.weight": np.ones(3), "acc.tp": np.ones(1)}
    with pytest.warns(UserWarning, match=r"the network is what lies under 'net\.'; left out: 'loss.weight', 'acc.tp'"):
        params = dict(_params.named(converters.convert(script, modelzoo.architecture("resnet18"), source="mine.pth")))
    np.testing.assert_array_equal(params["fc.kernel"], tensors["fc.weight"].T)
    script |= {f"teacher.{name}": value for name, value in tensors.items()}
    with pytest.raises(ConversionError, match=r"several times, under 'net\.', 'teacher\.'"):
        converters.convert(script, modelzoo.architecture("resnet18"), source="mine.pth")


def test_the_counter_of_batch_norms_may_be_absent(tensors):
    without = {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    converters.convert(without, modelzoo.architecture("resnet18"))


def test_a_module_of_flax_and_a_layer_without_a_rule():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(3, 4, (3, 3), use_bias=False, rngs=rngs)
            self.norm = nnx.BatchNorm(4, rngs=rngs)
            self.head = nnx.Linear(4, 2, rngs=rngs)

    theirs = torch.nn.ModuleDict(
        {"conv": torch.nn.Conv2d(3, 4, 3, bias=False), "norm": torch.nn.BatchNorm2d(4), "head": torch.nn.Linear(4, 2)}
    )
    state_dict = {name: value.numpy() for name, value in theirs.state_dict().items()}
    params = dict(_params.named(converters.convert(state_dict, Net(nnx.Rngs(0)))))
    np.testing.assert_array_equal(params["conv.kernel"], state_dict["conv.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(params["norm.mean"], state_dict["norm.running_mean"])

    class Odd(Net):
        def __init__(self, rngs):
            super().__init__(rngs)
            self.norm = nnx.Embed(4, 2, rngs=rngs)

    with pytest.raises(ConversionError, match=r"Odd has parameters that no .*: norm\.embedding"):
        converters.convert(state_dict, Odd(nnx.Rngs(0)))


@pytest.mark.parametrize("half", [False, True])
def test_load_takes_checkpoints(tensors, tmp_path, half):
    state_dict = {f"module.{name}": torch.from_numpy(np.array(value)) for name, value in tensors.items()}
    if half:
        state_dict = {name: value.half() if value.ndim else value for name, value in state_dict.items()}
    torch.save({"state_dict": state_dict}, tmp_path / "net.pth")
    params = dict(_params.named(modelzoo.load("resnet18", tmp_path / "net.pth").params))
    assert params["fc.kernel"].dtype == np.float32
    np.testing.assert_allclose(params["fc.kernel"], tensors["fc.weight"].T, atol=1e-4 if half else 0)


def test_the_command_converts_and_reports(tensors, tmp_path):
    torch.save({name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}, tmp_path / "net.pth")
    out = tmp_path / "net.safetensors"
    result = CliRunner().invoke(main, ["resnet18", "--weights", str(tmp_path / "net.pth"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert result.output == f"{out}: resnet18, 102 tensors, 11,699,112 numbers\n"
    params = dict(_params.named(modelzoo.load("resnet18", out).params))
    np.testing.assert_array_equal(params["fc.kernel"], tensors["fc.weight"].T)

    result = CliRunner().invoke(main, ["resnet34", "--weights", str(tmp_path / "net.pth"), "--out", str(out)])
    assert result.exit_code == 1 and "Error: " in result.output and "missing:" in result.output
    result = CliRunner().invoke(main, ["resnet18", "--weights", str(out), "--out", str(tmp_path / "net.pth" / "x.safetensors")])
    assert result.exit_code == 1 and "Error: " in result.output
