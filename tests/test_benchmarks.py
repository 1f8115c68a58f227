"""What benchmarks claim besides times: fair opponents, right counts and fits, whole pages."""

import importlib
import json
import shlex
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchvision

from benchmarks import _lucent, devices, flops, harness, render_vs_torch, report, scaling, suite, torch_best
from jaxlens.model import IMAGENET, Model, site
from jaxlens.optvis import objectives, param, transform
from jaxlens.optvis.render import _step, render
from jaxlens.optvis.transform._resample import rotate_and_scale

SIZE, SEEN, LAYER, CHANNELS = (40, 56), (64, 96), "mixed4a", (3, 1, 7)
KEY = jax.random.key(0)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Several wait for each other where other tests run beside these."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def pair():
    return _lucent.pair("lensnet")


@pytest.fixture(scope="module")
def theta():
    height, width = SIZE
    return np.random.default_rng(0).normal(size=(3, 3, height, width // 2 + 1, 2), scale=0.3).astype(np.float32)


def renderer(pair, theta, channels=CHANNELS, transforms=False):
    module, model = pair
    preprocess, variant = (model.preprocess.scale, model.preprocess.offset), torch_best.Variant()
    options = {"size": SIZE, "seen": SEEN, "preprocess": preprocess, "variant": variant, "transforms": transforms}
    found = torch_best.Renderer(module, LAYER, len(channels), **options)
    with torch.no_grad():
        found.channels.copy_(torch.tensor(channels))
        found.theta.copy_(torch.from_numpy(theta))
    return found


def gradient(found):
    scores = found.score()
    return scores.detach().numpy(), torch.autograd.grad(scores.sum(), found.theta)[0].numpy()


@pytest.mark.slow
def test_pytorch_at_its_best_finds_our_scores_and_gradients(pair, theta):
    scores, slope = gradient(renderer(pair, theta))
    objective, images = objectives.channel(LAYER, CHANNELS).bind(pair[1]), param.image(SIZE[1], SIZE[0])

    def ours(theta):
        return _step.evaluate(pair[1], objective, jax.vmap(images.to_image)(theta[:, None]), SEEN)

    with jax.default_matmul_precision("highest"):
        wanted, own = ours(theta), jax.grad(lambda theta: ours(theta).sum())(theta)
    assert np.all(np.asarray(wanted) > 0.01)
    np.testing.assert_allclose(scores, wanted, rtol=1e-4)
    assert np.linalg.norm(slope - own) < 1e-4 * np.linalg.norm(own)


def test_each_of_its_images_has_its_own_gradient(pair, theta):
    _, slope = gradient(renderer(pair, theta))
    _, other = gradient(renderer(pair, theta, channels=(4, 1, 7)))
    sizes = np.linalg.norm(slope.reshape(3, -1), axis=1)
    assert np.all(sizes > 0)
    np.testing.assert_allclose(slope[1:], other[1:], atol=1e-6 * sizes.max())
    assert np.linalg.norm(slope[0] - other[0]) > 0.1 * sizes[0]


def test_it_renders(pair, theta):
    found = renderer(pair, theta, transforms=True)
    found(CHANNELS, 1)
    low = found.scores.clone()
    images = found(CHANNELS, 8)
    assert images.shape == (3, *SIZE, 3) and images.min() >= 0 and images.max() <= 1
    assert torch.all(found.scores > low)
    np.testing.assert_array_equal(images, found(CHANNELS, 8))  # Adam began anew


def test_its_warp_is_our_chain_of_transforms():
    images = np.random.default_rng(0).uniform(size=(2, *SIZE, 3)).astype(np.float32)
    first, last, scales, angles = [(0, 8), (5, 3)], [(4, 0), (1, 2)], [0.94, 1.08], [0.17, -0.1]
    draws = [torch.tensor(draw) for draw in (first, scales, angles, last)]
    found = torch_best.warp(torch.from_numpy(images).permute(0, 3, 1, 2), *draws).permute(0, 2, 3, 1).numpy()
    for i in range(2):
        (y, x), (v, u) = first[i], last[i]
        wanted = transform.pad(12, mode="constant")(KEY, jnp.asarray(images[i : i + 1]))[
            :, y : y + SIZE[0] + 16, x : x + SIZE[1] + 16
        ]
        bounds = {"max_scale": 1.1, "max_angle": 0.2, "fill": 0.5}
        wanted = rotate_and_scale(wanted, jnp.float32(scales[i]), jnp.float32(angles[i]), **bounds)
        np.testing.assert_allclose(found[i], wanted[0, v : v + SIZE[0] + 12, u : u + SIZE[1] + 12], atol=2e-5)


def test_its_networks_end_at_the_layer():
    torch.manual_seed(0)
    module = torchvision.models.resnet18().eval()
    x, seen = torch.rand(2, 3, 32, 48), []
    module.layer1[1].register_forward_hook(lambda *args: seen.append(args[2]))
    with torch.no_grad():
        module(x)
        net = torch_best.cut(module, "layer1.1")
        torch.testing.assert_close(net(x)["out"], seen[0], rtol=1e-4, atol=1e-5)
    used = {node.target for node in net.graph.nodes if node.op == "call_module"}
    assert not any(isinstance(net.get_submodule(name), torch.nn.BatchNorm2d) for name in used)
    assert not any(name.startswith("layer2") for name in used)
    vit = torchvision.models.VisionTransformer(32, 16, num_layers=3, num_heads=2, hidden_dim=8, mlp_dim=8)
    targets = [str(node.target) for node in torch_best.cut(vit, "encoder.layers.encoder_layer_0").graph.nodes]
    assert any("encoder_layer_0" in name for name in targets) and not any("encoder_layer_1" in name for name in targets)


class Padded(torch.nn.Module):
    """Pads by itself what its layers then leave as it is, as Lucent's InceptionV1 does."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()

    def forward(self, x):
        x = self.conv(torch.nn.functional.pad(x, (1, 1, 1, 1)))
        for pads, stride in (((1, 1, 1, 1), (1, 1)), ((0, 1, 0, 1), (2, 2))):
            x = torch.nn.functional.pad(x, pads, value=float("-inf"))
            x = torch.nn.functional.max_pool2d(x, (3, 3), stride=stride, padding=0, ceil_mode=False)
        return self.last(torch.nn.functional.pad(x, (0, 1, 2, 3)))


@pytest.mark.parametrize("size", [(10, 14), (9, 15)])
def test_its_layers_pad(size):
    torch.manual_seed(0)
    module, x = Padded(), torch.randn(2, 3, *size)
    net = torch_best.cut(module, "last")
    torch.testing.assert_close(net(x)["out"], module(x))
    pads = [node.args[1] for node in net.graph.nodes if node.target is torch.nn.functional.pad]
    assert pads == [(0, 1, 2, 3)]


def test_its_response_norm():
    x = 30 * torch.rand(2, 12, 5, 7)
    wanted = torch.nn.functional.local_response_norm(x, 9, 1e-2, 0.5, 1.0)
    torch.testing.assert_close(torch_best.response_norm(x, 9, 1e-2, 0.5, 1.0), wanted)
    assert not torch.allclose(wanted, x, rtol=0.1)


def attention(_, x):
    x = site("conv", lambda x: jax.lax.conv_general_dilated(x, jnp.ones((3, 2, 3, 5)), (2, 2), "VALID", None, None, NHWC))(x)
    tokens = x.reshape(x.shape[0], -1, 5)
    return site("mixed", lambda t: jnp.einsum("btc,bsc->bts", t, t))(tokens)


NHWC = ("NHWC", "HWIO", "NHWC")


def test_operations_by_hand():
    model = Model.from_function(attention, {}, preprocess=IMAGENET, input_size=(9, 14))
    conv = 2 * (4 * 7 * 5) * (3 * 2 * 3)  # outputs times kernel, a multiplication and an addition
    assert flops.needed(model, "conv", (9, 14)) == 2 * conv
    product = 2 * (28 * 28) * 5
    assert flops.needed(model, "mixed", (9, 14)) == 2 * conv + 3 * product  # both factors have a gradient


@pytest.mark.slow
def test_operations_of_a_network_are_those_that_xla_counts(pair):
    model, ran = pair[1], []
    need = flops.needed(model, LAYER, SEEN)
    options = {"size": SIZE, "fixed_image_size": SEEN, "steps": 1, "batch_size": 2, "progress": False}
    step = flops.lowered(lambda: ran.append(render(model, f"{LAYER}:0-1", **options)))
    assert not ran
    # XLA leaves out the zeros of the padding and counts the image, its transforms and the optimizer
    assert 0.9 * need < flops.counted(step) / 2 < 1.3 * need
    with pytest.raises(RuntimeError, match="steps=1"):
        flops.lowered(lambda: None)


def test_planted_laws_are_found():
    x = [1, 2, 4, 8, 16]
    found = scaling.power(x, [3 * n**0.7 for n in x])
    np.testing.assert_allclose([found["slope"], found["c"], found["r2"]], [0.7, 3, 1])
    found = scaling.line(x, [5 + 2 * n for n in x])
    np.testing.assert_allclose([found["a"], found["b"], found["r2"]], [5, 2, 1])
    assert scaling.line(x, [1, -1, 1, -1, 1])["r2"] < 0.2


def test_collectives_are_seen():
    hlo = "%a = f32[2] all-reduce(%x), to_apply=%all-reduce-sum\n%b = f32[2] all-gather-start(%a)\n%c = f32[2] add(%a, %b)"
    assert devices.collectives(hlo) == {"all-reduce": 1, "all-gather": 1}
    assert devices.collectives("%c = f32[2] add(%all-reduce.1, %b)") == {}


def test_what_fails_is_left_out():
    def fail():
        raise OSError("no compiler")

    failed = {}
    assert list(harness.compare({"a": fail, "b": lambda: None}, 2, failed)) == ["b"]
    assert failed == {"a": "OSError: no compiler"}
    with pytest.raises(OSError):
        harness.compare({"a": fail}, 2)


def planted():
    """A record of `render_vs_torch` with times that were made up."""

    def time(ms):
        return {"median": ms, "low": 0.9 * ms, "high": 1.1 * ms, "steps": 8, "compile_s": 2.0}

    times = {("lucent",): time(80.0), ("torch", "16", "float32", "a"): time(30.0), ("torch", "16", "float32", "b"): time(20.0)}
    times |= {("jaxlens", "16", "float32"): time(25.0), ("torch", "16", "bfloat16", "c"): time(1.0)}
    failed = {("torch", "16", "float32", "d"): "OSError: no | compiler"}
    return render_vs_torch.row("inceptionv1", 16, "float32", times, failed)


def test_the_fastest_variant_counts():
    row = planted()
    assert (row["ratio"], row["torch_ratio"], row["torch_variant"]) == (3.2, 0.8, "b")
    assert row["jaxlens_per_minute"] == pytest.approx(60e3 / 25 / 512)
    assert "0.80x PyTorch (PyTorch: b)" in render_vs_torch.describe(row)


def test_the_page_of_records(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    harness.record("render_vs_torch_cpu", [planted()], steps=8)
    harness.record("other_cpu", [{"name": "x", "value": 0.12345, "seconds": {"ours": {"median": 2.0, "low": 1.0}}}], side=3)
    lines = report.write().read_text().splitlines()
    assert report.write() == tmp_path / "README.md"
    (vs_torch,) = (line for line in lines if line.startswith("| CPU, batch 16 | the best PyTorch"))
    assert "| inceptionv1 0.80x | short | render_vs_torch_cpu |" in vs_torch
    (vs_lucent,) = (line for line in lines if line.startswith("| CPU, batch 16, per neuron | Lucent"))
    assert "| inceptionv1 3.20x | reached | render_vs_torch_cpu |  |" in vs_lucent
    assert sum(report.NO_GPU in line for line in lines) == 3
    assert any("| 20 (18 to 22), b | a 30 | 25 (22.5 to 27.5) | 3.20x | 0.80x |" in line for line in lines)
    assert "- torch 16 float32 d failed: OSError: no \\| compiler" in lines
    assert "| x | 0.123 | 2 |" in lines


def test_the_page_of_our_own_records():
    page = report.page(report.read(report.FOLDER / "results"), {})
    for path in (report.FOLDER / "results").glob("*.json"):
        assert f"### {path.stem}\n" in page
        assert json.loads(path.read_text())["rows"]


def clicks(job):
    path = report.FOLDER / f"{job.name}.py"
    return path.exists() and "@click.command" in path.read_text()


@pytest.mark.parametrize("job", [*filter(clicks, suite.CPU + suite.GPU)], ids=lambda job: job.name)
def test_the_suite_calls_benchmarks_by_their_options(job):
    main = importlib.import_module(f"benchmarks.{job.name}").main
    known = set(torch_best.CPU) | set(torch_best.GPU)  # which of them there are depends on the machine
    for args in (job.args, job.quick, *job.instead):
        words = shlex.split(args or "")
        for place in [i + 1 for i, word in enumerate(words) if word == "--variant"]:
            assert words[place] in known
            words[place] = next(iter(torch_best.VARIANTS))
        if words != ["--help"]:
            main.make_context(job.name, words)


def test_the_script_for_a_gpu_is_bash():
    subprocess.run(["bash", "-n", str(Path(suite.__file__).with_name("gpu.sh"))], check=True)
