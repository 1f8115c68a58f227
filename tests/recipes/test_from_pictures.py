"""Recipes that start from pictures do what they promise, all pictures of a call in one program."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlens
from jaxlens import recipes
from jaxlens.model import interceptors
from jaxlens.model._run import run
from jaxlens.optvis import objectives, param, render, transform
from tests.helpers import small_model
from tests.recipes.measures import LAYER, QUICK, H, W, activation, cosine, photo, rendered


def test_each_task_has_its_own_parameterization(model, photos):
    objective = objectives.channel(LAYER, 1) - 10 * objectives.input_diff(photos[0])
    options = {"transforms": [], "redirect_steps": 0, "progress": False, "steps": 3, "batch_size": 1}
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
    options = QUICK | {"batch_size": 2}
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
    result = recipes.caricature(model, photos, LAYER, transforms=light, batch_size=2, redirect_steps=0, **QUICK)
    assert result.images.shape == (2, 1, H, W, 3) and len(programs) == 1
    start = param.image(W, H).to_image(param.image(W, H).init(jax.random.key(0)))
    plain = activation(model, start)[0]
    for drawn, original in zip(activation(model, result.images[:, 0]), activation(model, photos), strict=True):
        assert (drawn * original).sum() > 2 * (plain * original).sum()
        assert cosine(drawn, original) > max(0.5, cosine(plain, original))
    assert (result.scores[:, -5:].mean(1) > result.scores[:, 0]).all()


@pytest.mark.slow
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


@pytest.mark.slow
def test_deepdream_adds_what_layers_see(model, photos):
    options = {"octaves": 2, "steps": 4, "jitter": 4, "progress": False}
    result = recipes.deepdream(model, photos[0], ["stem", LAYER], **options)
    assert result.images.shape == (1, 1, H, W, 3)
    change = np.abs(result.images[0, 0] - photos[0])
    assert 0.005 < change.mean() < 0.2
    for layer in ("stem", LAYER):
        assert (activation(model, result.images[:, 0], layer) ** 2).mean() > (activation(model, photos[:1], layer) ** 2).mean()
    both = recipes.deepdream(model, photos, ["stem", LAYER], **options)
    np.testing.assert_allclose(both.images[0], result.images[0], atol=1e-4)
    with pytest.raises(ValueError, match="layers has 2 tasks"):
        recipes.deepdream(model, photos[0], objectives.channel(LAYER, [1, 2]))
    with pytest.raises(TypeError):
        recipes.deepdream(model, photos[0], [objectives.channel(LAYER, 1)])
    one = recipes.deepdream(model, photos[0], objectives.channel(LAYER, 3), **(options | {"jitter": 0}))
    assert activation(model, one.images[:, 0])[..., 3].mean() > activation(model, photos[:1])[..., 3].mean()


@pytest.mark.slow
def test_tiles_are_dreamt_as_much_as_the_whole(model):
    large = (photo(80, 96) * 0.5 + 0.25).astype(np.float32)
    options = {"octaves": 1, "steps": 6, "rate": 0.004, "jitter": 4, "progress": False}
    changes = {}
    for tile in (None, 40):
        result = recipes.deepdream(model, large, LAYER, tile=tile, **options)
        changes[tile] = np.abs(result.images[0, 0] - large).max(-1)
    assert result.scores.shape[1] == 6 * 2 * 3
    assert 0.5 < changes[40].mean() / changes[None].mean() < 2
    assert (changes[40] == 0).mean() < 0.02  # the borders too


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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["L2", "Linf"])
def test_adversarial_examples_stay_in_the_ball(model, photos, norm):
    radius = 0.03 if norm == "Linf" else 1.0
    result = recipes.adversarial(model, photos, 2, radius=radius, norm=norm, progress=False, steps=20)
    change = result.images[:, 0] - photos
    size = np.abs(change).max() if norm == "Linf" else np.sqrt((change**2).sum((1, 2, 3))).max()
    before, after = (np.asarray(model(jnp.asarray(x)))[:, 2] for x in (photos, result.images[:, 0]))
    assert size <= radius + 1e-4 and (after > before).all()


def test_pictures_are_checked(model):
    with pytest.raises(TypeError, match="images has dtype uint8"):
        recipes.invert(model, np.zeros((8, 8, 3), np.uint8), LAYER)
    with pytest.raises(ValueError, match=r"layers=\[\] is empty"):
        recipes.caricature(model, np.zeros((H, W, 3), np.float32), [])


@pytest.mark.slow
def test_attribution_caricatures(model, photos, programs):
    options = {"transforms": [], "redirect_steps": 0, "batch_size": 2} | QUICK
    result = recipes.attribution_caricature(model, photos, "logits:2", ["stem", LAYER], pools="average", **options)
    assert result.images.shape == (2, 1, H, W, 3) and len(programs) == 1
    assert (result.scores[:, -1] > result.scores[:, 0]).all()
    plain = recipes.attribution_caricature(model, photos, "logits:2", LAYER, pools="max", **options)
    weights = jax.grad(lambda x: _head(model, x)[:, 2].sum())(jnp.asarray(activation(model, photos), jnp.float32))
    share = activation(model, photos) * np.asarray(weights)
    start = activation(model, np.full((1, H, W, 3), 0.5, np.float32))
    for drawn, each in zip(activation(model, plain.images[:, 0]), share, strict=True):
        assert (drawn * each).sum() > 2 * (start[0] * each).sum()
    with pytest.raises(ValueError, match="objective has 2 tasks"):
        recipes.attribution_caricature(model, photos, f"{LAYER}:1-2", "stem", **options)
    with pytest.raises(ValueError, match="param must make one image"):
        recipes.caricature(model, photos, LAYER, param=param.image(W, H, 2))
    with pytest.raises(ValueError, match="found no max-pool"):
        flat = small_model().replace(forward=_flat, params={})
        recipes.attribution_caricature(flat, photos, "logits:0", "first", **options)


def _head(model, value):
    """The logits, given what LAYER puts out."""
    images = jnp.zeros((len(value), H, W, 3))
    return run(model, images, ("logits",), (interceptors.replace(LAYER, value),))["logits"]


def _flat(params, images):
    first = jaxlens.site("first", jax.nn.relu)(images)
    return first.mean((1, 2))


@pytest.mark.slow
def test_zoom(model, photos, programs):
    frames = recipes.zoom(model, photos[0], LAYER, frames=3, octaves=1, steps=2, jitter=4, progress=False)
    assert frames.shape == (4, H, W, 3) and frames.min() >= 0 and frames.max() <= 1 and len(programs) == 1
    np.testing.assert_array_equal(frames[0], photos[0])
    still = recipes.zoom(model, photos[0], LAYER, frames=1, factor=1.5, octaves=1, steps=1, rate=1e-6, jitter=0, progress=False)
    # the middle, enlarged: a pixel at distance d from the centre shows what was at d / 1.5
    want = jax.image.resize(photos[0], (round(H * 1.5), round(W * 1.5), 3), "cubic")
    top, left = (round(n * 1.5) // 2 - n // 2 for n in (H, W))
    np.testing.assert_allclose(still[1], np.clip(want[top : top + H, left : left + W], 0, 1), atol=0.02)
    with pytest.raises(ValueError, match="factor=3 must be between"):
        recipes.zoom(model, photos[0], LAYER, factor=3)


@pytest.mark.slow
def test_accentuation_with_the_pictures_own_magnitudes(model, photos):
    options = {"progress": False, "steps": 10, "transforms": [], "redirect_steps": 0, "strength": 0.1}
    result = recipes.accentuate(model, photos, f"{LAYER}:1", layer="stem", keep_magnitude=True, importance=True, **options)
    assert result.importance.shape == (2, 1, H, W) and result.importance.max() > 0
    logits = lambda x: jax.scipy.special.logit(np.clip(x, 1e-3, 1 - 1e-3))  # noqa: E731
    for drawn, photograph in zip(result.images[:, 0], photos, strict=True):
        sizes = [
            np.abs(np.fft.rfft2(np.moveaxis(np.asarray(param.color.from_rgb(logits(x))), -1, 0))) for x in (drawn, photograph)
        ]
        assert np.corrcoef(sizes[0].ravel(), sizes[1].ravel())[0, 1] > 0.999
        assert np.abs(drawn - photograph).mean() > 1e-3


@pytest.mark.slow
def test_styles_in_a_batch(model, photos, programs):
    """Two contents with one style, and one content with two, are each alone."""
    style = np.asarray(jax.random.uniform(jax.random.key(1), (2, H + 8, W + 4, 3)))
    options = {"content_layers": "blocks.1.conv1", "style_layers": "stem", "steps": 3, "progress": False, "batch_size": 2}
    for content, manner in ((photos, style[:1]), (photos[:1], style), (photos, style)):
        programs.clear()
        both = recipes.style_transfer(model, content, manner, **options)
        assert len(programs) <= 1 and both.images.shape == (2, 1, H, W, 3)
        alone = recipes.style_transfer(model, content[-1], manner[-1], **options)
        np.testing.assert_allclose(both.images[1], alone.images[0], atol=1e-3)
    with pytest.raises(ValueError, match="content holds 2 pictures and style 3"):
        recipes.style_transfer(model, photos, np.concatenate([style, style[:1]]), **options)


MOVED = {"steps": 3, "progress": False, "transforms": [transform.pad(2), transform.jitter(4)], "redirect_steps": 0}
ALONE = {
    "invert": lambda m, x: recipes.invert(m, x, "head", batch_size=3, **MOVED),
    "caricature": lambda m, x: recipes.caricature(m, x, LAYER, batch_size=3, **MOVED),
    "accentuate": lambda m, x: recipes.accentuate(m, x, f"{LAYER}:1", layer="stem", batch_size=3, **MOVED),
    "adversarial": lambda m, x: recipes.adversarial(m, x, 2, batch_size=3, **MOVED),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE)
def test_a_picture_does_not_depend_on_its_neighbours(model, photos, name, programs):
    """Alone as in a batch, although targets and balances are measured; and other pictures are no
    new program.
    """
    three = np.stack([*photos, photos[0] * 0.5])
    together = ALONE[name](model, three)
    count = len(programs)
    ALONE[name](model, three[::-1] * 0.9)
    assert len(programs) == count
    np.testing.assert_allclose(ALONE[name](model, three[2:]).images[0], together.images[2], atol=1e-4)


@pytest.mark.slow
def test_the_balance_is_the_ratio_of_gradients(model, photos, monkeypatch):
    """The weight of the distance, against gradients taken here."""
    accentuated = lambda: recipes.accentuate(model, photos[:1], f"{LAYER}:1", layer="stem", strength=2.0)  # noqa: E731
    (_, goal), _ = rendered(monkeypatch, "_accentuation", accentuated)
    p = param.image(init=photos[0])
    theta = p.init(jax.random.key(0))
    theta = theta + 0.01 * jax.random.normal(jax.random.key(0), theta.shape)

    def score(theta, kept):
        pair = jnp.concatenate([p.to_image(theta), jnp.asarray(photos[:1])])
        a = run(model, pair, ("stem", LAYER))
        return jnp.linalg.norm(a["stem"][0] - a["stem"][1], axis=-1).mean() if kept else a[LAYER][:1, ..., 1].mean()

    sizes = [float(jnp.abs(jax.grad(score)(theta, kept)).sum()) for kept in (False, True)]
    weights = [abs(float(np.ravel(leaf)[0])) for leaf in jax.tree.leaves(goal) if np.size(leaf) == 1]
    assert any(abs(weight / (2 * sizes[0] / sizes[1]) - 1) < 0.02 for weight in weights), (weights, sizes)


@pytest.mark.slow
@pytest.mark.parametrize("count", [16])
def test_many_tasks_are_one_program(model, count, programs):
    """Directions, inversions and caricatures in batches: traced once, and as each alone."""
    options = {"steps": 3, "progress": False, "redirect_steps": 0, "batch_size": count, "transforms": []}
    vectors = np.random.default_rng(0).normal(size=(4 * count, 8))
    together = render.render(model, objectives.direction_cossim(LAYER, vectors), param=param.image(W, H), **options)
    assert len(programs) == 1 and together.images.shape[0] == 4 * count
    alone = render.render(model, objectives.direction_cossim(LAYER, vectors[7]), param=param.image(W, H), **options)
    np.testing.assert_allclose(together.images[7], alone.images[0], atol=1e-4)
    programs.clear()
    many = np.stack([photo(H, W) * shade for shade in np.linspace(0.5, 1, count)]).astype(np.float32)
    result = recipes.invert(model, many, LAYER, **options)
    assert len(programs) == 1 and result.images.shape[0] == count
