"""Attention maps and rollouts: by hand, against PyTorch's own attention and gradients, and class
activation maps of tokens.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlens
from jaxlens.attribution.cam._cam import eigen_cam, grad_cam, hires_cam
from jaxlens.attribution.cam._default_layer import _survey
from jaxlens.attribution.cam._scores import ablation_cam
from jaxlens.attribution.transformer._attention import (
    _rolled,
    attention_layers,
    attention_maps,
    attention_rollout,
    gradient_rollout,
    transformer_attribution,
)
from jaxlens.model import IMAGENET, Model
from jaxlens.model.interceptors import ablate
from jaxlens.modelzoo._load import architecture
from jaxlens.modelzoo.vit import VisionTransformer
from tests.helpers import images, relative_error, small_model

site = jaxlens.site
ROLLOUTS = [attention_rollout, gradient_rollout, transformer_attribution]

FIRST = np.float32([[0.5, 0.25, 0.25], [0, 1, 0], [0, 0, 1]])
SECOND = np.float32([[0.2, 0.8, 0], [0.5, 0.5, 0], [0, 0, 1]])


@functools.cache
def planted(heads=1):
    """Two layers of given attention on a class token of 0 and two patches, whose token is their
    grey.

    `t <- t + A t`, and the logits are the class token and its negative.
    """

    def forward(params, x):
        t = x.reshape(-1, 4, 2, 4, 3).mean((1, 3, 4))  # [B, 2]
        t = jnp.concatenate([jnp.zeros_like(t[:, :1]), t], axis=1)
        for i, a in enumerate(params):
            a = jnp.broadcast_to(a[None, None], (len(x), heads, 3, 3))
            a = site(f"block{i}.attention_weights", lambda a: a)(a)
            t = t + jnp.einsum("bhij,bj->bi", a, t) / heads
        return jnp.stack([t[:, 0], -t[:, 0]], axis=1)

    params = (jnp.asarray(FIRST), jnp.asarray(SECOND))
    return Model.from_function(forward, params, preprocess=lambda x: x, input_size=(4, 8))


def greys(*rows):
    """Images of two patches."""
    return jnp.broadcast_to(jnp.repeat(jnp.asarray(rows, jnp.float32), 4, axis=1)[:, None, :, None], (len(rows), 4, 8, 3))


# by hand


def test_attention_maps():
    model, x = planted(2), greys([1, 0.5], [0, 1])
    maps = attention_maps(model, x)
    assert list(maps) == ["block0.attention_weights", "block1.attention_weights"]
    np.testing.assert_array_equal(maps["block0.attention_weights"], np.broadcast_to(FIRST, (2, 2, 3, 3)))
    assert list(attention_maps(model, x, ["block1.attention_weights"])) == ["block1.attention_weights"]
    with pytest.raises(ValueError, match=r"layers=\['logits'\] .* are no attention weights.*block"):
        attention_maps(model, x, ["logits"])


@pytest.mark.slow
@pytest.mark.parametrize("heads", [1, 2])
def test_rollouts_by_hand(heads):
    model, x = planted(heads), greys([1, 0.5])
    # first row of (A_2 + I)/2 (A_1 + I)/2: 0.6 of [0.75, 0.125, 0.125] and 0.4 of [0, 1, 0]
    found = attention_rollout(model, x, 0)
    np.testing.assert_allclose(found.values[0, :, :, 0], [[0.475, 0.075]], rtol=1e-6)
    np.testing.assert_allclose(found.scores, [0.375 + 0.2 * 0.375 + 0.8 * 2], rtol=1e-6)
    assert found.layer == "input" and found.method == "attention_rollout"
    # without the shortcut: 0.2 of [0.5, 0.25, 0.25] and 0.8 of [0, 1, 0]
    np.testing.assert_allclose(attention_rollout(model, x, 0, residual=False).values[0, :, :, 0], [[0.85, 0.05]], rtol=1e-6)
    # tokens [0, 1, 0.5], then [0.375, 2, 1]; d y / d A_2 = tokens in row 0, d y / d A_1 = [1.2,
    # 0.8, 0] x tokens. Each of two heads has half of the gradient, and their mean is half of the
    # sum again.
    step_1 = np.array([[0, 0.3, 0.15], [0, 0.8, 0], [0, 0, 0]]) / heads
    step_2 = np.array([[0.075, 1.6, 0], [0, 0, 0], [0, 0, 0]]) / heads
    relevance = (np.eye(3) + step_2) @ (np.eye(3) + step_1)
    if heads == 1:
        np.testing.assert_allclose(relevance[0, 1:], [3.2025, 0.16125])
    np.testing.assert_allclose(transformer_attribution(model, x, 0).values[0, 0, :, 0], relevance[0, 1:], rtol=1e-5)
    rows = [(np.eye(3) + step) / (np.eye(3) + step).sum(1, keepdims=True) for step in (step_1, step_2)]
    if heads == 1:
        np.testing.assert_allclose((rows[1] @ rows[0])[0, 1:], [0.681276, 0.0415727], rtol=1e-5)
    np.testing.assert_allclose(gradient_rollout(model, x, 0).values[0, 0, :, 0], (rows[1] @ rows[0])[0, 1:], rtol=1e-5)
    # nothing speaks for the other class
    assert not np.asarray(transformer_attribution(model, x, 1).values).any()
    assert not np.asarray(gradient_rollout(model, x, 1).values).any()
    assert relative_error(attention_rollout(model, x, 1).values, found.values) == 0


def test_one_patch_carries_all_the_evidence():
    """Attention is even everywhere; only the third patch holds anything. Rollout cannot know, the
    others do.
    """

    def forward(params, x):
        t = x.reshape(-1, 2, 4, 3, 4, 3).mean((2, 4, 5)).reshape(-1, 6)
        t = jnp.concatenate([jnp.zeros_like(t[:, :1]), t], axis=1)
        for i in range(2):
            a = jnp.full((len(x), 2, 7, 7), 1 / 7)
            t = t + jnp.einsum("bhij,bj->bi", site(f"block{i}.attention_weights", lambda a: a)(a), t)
        return jnp.stack([t[:, 0], -t[:, 0]], axis=1)

    model = Model.from_function(forward, {}, preprocess=lambda x: x, input_size=(8, 12))
    x = jnp.zeros((1, 8, 12, 3)).at[:, 4:, :4].set(1)  # the first patch of the second row
    for method in (gradient_rollout, transformer_attribution):
        found = np.asarray(method(model, x, 0).values)[0, :, :, 0]
        assert found.argmax() == 3 and found[1, 0] > 2 * np.delete(found.ravel(), 3).max(), method.__name__
    even = np.asarray(attention_rollout(model, x, 0).values)
    assert np.ptp(even) < 1e-6


# of what layers of attention become


def reference(attention, drop=0.0, fuse=np.mean, residual=True):
    """Rollout of one image in NumPy, layer by layer: attention is a list of [heads, T, T]."""
    found = np.eye(attention[0].shape[-1])
    for each in attention:
        each = fuse(np.asarray(each, np.float64), axis=0)
        order = np.argsort(each, axis=None, kind="stable")
        each.flat[order[: int(drop * each.size)]] = 0
        each = each + np.eye(len(each)) if residual else each
        found = each / each.sum(1, keepdims=True) @ found
    return found


def attentions(count=2, heads=3, tokens=7, depth=3):
    keys = jax.random.split(jax.random.key(0), depth)
    return [jax.nn.softmax(2 * jax.random.normal(key, (count, heads, tokens, tokens))) for key in keys]


@pytest.mark.parametrize("discard", [0.0, 0.3, 0.9])
def test_every_image_drops_its_own(discard):
    each = attentions()
    fused = tuple(a.mean(1) for a in each)
    found = _rolled(fused, jnp.asarray(int(discard * 49)), "average")
    for image in range(2):
        assert relative_error(found[image], reference([a[image] for a in each], discard)) < 1e-5
        alone = _rolled(tuple(a[image : image + 1] for a in fused), jnp.asarray(int(discard * 49)), "average")
        assert relative_error(found[image], alone[0]) < 1e-6
        if discard:  # a control: it does something to the second image too
            assert relative_error(found[image], reference([a[image] for a in each])) > 0.01
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-6)


def test_order_of_layers_and_empty_rows():
    each = tuple(a.mean(1) for a in attentions())
    none = jnp.asarray(0)
    assert relative_error(_rolled(each[::-1], none, "average"), _rolled(each, none, "average")) > 0.01
    hollow = (jnp.zeros((1, 3, 3)).at[0, 0, 1].set(1.0),)  # rows of zeros keep their token
    assert _rolled(hollow, none, "none")[0].tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 1]]


# networks


@functools.cache
def tiny_vit():
    """A vision transformer of the zoo with random weights: 2 blocks, 2 heads, patches of 4 in an
    image of 8x8.
    """
    module = VisionTransformer(4, 2, 2, 8, image_size=8, num_classes=5)
    model = Model.from_nnx(module, preprocess=IMAGENET, input_size=(8, 8), name="tiny")
    draw = np.random.default_rng(0)
    return model.replace(params=jax.tree.map(lambda leaf: np.float32(draw.normal(0, 0.6, leaf.shape)), model.params))


@pytest.mark.slow
def test_the_zoos_transformer():
    model, x = tiny_vit(), images(2, (8, 8))
    maps = attention_maps(model, x)
    assert [name[-48:] for name in maps] == [f"encoder_layer_{i}.self_attention.attention_weights" for i in (0, 1)]
    for fusion, fuse in (("mean", np.mean), ("max", np.max), ("min", np.min)):
        found = attention_rollout(model, x, fusion=fusion, discard=0.4).values
        assert found.shape == (2, 2, 2, 1)
        for image in range(2):
            known = reference([a[image] for a in maps.values()], 0.4, fuse)[0, 1:]
            assert relative_error(found[image].reshape(-1), known) < 1e-5, fusion
    with pytest.raises((ValueError, TypeError), match="fusion"):
        attention_rollout(model, x, fusion="median")
    for wrong in (1.0, -0.1, True):
        with pytest.raises((ValueError, TypeError), match="discard="):
            gradient_rollout(model, x, 0, discard=wrong)


@pytest.mark.slow
@pytest.mark.parametrize("method", ROLLOUTS, ids=lambda f: f.__name__)
def test_chunks_batches_and_jit(method):
    model, x = tiny_vit(), images(2, (8, 8))
    whole = method(model, x, [0, 1])
    assert relative_error(method(model, x, [0, 1], batch_size=1).values, whole.values) < 1e-5
    assert relative_error(method(model, x[1:2], 1).values, whole.values[1:2]) < 1e-5
    assert relative_error(jax.jit(lambda x: method(model, x, [0, 1]))(x).values, whole.values) < 1e-5
    np.testing.assert_allclose(whole.scores, np.asarray(model(x))[[0, 1], [0, 1]], rtol=1e-5)
    if method is not attention_rollout:
        assert relative_error(method(model, x, [3, 4]).values, whole.values) > 0.01


@pytest.mark.slow
def test_cams_of_tokens():
    model, x = tiny_vit(), images(2, (8, 8))
    found = grad_cam(model, x, 1)
    assert found.layer == "encoder.layers.encoder_layer_1.ln_1" and found.values.shape == (2, 2, 2, 1)
    # a block's tokens and the zoo's own map of them are the same grid
    first = "encoder.layers.encoder_layer_0"
    for method in (grad_cam, hires_cam):
        on_tokens, on_maps = (method(model, x, 1, layer=name).values for name in (first, f"{first}.grid"))
        assert relative_error(on_tokens, on_maps) < 1e-4
    last = "encoder.layers.encoder_layer_1"
    for blind in (last, f"{last}.grid", "encoder.ln", f"{last}.self_attention"):
        with pytest.raises(ValueError, match=r"sees none of its 2x2 positions.*encoder_layer_1\.ln_1' \(the default\)"):
            grad_cam(model, x, 1, layer=blind)
    assert eigen_cam(model, x, 1, layer=last).values.shape == (2, 2, 2, 1)  # which needs no gradient
    with pytest.raises(ValueError, match=r"attention_weights' of tiny has shape \(2, 5, 5\).*see attribution.attention_maps"):
        grad_cam(model, x, 1, layer=f"{last}.self_attention.attention_weights")


@pytest.mark.slow
def test_ablation_cam_of_tokens():
    """Each channel at 0, class token included."""
    model, x, layer = tiny_vit(), images(2, (8, 8)), "encoder.layers.encoder_layer_1.ln_1"
    y, a = np.asarray(model(x))[:, 1], np.asarray(jaxlens.activations(model, x, [layer])[layer])[:, 1:]
    known = 0
    for k in range(8):
        without = np.asarray(jaxlens.activations(model, x, ["logits"], [ablate(layer, k)])["logits"])[:, 1]
        known = known + ((y - without) / np.abs(y))[:, None] * a[:, :, k]
    found = ablation_cam(model, x, 1, progress=False)
    assert found.layer == layer and relative_error(found.values.reshape(2, 4), known) < 1e-4


# imported networks


SIZE = (16, 24)


@functools.cache
def timm_vit(registers=2, pool="token"):
    timm = pytest.importorskip("timm")
    import torch

    from converters import from_torch

    torch.manual_seed(0)
    options = {} if pool == "token" else {"class_token": False, "global_pool": "avg"}
    net = timm.create_model(
        "vit_tiny_patch16_224", img_size=SIZE, patch_size=8, depth=2, reg_tokens=registers, num_classes=5, embed_dim=12,
        num_heads=2, **options,
    ).eval()  # fmt: skip
    for parameter in net.parameters():
        parameter.data = torch.randn_like(parameter) * 0.4
    for block in net.blocks:
        block.attn.fused_attn = False  # so that PyTorch's weights can be seen
    return net, from_torch(net, SIZE, preprocess=jnp.asarray, name="timm", check=False)


def torch_attention(net, x, target):
    """PyTorch's attention weights and their gradients, `[layers, heads, T, T]` of one image."""
    kept = []

    def keep(module, inputs, output):
        output.retain_grad()
        kept.append(output)

    handles = [block.attn.attn_drop.register_forward_hook(keep) for block in net.blocks]
    net(x)[0, target].backward()
    for handle in handles:
        handle.remove()
    return [a.detach().numpy()[0] for a in kept], [a.grad.numpy()[0] for a in kept]


