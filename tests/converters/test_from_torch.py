"""Any PyTorch module: as people write them, timm's, generators, refused ones, saved imports."""

import contextlib
import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import converters
import jaxlens
from converters import _compare, _fx
from jaxlens import modelzoo
from jaxlens.errors import AssumedWarning, ConversionError
from jaxlens.model import IMAGENET, Preprocess, interceptors, rules
from jaxlens.optvis import objectives, render

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tests.converters import nets  # noqa: E402
from tests.helpers import mostly_slow  # noqa: E402

SIZE = (33, 47)
from_torch = functools.partial(converters.from_torch, preprocess=IMAGENET)
# torch.fx cannot follow these, because they look at sizes or write through views.
EXPORTED = {nets.InPlaceView, nets.LooksAtSizes, nets.Transformer, nets.WeightTricks}
# These take images of one size in PyTorch.
FIXED = {nets.FunctionalReLU, nets.Activations, nets.Norms, nets.MaskedAttention, nets.Shapes, nets.Windows} | EXPORTED


def built(cls, **options):
    """The network with random statistics in its norms, in evaluation mode."""
    torch.manual_seed(0)
    module = cls(**options).eval()
    for child in module.modules():
        if getattr(child, "running_mean", None) is not None:
            nn.init.uniform_(child.running_mean, -0.2, 0.2)
            nn.init.uniform_(child.running_var, 0.5, 1.5)
    return module


def images(count=3, size=SIZE):
    return np.asarray(jax.random.normal(jax.random.key(0), (count, *size, 3)))


def wrong(module, model, *inputs):
    rows = _compare.compare(module, model.forward, model.params, *inputs)
    return [row for row in rows if not row.error <= 1e-4]


@pytest.mark.parametrize("cls", mostly_slow(nets.IDIOMS, nets.IDIOMS[::3]))
def test_idioms(cls):
    module = built(cls)
    several = cls in (nets.TupleOutput, nets.DictOutput)
    with pytest.warns(AssumedWarning, match="output=") if several else contextlib.nullcontext():
        model = from_torch(module, SIZE, check=False)
    assert wrong(module, model, images()) == []
    assert set(model.layers) - set(_compare.run_torch(module, images(1))) <= {"input", "logits"} | {
        name for name in model.layers if "attention_weights" in name
    }
    if cls in EXPORTED:
        with pytest.raises(_fx.Untraceable):
            _fx.trace(module, 1, "")
    if cls not in FIXED:
        assert wrong(module, model, images(1, (41, 52))) == []


def test_a_wrong_weight_shows():
    module = built(nets.Reused)
    model = from_torch(module, SIZE)
    model.params["conv.kernel"] = model.params["conv.kernel"].at[1, 1, 2, 3].add(0.1)
    bad = [row.name for row in wrong(module, model, images())]
    assert {"conv@0", "relu@1", "logits"} <= set(bad) and not {"stem", "relu@0"} & set(bad)


def test_layers_are_pytorchs_calls():
    model = from_torch(built(nets.Reused), SIZE, name="reused")
    assert list(model.layers) == [
        "input",
        "stem",
        "relu@0",
        "conv@0",
        "relu@1",
        "conv@1",
        "relu@2",
        "conv@2",
        "relu@3",
        "logits",
    ]
    layer = model.layers["relu@3"]
    assert layer.kind == "ReLU" and layer.shape == (31, 45, 4)
    assert model.resolve("relu") == "relu@3" and model.name == "reused" and model.input_size == SIZE
    heads = from_torch(built(nets.TupleOutput), SIZE, output=0).layers
    assert {"heads[0]", "heads[1][0]", "heads[1][1]", "heads.a@0", "heads.a@1", "heads.b", "output[1]"} <= set(heads)


@pytest.mark.slow
def test_input_gradients_are_pytorchs():
    for cls in (nets.UNet, nets.SqueezeExcite, nets.Norms, nets.ScaledDotProduct, nets.Resizes, nets.Pads):
        module = built(cls)
        model = from_torch(module, SIZE, check=False)
        x = images(2)
        tx = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
        module(tx).square().sum().backward()
        with jax.default_matmul_precision("highest"):
            got = jax.jit(jax.grad(lambda x: jnp.square(model.forward(model.params, x)).sum()))(x)  # noqa: B023
        assert _compare.error(np.asarray(got), tx.grad.numpy().transpose(0, 2, 3, 1)) < 1e-4, cls.__name__


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet10t", {}),
        ("convnext_atto", {}),
        ("mobilenetv3_small_050", {}),
        ("nf_regnet_b0", {}),
        ("vit_tiny_patch16_224", {"img_size": (48, 64)}),
        ("mixer_s32_224", {"img_size": (64, 96)}),
    ],
)
def test_timm(name, options):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    module = timm.create_model(name, pretrained=False, **options).eval()
    size = options.get("img_size", (64, 96))
    model = converters.from_torch(module, size, check=False)
    x = images(2, size)
    assert wrong(module, model, x) == []
    ran = set(_compare.run_torch(module, x)) - {"output"}
    assert ran <= set(model.layers)
    assert model.preprocess == Preprocess.mean_std(*(tuple(module.pretrained_cfg[key]) for key in ("mean", "std")))


class LSTMHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Sequential(nn.Identity(), nn.LSTM(4, 5, batch_first=True))

    def forward(self, x):
        return self.head(self.conv(x).flatten(2).transpose(1, 2))[0][:, -1]


class Forks(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


class Warps(nn.Module):
    def __init__(self):
        super().__init__()
        self.stn = Warp()

    def forward(self, x):
        return self.stn(x).mean((2, 3))


class Warp(nn.Module):
    def forward(self, x):
        grid = nn.functional.affine_grid(torch.eye(2, 3).expand(x.shape[0], 2, 3), x.shape, align_corners=False)
        return nn.functional.grid_sample(x, grid, align_corners=False)


class Dropping(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5).mean((2, 3))  # training=True unless told


class Noisy(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)) + torch.randn(x.shape[0], 3)


class Whole(nn.Module):
    """Normalises with the statistics of the batch: an image's values depend on the others."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x):
        return self.norm(x).amax((2, 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (LSTMHead, r"'LSTM' in module 'head\.1'\nRecurrent layers are out of scope.*jaxlens/graph/ops .*'Add an operator'"),
        (Forks, "torch.export cannot follow Forks|torch.fx cannot follow Forks"),
        (Warps, r"'grid_sampler?' in module 'stn'"),
        (Dropping, "operator 'dropout'.*dropout in training mode"),
        (Noisy, "'randn' in the network itself|differs by"),
        (Whole, "in operator 'batch_norm' of module 'norm': .*statistics of the batch"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_imported_says_where_and_why(cls, message):
    with pytest.raises(ConversionError, match="(?s)" + message) as caught:
        from_torch(built(cls), SIZE)
    assert len(str(caught.value).splitlines()) < 15 and len(str(caught.value)) < 1500


def test_a_missing_operator_can_be_added(monkeypatch):
    from jaxlens.graph import Tensor
    from jaxlens.graph.ops import OPS

    class Curve(nn.Module):
        def forward(self, x):
            return torch.special.i0(x).mean((2, 3))

    module = built(Curve)
    with pytest.raises(ConversionError, match=r"(?s)'special_i0' in the network itself.*OPS\['special_i0'\] = function"):
        from_torch(module, SIZE)
    monkeypatch.setitem(OPS, "special_i0", lambda input: Tensor(jax.scipy.special.i0(input.data), input.order, input.channel))
    assert wrong(module, from_torch(module, SIZE), images()) == []


def test_the_module_is_left_as_it_was():
    module = built(nets.Norms).train()
    module.norms[4].eval()
    modes = {name: child.training for name, child in module.named_modules()}
    before = {name: value.clone() for name, value in module.state_dict().items()}
    from_torch(module, SIZE)
    assert {name: child.training for name, child in module.named_modules()} == modes
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(child._forward_hooks for child in module.modules())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"module": 3}, TypeError, "module=int must be a torch.nn.Module"),
        (
            {"input_size": (3, 3)},
            ValueError,
            r"does not run in PyTorch on inputs of shape \(2, 3, 3, 3\).*input_size=",
        ),
        ({"example": np.zeros(3)}, TypeError, "example=ndarray must be a tensor with a batch axis of 2 or more"),
        ({"example": torch.zeros(1, 3, 33, 47)}, TypeError, r"example=shape \(1, 3, 33, 47\) must be"),
        (
            {"output": "out"},
            ConversionError,
            r"output=\('out',\) is not a tensor that .* There are: output=\(\)",
        ),
    ],
)
def test_wrong_arguments(arguments, error, message):
    arguments = {"module": built(nets.FunctionalReLU), "input_size": SIZE} | arguments
    with pytest.raises(error, match=message):
        from_torch(**arguments)


def test_dicts_and_tuples():
    model = from_torch(built(nets.DictOutput), SIZE, output="out", labels="abcde")
    assert model(np.zeros((1, *SIZE, 3), np.float32)).shape == (1, 5) and model.labels == tuple("abcde")
    assert model.layers["output[aux]"].shape == (31, 45, 2)
    with pytest.warns(
        AssumedWarning, match=r"the first of what it returns .* output='aux' of .*, output='out' of .*give output="
    ):
        assert from_torch(built(nets.DictOutput), SIZE).layers["logits"].shape == (31, 45, 2)
    second = from_torch(built(nets.TupleOutput), SIZE, output=1)
    assert second.layers["logits"].shape == (2,) and second.layers["output[0]"].shape == (5,)


@pytest.mark.slow
def test_an_import_is_a_model_like_any_other():
    """Ablation, gradient rules through functional ReLUs, rendering."""
    module = built(nets.Reused)
    model = from_torch(module, SIZE, preprocess=Preprocess())
    x = np.abs(images(2)) % 1
    out = jaxlens.activations(model, x, ["logits"], [interceptors.ablate("relu@1", [1, 2])])["logits"]
    calls = []

    def hook(_module, _inputs, output):
        calls.append(0)
        keep = torch.tensor([1.0, 0, 0, 1])[:, None, None]
        return output * keep if len(calls) == 2 else output

    with torch.no_grad():
        plain = module(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
        handle = module.relu.register_forward_hook(hook)
        want = module(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    handle.remove()
    np.testing.assert_allclose(out, want, rtol=1e-4, atol=1e-5)
    assert not np.allclose(plain, want, rtol=1e-2)

    functional = from_torch(built(nets.FunctionalReLU), SIZE, preprocess=Preprocess())
    grads = [
        jax.grad(lambda x, rule=rule: functional.with_gradient_rule(rule)(x)[:, 0].sum())(x) for rule in (None, rules.guided())
    ]
    assert not np.allclose(grads[0], grads[1])
    assert functional.accepts_rule(rules.guided(), ["logits"])
    result = render.render(model, objectives.channel("conv@1", [0, 3]), size=24, steps=2, progress=False)
    assert result.images.shape == (2, 1, 24, 24, 3)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["torchvision"] = sys.modules["converters"] = None  # importing them fails
import jax, numpy as np
import jaxlens
from jaxlens import modelzoo
{values}
for path in sys.argv[1:]:
    np.savez(path + ".npz", **values(modelzoo.load(path)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("cls", [nets.SqueezeExcite, nets.Transformer, nets.DictOutput])
def test_a_saved_import_needs_no_torch(cls, tmp_path):
    options = {"output": "out"} if cls is nets.DictOutput else {}
    outputs = 8 if cls is nets.SqueezeExcite else 5
    model = from_torch(built(cls), SIZE, labels=[f"class {i}" for i in range(outputs)], name="mine", **options)
    path = modelzoo.save(model, tmp_path / "net.safetensors", source="tests")
    code = WITHOUT_TORCH.replace("{values}", VALUES)
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    exec(VALUES, scope := {"jax": jax, "np": np, "jaxlens": jaxlens})
    found, want = np.load(f"{path}.npz"), scope["values"](model)
    assert set(found) == set(want) and len(want) >= 5
    for name, value in want.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    loaded = modelzoo.load(path)
    assert (loaded.name, loaded.labels, loaded.input_size) == (model.name, model.labels, model.input_size)
    assert loaded.forward == model.forward and loaded.preprocess == model.preprocess and loaded.layers == model.layers


VALUES = """
def values(model):
    images = jax.random.uniform(jax.random.key(1), (2, *model.input_size, 3))
    names = [name for name in model.layers if "[" not in name]
    return {name: np.asarray(x) for name, x in jaxlens.activations(model, images, names).items()}
"""


def test_a_model_whose_preprocessing_is_code_cannot_be_saved(tmp_path):
    model = from_torch(built(nets.Reused), SIZE, preprocess=lambda x: x)
    with pytest.raises(ValueError, match=r"preprocess=.* of Reused is code, which no file can hold"):
        modelzoo.save(model, tmp_path / "net.safetensors")


def test_what_no_file_may_ask_for_cannot_be_saved(tmp_path):
    """A pool over 130 x 130 pixels takes that many steps to trace: `load` refuses it, so `save`
    does.
    """
    module = nn.Sequential(nn.AvgPool2d(130), nn.Flatten())
    model = from_torch(module, (130, 260))
    with pytest.raises(
        ValueError, match="Sequential is beyond what modelzoo.load accepts from a file .*'avg_pool2d' would take"
    ):
        modelzoo.save(model, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())
