"""Recipes that draw anew do what they promise: classes, grids, signs, tiles, transparent
pictures.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlens
from jaxlens import recipes
from jaxlens.optvis import objectives, param, render, transform
from tests.helpers import SIZE
from tests.recipes.measures import LAYER, QUICK, H, W, activation, photo, rendered


@pytest.mark.slow
def test_diversity_makes_images_differ(model):
    options = QUICK | {"transforms": [], "redirect_steps": 0, "size": (H, W), "seed": 3}
    apart = recipes.diversity(model, f"{LAYER}:1", LAYER, count=3, weight=1.0, **options)
    alone = render.render(model, f"{LAYER}:1", param=param.image(W, H, 3), **{k: v for k, v in options.items() if k != "size"})
    similar = [render.evaluate(model, objectives.diversity(LAYER), r.images)[0] for r in (apart, alone)]
    assert apart.images.shape == (1, 3, H, W, 3) and similar[0] < 0.8 * similar[1]
    with pytest.raises(ValueError, match="count=1"):
        recipes.diversity(model, f"{LAYER}:1", LAYER, count=1)


@pytest.mark.slow
def test_interpolation_goes_from_one_channel_to_the_other(model):
    options = QUICK | {"transforms": [], "redirect_steps": 0, "size": (H, W)}
    result = recipes.interpolate(model, (LAYER, 1), (LAYER, 4), count=4, **options)
    means = activation(model, result.images[0]).mean((1, 2))
    assert result.images.shape == (1, 4, H, W, 3)
    assert means[0, 1] > means[3, 1] and means[3, 4] > means[0, 4]
    spelt = recipes.interpolate(model, f"{LAYER}:1", f"{LAYER}:4", count=4, **options)
    np.testing.assert_array_equal(spelt.images, result.images)


@pytest.mark.slow
def test_grids_and_signs(model):
    options = {"size": (H, W), "steps": 2, "progress": False}
    grid = recipes.interactions(model, f"{LAYER}:0-1", f"{LAYER}:2-4", **options)
    assert grid.names[4] == f"{LAYER}:1 + {LAYER}:3" and grid.images.shape == (6, 1, H, W, 3)
    signs = recipes.both_signs(model, f"{LAYER}:2,5", **options)
    assert signs.names == (f"{LAYER}:2", f"-{LAYER}:2", f"{LAYER}:5", f"-{LAYER}:5")


@pytest.mark.slow
def test_maco(model):
    result = recipes.maco(model, f"{LAYER}:1", size=(50, 60), steps=20, crops=4, box=(0.9, 0.3), progress=False)
    assert result.images.shape == (1, 1, 50, 60, 3)
    assert result.scores[0, -5:].mean() > result.scores[0, :5].mean()


@pytest.mark.slow
def test_classes(model):
    options = QUICK | {"transforms": [], "redirect_steps": 0}
    grey = param.image(init=np.full((H, W, 3), 0.5, np.float32))
    result = recipes.class_visualization(model, [0, 3], smooth=0.1, shrink=0.1, param=grey, **options)
    assert result.images.shape == (2, 1, H, W, 3) and result.names[1].startswith("logits:3")
    drawn = np.asarray(model(jnp.asarray(result.images[:, 0])))
    start = np.asarray(model(jnp.full((1, H, W, 3), 0.5)))[0]
    assert drawn[0, 0] > start[0] and drawn[1, 3] > start[3]


@pytest.mark.slow
def test_methods_side_by_side(model):
    found = recipes.compare_methods(model, f"{LAYER}:1-2", size=(H, W), steps=8, progress=False)
    assert list(found) == ["pixels", "pixels, penalties", "pixels, transforms", "Fourier", "Fourier, transforms"]
    assert all(r.images.shape == (2, 1, H, W, 3) for r in found.values())
    rough = {name: np.abs(np.diff(r.images, axis=2)).mean() for name, r in found.items()}
    assert rough["pixels, penalties"] < rough["pixels"]


def seam(image):
    """The mean step from one border to the opposite one, over the mean step inside."""
    across = np.abs(image[0] - image[-1]).mean() + np.abs(image[:, 0] - image[:, -1]).mean()
    return across / (np.abs(np.diff(image, axis=0)).mean() + np.abs(np.diff(image, axis=1)).mean())


@pytest.mark.slow
def test_tiles_have_no_seams(model):
    options = {"steps": 60, "progress": False, "redirect_steps": 0, "optimizer": optax.adam(0.2)}
    tile = recipes.tileable(model, f"{LAYER}:1", size=(H, W), **options).images[0, 0]
    pixels = param.image(W, H, fft=False)
    plain = render.render(model, f"{LAYER}:1", param=pixels, transforms=[], **options).images[0, 0]
    assert tile.shape == (H, W, 3) and np.ptp(tile) > 0.3
    assert seam(tile) < 1.5 < seam(plain) or seam(tile) < 0.8 * seam(plain)
    with pytest.raises(ValueError, match="scales="):
        recipes.tileable(model, f"{LAYER}:1", scales=(0, 1))
    with pytest.raises(ValueError, match="angles="):
        recipes.tileable(model, f"{LAYER}:1", angles=-1)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(32, 128), (16, 128), (64, 32)])
@pytest.mark.parametrize(("scales", "angles"), [((0.5, 0.6), 10), ((0.7, 1.2), 90), ((1, 1), 0)])
def test_a_window_of_the_tiling_shows_nothing_else(model, monkeypatch, size, scales, angles):
    """Ones stay ones under the recipe's own transforms, whatever is drawn."""
    _, options = rendered(
        monkeypatch, "_tileable", lambda: recipes.tileable(model, f"{LAYER}:1", size=size, scales=scales, angles=angles)
    )
    chain = jax.jit(transform.compose(options["transforms"]))
    ones = jnp.ones((1, *size, 3))
    for seed in range(10):
        np.testing.assert_allclose(chain(jax.random.key(seed), ones), ones, atol=1e-4)