@pytest.mark.slow
@pytest.mark.parametrize(("registers", "pool"), [(2, "token"), (0, "avg")])
def test_against_pytorchs_gradients(registers, pool):
    """A transformer with a class token and registers, and one that averages its patches, in an
    image that is not square.
    """
    net, model = timm_vit(registers, pool)
    import torch

    x = np.asarray(images(2, SIZE))
    extra = 1 + registers if pool == "token" else 0
    row = (lambda r: r[0, extra:]) if pool == "token" else (lambda r: r.mean(0))
    found = [method(model, x, [4, 1]) for method in ROLLOUTS]
    for image, target in enumerate((4, 1)):
        a, g = torch_attention(net, torch.tensor(x[image : image + 1].transpose(0, 3, 1, 2)), target)
        for ours, name in zip(a, attention_layers(model, SIZE), strict=True):
            assert relative_error(attention_maps(model, x)[name][image], ours) < 1e-4
        steps = [np.maximum(each * slope, 0).mean(0) for each, slope in zip(a, g, strict=True)]
        chefer = np.eye(len(steps[0]))
        for step in steps:
            chefer = chefer + step @ chefer
        for method, own, known in zip(
            ROLLOUTS, found, (reference(a), reference([step[None] for step in steps]), chefer), strict=True
        ):
            assert own.values.shape == (2, 2, 3, 1)
            assert relative_error(own.values[image].reshape(-1), row(known)) < 1e-4, method.__name__


