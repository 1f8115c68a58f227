"""Recipes do what they promise, on a small network and pictures made here; all pictures of a call in one program."""

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
    both = recipes.deepdream(model, photos, ["stem", LAYER], **options)
    np.testing.assert_allclose(both.images[0], result.images[0], atol=1e-4)
    with pytest.raises(ValueError, match="layers has 2 tasks"):
        recipes.deepdream(model, photos[0], objectives.channel(LAYER, [1, 2]))
    with pytest.raises(TypeError):
        recipes.deepdream(model, photos[0], [objectives.channel(LAYER, 1)])
    one = recipes.deepdream(model, photos[0], objectives.channel(LAYER, 3), **(options | {"jitter": 0}))
    assert activation(model, one.images[:, 0])[..., 3].mean() > activation(model, photos[:1])[..., 3].mean()


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


def test_diversity_makes_images_differ(model):
    options = QUICK | {"transforms": [], "redirect_steps": 0, "size": (H, W), "seed": 3}
    apart = recipes.diversity(model, f"{LAYER}:1", LAYER, count=3, weight=1.0, **options)
    alone = render.render(model, f"{LAYER}:1", param=param.image(W, H, 3), **{k: v for k, v in options.items() if k != "size"})
    similar = [render.evaluate(model, objectives.diversity(LAYER), r.images)[0] for r in (apart, alone)]
    assert apart.images.shape == (1, 3, H, W, 3) and similar[0] < 0.8 * similar[1]
    with pytest.raises(ValueError, match="count=1"):
        recipes.diversity(model, f"{LAYER}:1", LAYER, count=1)


def test_interpolation_goes_from_one_channel_to_the_other(model):
    options = QUICK | {"transforms": [], "redirect_steps": 0, "size": (H, W)}
    result = recipes.interpolate(model, (LAYER, 1), (LAYER, 4), count=4, **options)
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
    result = recipes.maco(model, f"{LAYER}:1", size=(50, 60), steps=20, crops=4, box=(0.9, 0.3), progress=False)
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
    with pytest.raises(ValueError, match=r"layers=\[\] is empty"):
        recipes.caricature(model, np.zeros((H, W, 3), np.float32), [])


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


def test_classes(model):
    options = QUICK | {"transforms": [], "redirect_steps": 0}
    grey = param.image(init=np.full((H, W, 3), 0.5, np.float32))
    result = recipes.class_visualization(model, [0, 3], smooth=0.1, shrink=0.1, param=grey, **options)
    assert result.images.shape == (2, 1, H, W, 3) and result.names[1].startswith("logits:3")
    drawn = np.asarray(model(jnp.asarray(result.images[:, 0])))
    start = np.asarray(model(jnp.full((1, H, W, 3), 0.5)))[0]
    assert drawn[0, 0] > start[0] and drawn[1, 3] > start[3]


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


class Stop(Exception):
    """Carries what a recipe was about to render."""


def rendered(monkeypatch, module, recipe):
    """The arguments that a recipe gives to `render`, which does not run."""

    def stop(*args, **options):
        raise Stop(args, options)

    with monkeypatch.context() as patch, pytest.raises(Stop) as stopped:
        patch.setattr(f"jaxlens.recipes.{module}.render", stop)
        recipe()
    return stopped.value.args


@pytest.mark.parametrize("size", [(32, 128), (16, 128), (64, 32)])
@pytest.mark.parametrize(("scales", "angles"), [((0.5, 0.6), 10), ((0.7, 1.2), 90), ((1, 1), 0)])
def test_a_window_of_the_tiling_shows_nothing_else(model, monkeypatch, size, scales, angles):
    """Ones stay ones under the recipe's own transforms, whatever is drawn."""
    _, options = rendered(
        monkeypatch, "_endless", lambda: recipes.tileable(model, f"{LAYER}:1", size=size, scales=scales, angles=angles)
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


@pytest.mark.parametrize("name", ALONE)
def test_a_picture_does_not_depend_on_its_neighbours(model, photos, name, programs):
    """Alone as in a batch, although targets and balances are measured; and other pictures are no new program."""
    three = np.stack([*photos, photos[0] * 0.5])
    together = ALONE[name](model, three)
    count = len(programs)
    ALONE[name](model, three[::-1] * 0.9)
    assert len(programs) == count
    np.testing.assert_allclose(ALONE[name](model, three[2:]).images[0], together.images[2], atol=1e-4)


def test_the_balance_is_the_ratio_of_gradients(model, photos, monkeypatch):
    """The weight of the distance, against gradients taken here."""
    accentuated = lambda: recipes.accentuate(model, photos[:1], f"{LAYER}:1", layer="stem", strength=2.0)  # noqa: E731
    (_, goal), _ = rendered(monkeypatch, "_near", accentuated)
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


def test_options_that_cannot_be(model, photos):
    with pytest.raises(TypeError, match="param is not an option here"):
        recipes.maco(model, f"{LAYER}:1", param=param.image(8))
    with pytest.raises(ValueError, match="strength=-1"):
        recipes.accentuate(model, photos, f"{LAYER}:1", strength=-1)
    with pytest.raises(TypeError):
        recipes.interpolate(model, "stem", ("stem", 2))
    with pytest.raises(ValueError, match="ids="):
        render.render(model, f"{LAYER}:1", ids=[1, 2])
    with pytest.raises(ValueError, match="channel"):
        render.evaluate(model, objectives.channel(LAYER, 999), photos[:1, None])


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


def test_class_names_are_tasks_of_their_own(model):
    named = model.replace(labels=("cat", "dog", "emu", "fox", "gnu"))
    both = recipes.both_signs(named, objectives.class_logit("logits", ["cat", "dog"]), size=(H, W), steps=1, progress=False)
    assert [name[0] == "-" for name in both.names] == [False, True, False, True]


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