def test_opacity_goes_where_the_objective_is(model):
    """A network that looks at the left half only leaves the right half transparent."""

    def half(params, images):
        return jaxlens.site("half", lambda x: jax.nn.relu(x[:, :, : W // 2].mean((1, 2))))(images)

    net = jaxlens.Model.from_function(half, {"w": jnp.zeros(1)}, input_size=SIZE, preprocess=jnp.asarray)
    light = {"transforms": [], "redirect_steps": 0, "progress": False}
    result = recipes.transparent(net, "half:0", size=(H, W), steps=150, blur=0.0, **light)
    alpha = result.images[0, 0, ..., 3]
    assert result.images.shape == (1, 1, H, W, 4)
    assert alpha[:, : W // 2 - 4].mean() > alpha[:, W // 2 + 4 :].mean() + 0.3
    with pytest.raises(ValueError, match="weight=2 must be in"):
        recipes.transparent(net, "half:0", weight=2)
    with pytest.raises(ValueError, match="collapse_alpha_random"):
        render.render(net, "half:0", param=param.image(W, H, alpha=True), steps=1, progress=False)


def test_options_that_cannot_be(model, photos):
    with pytest.raises(TypeError, match="param is not an option here"):
        recipes.maco(model, f"{LAYER}:1", param=param.image(8))
    with pytest.raises(ValueError, match="strength=-1"):
        recipes.accentuate(model, photos, f"{LAYER}:1", strength=-1)
    with pytest.raises(ValueError, match="must read"):
        recipes.interpolate(model, "stem", ("stem", 2))
    with pytest.raises(TypeError, match=r"second=3 must be a channel, such as 'mixed4a:3'"):
        recipes.interpolate(model, ("stem", 2), 3)
    with pytest.raises(ValueError, match="must be one channel"):
        recipes.interpolate(model, "stem:0-1", ("stem", 2))
    with pytest.raises(ValueError, match="ids="):
        render.render(model, f"{LAYER}:1", ids=[1, 2])
    with pytest.raises(ValueError, match="channel"):
        render.evaluate(model, objectives.channel(LAYER, 999), photos[:1, None])


@pytest.mark.slow
def test_networks_of_one_channel():
    """Every recipe that draws anew takes the network's own number of channels."""

    def forward(params, x):
        return jaxlens.site("maps", jax.nn.relu)(x * params["w"]).mean((1, 2))

    net = jaxlens.Model.from_function(
        forward, {"w": jnp.ones((1, 1, 1, 1))}, input_size=(16, 20), channels=1, preprocess=jnp.asarray
    )
    grey, quick = photo(16, 20, 1), {"steps": 1, "progress": False, "transforms": [], "redirect_steps": 0}
    assert recipes.invert(net, grey, "maps", **quick).images.shape == (1, 1, 16, 20, 1)
    assert recipes.caricature(net, grey, "maps", **quick).images.shape == (1, 1, 16, 20, 1)
    assert recipes.accentuate(net, grey, "maps:0", **quick).images.shape == (1, 1, 16, 20, 1)
    assert recipes.deepdream(net, grey, "maps", octaves=1, steps=1, jitter=0, progress=False).images.shape == (1, 1, 16, 20, 1)
    assert recipes.tileable(net, "maps:0", size=(16, 20), steps=1, progress=False).images.shape == (1, 1, 16, 20, 1)
    assert recipes.diversity(net, "maps:0", "maps", count=2, size=(16, 20), **quick).images.shape == (1, 2, 16, 20, 1)


@pytest.mark.slow
def test_class_names_are_tasks_of_their_own(model):
    named = model.replace(labels=("cat", "dog", "emu", "fox", "gnu"))
    both = recipes.both_signs(named, objectives.class_logit("logits", ["cat", "dog"]), size=(H, W), steps=1, progress=False)
    assert [name[0] == "-" for name in both.names] == [False, True, False, True]
