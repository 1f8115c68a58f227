"""Rendering: one program, the same picture in any company, nothing lost, early errors."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlens
from jaxlens.errors import ImageTooSmallError, NonFiniteError, NonFiniteWarning, UnknownLayerError
from jaxlens.optvis import objectives, param, render, transform
from jaxlens.optvis.render import _step, _tasks
from tests.helpers import relative_error, small_model

LAYER = "blocks.0.conv2"
QUICK = {"steps": 3, "size": (24, 28), "progress": False}
TWO = QUICK | {"batch_size": 2}


def channels(which):
    return objectives.channel(LAYER, which)


@pytest.fixture(scope="module")
def model():
    return small_model(input_size=(24, 28))


@pytest.fixture
def traces(monkeypatch):
    """Counts how often Python traces the score of a task."""
    count = []
    plain = _step._task_score
    monkeypatch.setattr(_step, "_task_score", lambda *args: (count.append(1), plain(*args))[1])
    _step.step.clear_cache()
    return count


@pytest.mark.slow
def test_shapes_range_and_scores(model):
    result = render.render(model, channels([0, 5, 7]), thresholds=(1, 3), **QUICK)
    assert result.images.shape == (3, 1, 24, 28, 3) and result.images.dtype == np.float32
    assert result.images.min() >= 0 and result.images.max() <= 1
    assert result.scores.shape == (3, 3) and np.isfinite(result.scores).all()
    assert result.names == (f"{LAYER}:0", f"{LAYER}:5", f"{LAYER}:7")
    assert set(result.snapshots) == {1, 3}
    assert np.array_equal(result.snapshots[3], result.images)
    assert not np.array_equal(result.snapshots[1], result.images)
    assert result.finished and (result.failed_at == -1).all()


def test_one_program(model, traces):
    """Other channels, weights, seeds, steps and weights of penalties: no new trace. Another layer:
    one.
    """
    penalty = objectives.total_variation()
    render.render(model, channels([0, 1]) - 0.1 * penalty, **TWO)
    first = len(traces)
    assert first >= 1
    render.render(model, channels([4, 2]) - 0.1 * penalty, **TWO)
    render.render(model, channels([4, 2]) - 3 * penalty, **TWO)
    render.render(model, channels([4, 2]) - 3 * penalty, **TWO, seed=7)
    render.render(model, channels([4, 2]) - 3 * penalty, **TWO | {"steps": 5})
    render.render(small_model(9, input_size=(24, 28)), channels([4, 2]) - 3 * penalty, **TWO)
    render.render(model, channels([1, 2, 3]) - 3 * penalty, **TWO)  # the last batch is padded
    assert len(traces) == first
    render.render(model, objectives.channel("blocks.0.conv1", [4, 2]) - 3 * penalty, **TWO)
    assert len(traces) == 2 * first  # control: the counter counts


def test_a_picture_does_not_depend_on_its_neighbours(model):
    """Alone, among others, in reverse, in padded batches: the same picture after 8 steps."""
    settings = QUICK | {"steps": 8}
    many = render.render(model, channels(range(8)), **settings, batch_size=8).images
    backwards = render.render(model, channels(range(7, -1, -1)), **settings, batch_size=8).images[::-1]
    batches = render.render(model, channels(range(8)), **settings, batch_size=3).images
    alone = render.render(model, channels(5), **settings).images[0]
    listed = render.render(model, [f"{LAYER}:5", "blocks.0.conv1:5"], **settings).images[0]
    assert np.abs(backwards - many).max() < 1e-4
    assert np.abs(batches - many).max() < 1e-4
    assert np.abs(alone - many[5]).max() < 1e-4
    assert np.abs(listed - many[5]).max() < 1e-4
    other = render.render(model, channels(5), **settings, seed=1).images[0]
    assert np.abs(other - many[5]).max() > 1e-2  # control: the pictures can differ


@pytest.mark.slow
def test_the_same_on_four_devices(model, tmp_path):
    """Over 4 virtual CPU devices, in a process of its own; and nothing is exchanged between
    them.
    """
    want = render.render(model, channels(range(6)), **QUICK | {"steps": 8}).images
    code = (
        "import jax, numpy as np\n"
        "from tests.helpers import small_model\n"
        "from jaxlens.optvis import objectives, render\n"
        "assert len(jax.local_devices()) == 4\n"
        "from jaxlens.optvis.render import _step\n"
        "step, seen = _step.step, []\n"
        "def spy(*args):\n"
        "    if not seen: seen.append(step.lower(*args).compile().as_text())\n"
        "    return step(*args)\n"
        "_step.step = spy\n"
        "model = small_model(input_size=(24, 28))\n"
        f"objective = objectives.channel({LAYER!r}, range(6))\n"
        "result = render.render(model, objective, steps=8, size=(24, 28), progress=False)\n"
        "exchanges = 'all-reduce', 'all-gather', 'all-to-all', 'collective-permute', 'reduce-scatter'\n"
        "assert 'num_partitions=4' in seen[0] and not any(word in seen[0] for word in exchanges)\n"
        f"np.save({str(tmp_path / 'four.npy')!r}, result.images)\n"
    )
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    env = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=Path(__file__).parents[2])
    assert np.abs(np.load(tmp_path / "four.npy") - want).max() < 1e-4


@pytest.mark.slow
def test_draws_are_per_task_and_shared_by_its_images(model):
    """Two images of a task that start equal stay equal: they get one draw. Two tasks get two."""
    start = np.full((2, 24, 28, 3), 0.4, np.float32)
    settings = QUICK | {"param": param.image(28, 24, batch=2, init=start)}
    shared = render.render(model, channels([1, 1]), **settings, seed=[0, 1]).images
    assert np.abs(shared[0, 0] - shared[0, 1]).max() < 1e-5
    assert np.abs(shared[0, 0] - shared[1, 0]).max() > 1e-4
    each = [transform.per_image(t) for t in transform.standard_transforms]
    apart = render.render(model, channels(1), **settings, transforms=each).images
    assert np.abs(apart[0, 0] - apart[0, 1]).max() > 1e-4


@pytest.mark.slow
def test_a_list_of_different_objectives_keeps_its_order(model):
    wanted = [f"{LAYER}:3", "stem:1-2", objectives.deepdream("stem"), f"{LAYER}:0"]
    result = render.render(model, wanted, **QUICK)
    assert result.names == (f"{LAYER}:3", "stem:1", "stem:2", "deepdream(stem)", f"{LAYER}:0")
    again = render.render(model, f"{LAYER}:0", **QUICK)
    assert np.abs(again.images[0] - result.images[4]).max() < 1e-5
    scores = render.evaluate(model, wanted, result.images)
    assert scores.shape == (5,)
    assert relative_error(scores[4], render.evaluate(model, f"{LAYER}:0", again.images)[0]) < 1e-4


def test_penalties_see_the_untransformed_image(model):
    images = jnp.full((1, 1, 24, 28, 3), 0.25)
    assert render.evaluate(model, objectives.L1(constant=0.5), images)[0] == pytest.approx(24 * 28 * 3 * 0.25)
    result = render.render(
        model, objectives.L1(constant=0.5), param=param.image(28, 24, init=np.asarray(images[0])), progress=False, steps=1
    )
    assert result.scores[0, 0] == pytest.approx(24 * 28 * 3 * 0.25, rel=1e-3)  # the standard list pads with 0.5


@pytest.mark.slow
def test_small_images_are_enlarged_to_the_networks_size(model):
    seen = {}

    def look(key, images):
        seen["before"] = images.shape
        return images

    big = small_model(input_size=(48, 56))
    objective = objectives.as_objective(lambda T: (seen.update(stem=T("stem").shape), T("stem").mean())[1])
    render.render(big, objective, **QUICK | {"transforms": [look]})
    assert seen["before"][1:3] == (24, 28) and seen["stem"][1:3] == (24, 28)  # 48x56 after a stride of 2
    render.render(big, objective, **QUICK | {"fixed_image_size": (30, 20)})
    assert seen["stem"][1:3] == (15, 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    [optax.sgd(0.1), optax.lbfgs(), optax.chain(optax.clip_by_global_norm(1.0), optax.rmsprop(0.01))],
    ids=["sgd", "lbfgs", "chain"],
)
def test_any_optax_optimizer(model, optimizer):
    result = render.render(model, channels([1, 2]), **QUICK | {"steps": 6, "transforms": []}, optimizer=optimizer)
    assert (result.scores[:, -1] > result.scores[:, 0]).all()


@pytest.mark.slow
def test_a_dead_neuron_wakes_up(model):
    """A layer pushed far below zero has no gradient at all; the redirected ReLU finds one, and only
    for it.
    """
    module_params = jax.tree.map(lambda x: x, model.params)
    bias = module_params["blocks"][0]["conv2"]["bias"]
    bias.set_value(bias.get_value().at[3].set(-0.25))
    dead = model.replace(params=module_params)
    wanted, settings = objectives.channel("blocks.0.relu", [3, 4]), QUICK | {"steps": 30, "optimizer": STRONG}
    asleep = render.render(dead, wanted, **settings, redirect_steps=0)
    assert not asleep.scores[0].any() and asleep.scores[1].any()
    awake = render.render(dead, wanted, **settings, redirect_steps=30)
    assert awake.scores[0, -1] > 0
    assert np.abs(awake.images[1] - asleep.images[1]).max() < 1e-4


STRONG = optax.adam(0.3)


def faulty(T):
    """NaN as soon as the image gets brighter than it starts."""
    return jnp.where(T("input").mean() > 0.52, jnp.nan, T("input").mean() * 100)


def test_one_task_becoming_nan_does_not_stop_the_others(model):
    mixed = objectives.Objective.sum([objectives.as_objective(faulty)]) * np.array([1.0, -1.0], np.float32)
    with pytest.warns(NonFiniteWarning, match=r"1 of 2 tasks.*task 0 \(.*\) at step \d+"):
        result = render.render(model, mixed, **QUICK | {"steps": 12})
    assert result.failed_at[0] > 0 and result.failed_at[1] == -1
    assert np.isfinite(result.images).all()
    assert result.images[0].mean() > 0.5 > result.images[1].mean()
    assert np.isnan(result.scores[0, -1]) and np.isfinite(result.scores[1]).all()


def test_all_tasks_becoming_nan_is_an_error_that_keeps_the_images(model):
    with pytest.raises(NonFiniteError, match="1 of 1 tasks became NaN or infinite") as caught:
        render.render(model, objectives.as_objective(faulty), **QUICK | {"steps": 12})
    assert np.isfinite(caught.value.result.images).all()


def test_ctrl_c_returns_what_there_is(model):
    def interrupt(progress):
        if progress.step == 2 and 2 in progress.tasks:
            raise KeyboardInterrupt

    result = render.render(model, channels(range(6)), **QUICK, batch_size=2, callback=interrupt)
    assert not result.finished
    assert result.names == tuple(f"{LAYER}:{i}" for i in range(4))
    full = render.render(model, channels(range(6)), **QUICK, batch_size=2)
    assert np.abs(result.images[:2] - full.images[:2]).max() < 1e-5
    assert np.isfinite(result.scores[:2]).all() and np.isnan(result.scores[2:, 2:]).all()


def test_callback_sees_images_and_may_stop(model):
    seen = []

    def look(progress):
        seen.append((progress.step, progress.scores.shape, progress.images().shape))
        return progress.step == 2

    result = render.render(model, channels([0, 1]), **TWO, callback=look)
    assert seen == [(1, (2,), (2, 1, 24, 28, 3)), (2, (2,), (2, 1, 24, 28, 3))]
    assert result.scores.shape == (2, 2) and not result.finished


def test_users_arrays_stay_usable(model):
    start = jnp.full((1, 24, 28, 3), 0.4)
    weights = [np.array(leaf) for leaf in jax.tree.leaves(model)]
    render.render(model, channels(0), param=param.image(28, 24, init=start), steps=2, progress=False)
    assert (np.asarray(start) == np.float32(0.4)).all()
    assert all(np.array_equal(a, b) for a, b in zip(weights, jax.tree.leaves(model), strict=True))


def test_ctrl_c_between_batches_keeps_the_finished_ones(model, monkeypatch):
    plain, calls = _tasks.run_batch, []

    def run_batch(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return plain(*args)

    monkeypatch.setattr(_tasks, "run_batch", run_batch)
    result = render.render(model, channels(range(6)), **TWO)
    assert not result.finished and result.names == tuple(f"{LAYER}:{i}" for i in range(4))


def test_evaluate_wants_as_many_images_as_tasks(model):
    images = np.full((3, 1, 24, 28, 3), 0.5, np.float32)
    for wanted in (1, [0, 1, 2, 3]):
        with pytest.raises(ValueError, match="images holds 3 tasks, but the objective has"):
            render.evaluate(model, channels(wanted), images)


def test_more_channels_than_rgb():
    grey = small_model(channels=3, input_size=(24, 28))
    with pytest.raises(ValueError, match="make 5 channels, but small takes 3"):
        render.render(grey, channels(0), param=param.image(28, 24, channels=5), progress=False)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"objective": "blocks.0.conv9:1"}, UnknownLayerError, r"layer='blocks.0.conv9'.*blocks.0.conv"),
        ({"objective": f"{LAYER}:99"}, ValueError, r"channel=99 is outside 0\.\.7 of layer 'blocks.0.conv2'"),
        ({"steps": -1}, ValueError, "steps=-1 must be an integer >= 0"),
        ({"steps": 2.5}, TypeError, r"steps=2\.5"),
        ({"size": 0}, ValueError, "size=0"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"thresholds": (9,)}, ValueError, r"thresholds=9 must be an integer in 1\.\.3"),
        (
            {"size": 2, "fixed_image_size": 2, "transforms": [], "objective": "head:1"},
            ImageTooSmallError,
            r"size=2x2 is too small for layer 'head'",
        ),
        ({"transforms": transform.jitter(2)}, TypeError, "must be a list"),
        ({"param": 128}, TypeError, "param=128 must be a parameterization"),
        ({"seed": [1, 2, 3]}, ValueError, r"seed=\[1, 2, 3\].*1 integers"),
        ({"objective": []}, ValueError, "empty list"),
        ({"optimizer": "adam"}, TypeError, "optimizer='adam' must be an optax optimizer"),
    ],
)
def test_bad_arguments_fail_early(model, arguments, error, message):
    settings = QUICK | {"objective": f"{LAYER}:1"} | arguments
    with pytest.raises(error, match=message):
        render.render(model, settings.pop("objective"), **settings)


@pytest.mark.slow
def test_several_draws_are_averaged(model):
    """Two draws in a step: the mean of the scores and gradients of each."""
    moves = [transform.pad(2), transform.jitter(4)]
    images = param.image(28, 24, sd=0.2)
    options = {"param": images, "transforms": moves, "progress": False, "redirect_steps": 0}
    start = images.to_image(images.init(jax.random.fold_in(_keys_of(0, channels(1)), 0)))
    result = render.render(model, channels(1), steps=1, draws=3, **options)
    key = jax.random.fold_in(_keys_of(0, channels(1)), 1)
    chain = transform.compose(moves)
    scores = [
        jaxlens.activations(model, chain(jax.random.fold_in(key, i), start), [LAYER])[LAYER][..., 1].mean() for i in range(3)
    ]
    np.testing.assert_allclose(result.scores[0, 0], np.mean(scores), rtol=1e-4)
    assert np.ptp(scores) > 1e-5  # control: the draws differ
    with pytest.raises(ValueError, match="draws"):
        render.render(model, channels(1), draws=0)


def _keys_of(seed, objective):
    from jaxlens.optvis.render._tasks import _task_id

    group = objectives.stack([objective.bind(small_model())])
    return jax.random.fold_in(jax.random.key(seed), jnp.uint32(_task_id(group, 0)))


@pytest.mark.slow
def test_transparency_adds_up_what_each_pixel_did(model):
    images = param.image(28, 24, sd=0.2)
    options = {"param": images, "transforms": [], "progress": False, "redirect_steps": 0, "fixed_image_size": (24, 28)}
    result = render.render(model, channels([1, 3]), steps=2, batch_size=2, importance=True, thresholds=(1,), **options)
    assert result.importance.shape == (2, 1, 24, 28) and (result.importance >= 0).all()

    def gradient(image, channel):
        return jax.grad(lambda x: jaxlens.activations(model, x, [LAYER])[LAYER][..., channel].mean())(jnp.asarray(image))

    start = images.to_image(images.init(jax.random.fold_in(_keys_of(0, channels(3)), 0)))
    want = sum(np.abs(gradient(x, 3)).mean(-1) for x in (start, result.snapshots[1][1]))
    np.testing.assert_allclose(result.importance[1], want, rtol=1e-3, atol=1e-7)
    assert render.render(model, channels(1), steps=1, **options).importance is None


def test_objectives_remember_from_step_to_step(model):
    """A moving average over the steps of a render, against its own snapshots."""
    target = np.zeros((1, 4, 5, 8), np.float32)
    style = objectives.style_ema(LAYER, {LAYER: target}, decay=0.5)
    images = param.image(28, 24, sd=0.2)
    options = {"param": images, "transforms": [], "progress": False, "redirect_steps": 0, "fixed_image_size": (24, 28)}
    result = render.render(model, -style, steps=3, thresholds=(1, 2), **options)
    assert np.isfinite(result.scores).all()
    start = images.to_image(images.init(jax.random.fold_in(_keys_of(0, -style), 0)))
    want = None
    for step, x in enumerate((start, result.snapshots[1][0], result.snapshots[2][0])):
        gram = np.asarray(objectives.gram(jaxlens.activations(model, jnp.asarray(x), [LAYER])[LAYER]))
        want = gram if want is None else 0.5 * want + 0.5 * gram
        np.testing.assert_allclose(-result.scores[0, step], np.abs(want).mean(), rtol=1e-4)
    plain = render.render(model, -objectives.style(LAYER, {LAYER: target}), steps=3, **options)
    assert not np.allclose(plain.scores[0, 1], result.scores[0, 1], rtol=1e-3)  # control


@pytest.mark.slow
def test_transforms_change_over_the_steps(model):
    """Boxes that shrink from the whole image to a tenth, seen by a model that reports how much of a
    ramp it saw.
    """
    ramp = np.linspace(0, 1, 40, dtype=np.float32)[None, :, None] * np.ones((40, 40, 3), np.float32)
    whole, tenth = (transform.random_boxes(1, (16, 16), (side, side), center_sd=0.0) for side in (1.0, 0.1))
    seen = []

    def spread(key, images):
        jax.debug.callback(lambda x: seen.append(float(np.ptp(x))), images, ordered=True)
        return images

    fixed = param.image(init=ramp)
    options = {"param": fixed, "steps": 5, "progress": False, "redirect_steps": 0, "fixed_image_size": 16}
    optimizer = optax.sgd(0.0)
    render.render(
        small_model(input_size=(16, 16)),
        objectives.channel("stem", 1),
        transforms=[transform.anneal(whole, tenth, 4), spread],
        optimizer=optimizer,
        **options,
    )
    widths = np.array(seen[-5:])
    np.testing.assert_allclose(widths, np.array([1, 0.775, 0.55, 0.325, 0.1]) * 0.95, atol=0.05)
    with pytest.raises(ValueError, match="must be two transforms that differ in numbers"):
        transform.anneal(transform.jitter(4), transform.jitter(2), 4)