@pytest.mark.slow
def test_cams_of_an_imported_transformer():
    """Against pytorch-grad-cam with a hand-written reshape; ours finds the registers and the layer
    itself.
    """
    library = pytest.importorskip("pytorch_grad_cam")
    net, model = timm_vit()
    import torch

    x, classes = np.asarray(images(2, SIZE)), [3, 0]
    tensor = torch.tensor(x.transpose(0, 3, 1, 2))
    targets = [library.utils.model_targets.ClassifierOutputTarget(c) for c in classes]
    for name, method in {"GradCAM": grad_cam, "HiResCAM": hires_cam}.items():
        reshape = lambda t: t[:, 3:].reshape(-1, 2, 3, 12).permute(0, 3, 1, 2)  # noqa: E731
        with getattr(library, name)(model=net, target_layers=[net.blocks[-1].norm1], reshape_transform=reshape) as cam:
            cam(input_tensor=tensor, targets=targets)
            a, g = (
                np.asarray(part[0]) for part in (cam.activations_and_grads.activations, cam.activations_and_grads.gradients)
            )
            known = cam.get_cam_image(tensor, None, targets, a, g, False)
        found = method(model, x, classes)
        assert found.layer == "blocks.1.norm1"
        assert relative_error(found.values[..., 0], known) < 1e-4, name
    averaged = timm_vit(0, "avg")[1]  # here the target sees the last tokens
    assert _survey(averaged.architecture, SIZE, ("logits",)).default == "blocks"


@pytest.mark.slow
def test_an_imported_torchvision_transformer():
    torchvision = pytest.importorskip("torchvision")
    from converters import from_torch

    net = torchvision.models.VisionTransformer(8, 4, 2, 2, 8, 16, num_classes=3).eval()
    model = from_torch(net, (8, 8), name="small", preprocess=IMAGENET, check=False)
    x = images(2, (8, 8))
    assert grad_cam(model, x, 0).layer == "encoder.layers.encoder_layer_1.ln_1"
    assert len(attention_maps(model, x)) == 2
    assert attention_rollout(model, x).values.shape == (2, 2, 2, 1)


# what is refused


@pytest.mark.slow
def test_networks_without_such_attention():
    with pytest.raises(ValueError, match="small has no layer of attention weights"):
        attention_rollout(small_model(), images(1))
    swin = Model.from_nnx(architecture("swin_t"), name="swin_t", preprocess=IMAGENET, input_size=(224, 224))
    with pytest.raises(ValueError, match="swin_t attends within windows.*where .heads, T, T. is needed"):
        attention_maps(swin, images(1, (32, 40)))
    with pytest.raises(ValueError, match="before which there is no attention"):
        transformer_attribution(tiny_vit(), images(1, (8, 8)), "conv_proj:2")
