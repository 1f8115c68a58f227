"""Recipes do what they promise, on a small network and pictures made here; all pictures of a call in one program."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlens
from jaxlens import recipes
from jaxlens.optvis import objectives, param, render, transform
from jaxlens.optvis.render import _program
from tests.helpers import SIZE, small_model
from tests.optvis.test_param import photo

H, W = SIZE
LAYER = "blocks.0.conv2"
QUICK = {"progress": False, "steps": 60}


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def photos():
    return np.stack([photo(H, W), photo(H, W)[::-1, ::-1]])


@pytest.fixture
def programs(monkeypatch):
    """How often a step is traced."""
    traces = []
    score = _program.score

    def counted(*args):
        traces.append(1)
        return score(*args)

    monkeypatch.setattr(_program, "score", counted)
    _program.step.clear_cache()
    return traces


def activation(model, images, layer=LAYER):
    return np.asarray(jaxlens.activations(model, jnp.asarray(images), [layer])[layer], np.float64)


def cosine(a, b):
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def test_each_task_has_its_own_parameterization(model, photos):
    objective = objectives.channel(LAYER, 1) - 10 * objectives.input_diff(photos[0])
    options = {"transforms": [], "redirect_steps": 0, "progress": False, "steps": 3, "batch": 1}
    together = render.render(model, objective, param=param.each([param.image(init=p) for p in photos]), **options)
    assert together.images.shape == (2, 1, H, W, 3)
    for i, p in enumerate(photos):
        alone = render.render(model, objective, param=param.image(init=p), **options)
        np.testing.assert_allclose(together.images[i], alone.images[0], atol=1e-5)
        np.testing.assert_allclose(together.scores[i], alone.scores[0], rtol=1e-4)
    with pytest.raises(ValueError, match="param.each holds 2 parameterizations, but the objective has 3 tasks"):
        render.render(model, f"{LAYER}:0-2", param=param.each([param.image(init=p) for p in photos]))
    with pytest.raises(ValueError, match="differ in kind or size"):
        param.each([param.image(init=photos[0]), param.image(init=photos[0][:20])])
    with pytest.raises(ValueError, match="hold no numbers that could differ"):
        param.each([param.image(8), param.image(8)])


def test_inversion_finds_what_the_layer_saw(model, photos, programs):
    options = QUICK | {"batch": 2}
    result = recipes.invert(model, photos, LAYER, **options)
    assert len(programs) == 1
    assert (result.scores[:, -1] > 0.2 * result.scores[:, 0]).all()  # minus a distance
    found, wanted = activation(model, result.images[:, 0]), activation(model, photos)
    similar = np.array([[cosine(a, b) for b in wanted] for a in found])
    assert similar.diagonal().min() > 0.85 > 0.6 > similar[0, 1]
    recipes.invert(model, photos[::-1] * 0.9, LAYER, **options)
    assert len(programs) == 1  # other pictures: the same program


def test_inversion_of_a_vector(model, photos):
    result = recipes.invert(model, photos[0], "head", **QUICK)
    assert result.scores[0, -1] > 0.1 * result.scores[0, 0]


def test_caricature_raises_dot_and_cosine(model, photos, programs):
    light = [transform.pad(2), transform.jitter(4)]
    result = recipes.caricature(model, photos, LAYER, transforms=light, batch=2, redirect_steps=0, **QUICK)
    assert result.images.shape == (2, 1, H, W, 3) and len(programs) == 1
    start = param.image(W, H).to_image(param.image(W, H).init(jax.random.key(0)))
    plain = activation(model, start)[0]
    for drawn, original in zip(activation(model, result.images[:, 0]), activation(model, photos), strict=True):
        assert (drawn * original).sum() > 2 * (plain * original).sum()
        assert cosine(drawn, original) > max(0.5, cosine(plain, original))
    assert (result.scores[:, -5:].mean(1) > result.scores[:, 0]).all()


@pytest.mark.parametrize("optimizer", [None, optax.lbfgs()], ids=["adam", "lbfgs"])
def test_style_transfer_lowers_the_style_loss_and_keeps_the_content(model, photos, optimizer):
    style = np.asarray(jax.random.uniform(jax.random.key(1), (H + 8, W + 4, 3)))
    deep, layers = "blocks.1.conv1", ["stem", LAYER]
    options = {"optimizer": optimizer, "steps": 50, "progress": False}
    result = recipes.style_transfer(model, photos[0], style, content_layers=deep, style_layers=layers, **options)
    drawn = result.images[0, 0]

    def loss(image):
        total = 0.0
        for layer in layers:
            g, t = (np.asarray(objectives.gram(jnp.asarray(activation(model, x[None], layer)))) for x in (image, style))
            total += ((g - t) ** 2).sum() / (t**2).sum()
        return total

    assert loss(drawn) < loss(photos[0]) / 5
    content, own, other = (activation(model, x[None], deep) for x in (photos[0], drawn, style[:H, :W]))
    assert cosine(own, content) > cosine(other, content)


def test_style_transfer_can_keep_colours(model, photos):
    style = np.asarray(jax.random.uniform(jax.random.key(1), (H, W, 3)))
    layers = {"content_layers": "blocks.1.conv1", "style_layers": "stem"}
    result = recipes.style_transfer(model, photos[0], style, preserve_color=True, steps=5, progress=False, **layers)
    change = result.images[0, 0] - photos[0]
    inside = ((result.images[0, 0] > 0) & (result.images[0, 0] < 1)).all(-1)
    assert np.abs(change).max() > 0.01 and np.abs(np.ptp(change, axis=-1))[inside].max() < 1e-5
    with pytest.raises(ValueError, match="start='middle' must be"):
        recipes.style_transfer(model, photos[0], style, start="middle", **layers)


def test_deepdream_adds_what_layers_see(model, photos):
    options = {"octaves": 2, "steps": 4, "jitter": 4, "progress": False}
    result = recipes.deepdream(model, photos[0], ["stem", LAYER], **options)
    assert result.images.shape == (1, 1, H, W, 3)
    change = np.abs(result.images[0, 0] - photos[0])
    assert 0.005 < change.mean() < 0.2
    for layer in ("stem", LAYER):
        assert (activation(model, result.images[:, 0], layer) ** 2).mean() > (activation(model, photos[:1], layer) ** 2).mean()
    tiled = recipes.deepdream(model, photos[0], LAYER, tile=24, **options)
    assert tiled.images.shape == result.images.shape and tiled.scores.shape[1] == 4 * 2 * 2
    one = recipes.deepdream(model, photos[0], objectives.channel(LAYER, 3), **options)
    assert activation(model, one.images[:, 0])[..., 3].mean() > activation(model, photos[:1])[..., 3].mean()


def test_a_dream_takes_up_its_guide(model, photos):
    guide = np.asarray(jax.random.uniform(jax.random.key(5), (44, 52, 3)))
    options = {"octaves": 1, "steps": 8, "jitter": 0, "progress": False}
    target = activation(model, guide[None])[0].reshape(-1, 8)

    def likeness(images):
        return (activation(model, images[:, 0]).reshape(-1, 8) @ target.T).max(1).mean()

    guided = recipes.deepdream(model, photos[0], LAYER, guide=guide, **options)
    assert likeness(guided.images) > likeness(photos[None, :1])
    with pytest.raises(ValueError, match="guide and an objective exclude each other"):
        recipes.deepdream(model, photos[0], objectives.channel(LAYER, 3), guide=guide)


def test_diversity_makes_images_differ(model):
    options = QUICK | {"transforms": [], "redirect_steps": 0, "size": (H, W), "seed": 3}
    apart = recipes.diversity(model, f"{LAYER}:1", LAYER, batch=3, weight=1.0, **options)
    alone = render.render(model, f"{LAYER}:1", param=param.image(W, H, 3), **{k: v for k, v in options.items() if k != "size"})
    similar = [render.evaluate(model, objectives.diversity(LAYER), r.images)[0] for r in (apart, alone)]
    assert apart.images.shape == (1, 3, H, W, 3) and similar[0] < 0.8 * similar[1]
    with pytest.raises(ValueError, match="batch=1"):
        recipes.diversity(model, f"{LAYER}:1", LAYER, batch=1)


def test_interpolation_goes_from_one_channel_to_the_other(model):
    options = QUICK | {"transforms": [], "redirect_steps": 0, "size": (H, W)}
    result = recipes.interpolate(model, (LAYER, 1), (LAYER, 4), batch=4, **options)
    means = activation(model, result.images[0]).mean((1, 2))
    assert result.images.shape == (1, 4, H, W, 3)
    assert means[0, 1] > means[3, 1] and means[3, 4] > means[0, 4]


def test_grids_and_signs(model):
    options = {"size": (H, W), "steps": 2, "progress": False}
    grid = recipes.interactions(model, f"{LAYER}:0-1", f"{LAYER}:2-4", **options)
    assert grid.names[4] == f"{LAYER}:1 + {LAYER}:3" and grid.images.shape == (6, 1, H, W, 3)
    signs = recipes.both_signs(model, f"{LAYER}:2,5", **options)
    assert signs.names == (f"{LAYER}:2", f"-{LAYER}:2", f"{LAYER}:5", f"-{LAYER}:5")


def test_maco(model):
    result = recipes.maco(model, f"{LAYER}:1", size=(50, 60), steps=20, crops=4, box=(0.3, 0.6), progress=False)
    assert result.images.shape == (1, 1, 50, 60, 3)
    assert result.scores[0, -5:].mean() > result.scores[0, :5].mean()


@pytest.mark.parametrize("layer", [None, "stem"])
def test_accentuation_stays_near(model, photos, layer):
    options = {"progress": False, "steps": 20, "transforms": [], "redirect_steps": 0}
    near, free = (
        recipes.accentuate(model, photos, f"{LAYER}:1", layer=layer, strength=s, **options).images for s in (3.0, 0.0)
    )
    assert near.shape == (2, 1, H, W, 3)
    scores = [activation(model, x[:, 0])[..., 1].mean() for x in (photos[:, None], near, free)]
    moved = [np.abs(x[:, 0] - photos).mean() for x in (near, free)]
    assert scores[2] > scores[0] and moved[0] < 0.5 * moved[1]


@pytest.mark.parametrize("norm", ["L2", "Linf"])
def test_adversarial_examples_stay_in_the_ball(model, photos, norm):
    radius = 0.03 if norm == "Linf" else 1.0
    result = recipes.adversarial(model, photos, 2, radius=radius, norm=norm, progress=False, steps=20)
    change = result.images[:, 0] - photos
    size = np.abs(change).max() if norm == "Linf" else np.sqrt((change**2).sum((1, 2, 3))).max()
    before, after = (np.asarray(model(jnp.asarray(x)))[:, 2] for x in (photos, result.images[:, 0]))
    assert size <= radius + 1e-4 and (after > before).all()


def test_evolution(model):
    result = render.render(model, f"{LAYER}:1", size=(H, W), steps=3, thresholds=(1, 3), progress=False)
    images, names = recipes.evolution(result)
    assert images.shape == (2, H, W, 3) and names == ["step 1", "step 3"]
    with pytest.raises(ValueError, match="result has no snapshots"):
        recipes.evolution(render.render(model, f"{LAYER}:1", size=(H, W), steps=1, progress=False))


def test_pictures_are_checked(model):
    with pytest.raises(TypeError, match="images has dtype uint8"):
        recipes.invert(model, np.zeros((8, 8, 3), np.uint8), LAYER)
    with pytest.raises(ValueError, match="layers is empty"):
        recipes.caricature(model, np.zeros((H, W, 3), np.float32), [])
