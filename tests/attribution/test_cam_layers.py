"""What holds for all class activation maps, their targets, and the choice of a layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxlens
from jaxlens import site
from jaxlens.attribution._grid import Grid, grid_of, token_grid
from jaxlens.attribution.cam._cam import (
    METHODS,
    eigen_cam,
    grad_cam,
    hires_cam,
    random_cam,
)
from jaxlens.attribution.cam._default_layer import _survey
from jaxlens.attribution.cam._scores import ablation_cam, score_cam
from jaxlens.model import IMAGENET, Model
from jaxlens.modelzoo._load import architecture
from jaxlens.optvis import objectives
from tests.attribution.cam_cases import ALL, GRADIENT, SIZE, pooled
from tests.helpers import images, relative_error, small_model

# properties of all


@pytest.mark.slow
@pytest.mark.parametrize("method", ALL, ids=lambda f: f.__name__)
def test_chunks_batches_and_jit(method):
    model, _, _ = pooled()
    x, quiet = images(2, SIZE), {"progress": False} if method in (score_cam, ablation_cam) else {}
    whole = method(model, x, 1, **quiet)
    assert whole.values.shape == (2, 4, 6, 1) and whole.layer == "features" and whole.delta is None
    assert relative_error(method(model, x, 1, batch_size=1, **quiet).values, whole.values) < 1e-4
    assert relative_error(method(model, x[1:2], 1, **quiet).values, whole.values[1:2]) < 1e-4
    inside = jax.jit(lambda x: method(model, x, 1, **quiet))(x)
    assert relative_error(inside.values, whole.values) < 1e-4 and inside.layer == "features"
    if method not in (eigen_cam, random_cam):  # these do not depend on the target
        assert relative_error(method(model, x, 2, **quiet).values, whole.values) > 0.01


def test_random_cam_is_the_keys():
    model, _, _ = pooled()
    x = images(2, SIZE)
    a = jaxlens.activations(model, x, ["features"])["features"]
    first = random_cam(model, x, 0, seed=3).values
    weights = jax.random.uniform(jax.random.key(3), (1, 1, 1, 6), minval=-1, maxval=1)
    assert relative_error(first, (weights * a).sum(-1, keepdims=True)) < 1e-6
    assert relative_error(random_cam(model, x, 0, seed=jax.random.key(3)).values, first) == 0
    assert relative_error(random_cam(model, x, 0, seed=4).values, first) > 0.01


def test_methods_without_gradient_take_none():
    @jax.custom_vjp
    def forward_only(x):
        return x

    def refuse(*args):
        raise RuntimeError("a gradient was taken")

    forward_only.defvjp(lambda x: (x, None), refuse)

    def forward(params, x):
        return forward_only(site("maps", lambda x: 2 * x)(x)).mean((1, 2)) @ jnp.ones((3, 2))

    model = Model.from_function(forward, {}, preprocess=lambda x: x, input_size=SIZE)
    for method in (eigen_cam, score_cam, ablation_cam, random_cam):
        assert method(model, images(1, SIZE), 0, layer="maps").values.shape == (1, *SIZE, 1)
    with pytest.raises(RuntimeError, match="a gradient was taken"):
        grad_cam(model, images(1, SIZE), 0, layer="maps")


def test_targets():
    """Objectives at layers in the middle, and one target per image."""
    model, x = small_model(), images(2)
    deep = grad_cam(model, x, "blocks.1.conv1:3")
    assert deep.layer == "blocks.0" and deep.values.shape[1:3] == model.layers["blocks.0"].shape[:2]
    same = grad_cam(model, x, objectives.channel("blocks.1.conv1", 3), layer="blocks.0").values
    assert relative_error(deep.values, same) == 0
    each = hires_cam(model, x, [1, 4]).values
    assert relative_error(each[1], hires_cam(model, x, 4).values[1]) < 1e-5
    assert relative_error(each[0], hires_cam(model, x, 4).values[0]) > 0.01
    top = np.argmax(model(x), -1)
    assert relative_error(hires_cam(model, x).values, hires_cam(model, x, top).values) == 0


# grids and layers


def test_token_grids():
    assert token_grid(197, (224, 224)) == Grid(14, 14, 1)
    assert token_grid(50, (224, 224)) == Grid(7, 7, 1)
    assert token_grid(196, (224, 224)) == Grid(14, 14, 0)
    assert token_grid(5 + 2 * 3, (32, 48)) == Grid(2, 3, 5)
    assert token_grid(1 + 4 + 37 * 37, (518, 518)) == Grid(37, 37, 5)
    assert token_grid(2 + 8, (8, 16)) == Grid(2, 4, 2)
    assert token_grid(9 + 7 * 7, (224, 224)) is None  # more extra tokens than there ever are
    assert token_grid(20, (224, 192)) is None  # patches of 32 at most divide both sides
    assert grid_of("x", (7, 9, 4), (224, 288)) == Grid(7, 9) and grid_of("x", (512,), (224, 224)) is None
    assert grid_of("a.attention_weights", (12, 50, 50), (224, 224)) is None
    values = jnp.arange(2 * 11 * 3.0).reshape(2, 11, 3)
    maps = Grid(2, 3, 5).maps(values)
    assert maps.shape == (2, 2, 3, 3) and maps[1, 1, 0].tolist() == values[1, 5 + 3].tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [
        ("squeezenet1_1", (96, 128), "features"),
        ("resnet18", (96, 128), "layer4"),
        ("swin_t", (96, 128), "norm"),
        ("lensnet", (64, 80), "mixed5b"),
        ("alexnet", (96, 128), "features"),
        ("vit_b_32", (224, 224), "encoder.layers.encoder_layer_11.ln_1"),
    ],
)
def test_default_layer(name, size, layer):
    model = Model.from_nnx(architecture(name), preprocess=IMAGENET, input_size=(224, 224))  # shapes in place of weights
    assert _survey(model.architecture, size, ("logits",)).default == layer


class Classes(nnx.Module):
    """Features with as many channels as there are classes; then a linear layer after a pool, or
    before it as a convolution.
    """

    def __init__(self, first, rngs):
        self.conv = nnx.Conv(3, 5, (3, 3), rngs=rngs)
        self.head = nnx.Conv(5, 5, (1, 1), rngs=rngs) if first else nnx.Linear(5, 5, rngs=rngs)
        self.drop, self.first = nnx.Dropout(0.5), first

    def __call__(self, x):
        x = self.drop(jax.nn.relu(self.conv(x)))
        return self.head(x).mean((1, 2)) if self.first else self.head(x.mean((1, 2)))


@pytest.mark.parametrize("first", [False, True])
def test_default_layer_is_not_the_class_maps(first):
    """Found by what the target sees, not by counting channels; and not the dropout, which changes
    nothing.
    """
    model = Model.from_nnx(Classes(first, nnx.Rngs(0)), preprocess=IMAGENET, input_size=SIZE)
    found = grad_cam(model, images(1, SIZE), 0)
    assert found.layer == "conv"


def test_layers_that_have_no_map():
    model, x = small_model(), images(1)
    with pytest.raises(ValueError, match=r"layer='head' of small has shape \(5,\).*it is a vector.*'blocks.1' \("):
        grad_cam(model, x, 0, layer="head")
    with pytest.raises(ValueError, match="not on the way to the target"):
        grad_cam(model, x, "blocks.0:3", layer="blocks.1")
    with pytest.raises(LookupError, match="blocks.1"):
        grad_cam(model, x, 0, layer="blocks.1.conv9")
    vector = Model.from_function(
        lambda p, x: x.reshape(len(x), -1) @ jnp.ones((96 * 3, 2)), {}, preprocess=IMAGENET, input_size=SIZE
    )
    with pytest.raises(ValueError, match="has no layer on a grid that the target .* sees whole"):
        grad_cam(vector, images(1, SIZE), 0)


def test_tables_are_whole():
    assert {method.__name__ for method in [*GRADIENT, eigen_cam]} == set(METHODS)
