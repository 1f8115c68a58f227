"""Objectives: values against NumPy, gradients, and that each of them rises."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlens.optvis import objectives, param, render
from jaxlens.optvis.objectives import _base, _image
from tests.helpers import mostly_slow, small_model
from tests.optvis.objective_cases import ACTS, DENSE, FULL, RGBA, RNG, A, S, T, V, X, grams


def dot_cossim(a, v, power):
    dot = a @ v
    cosine = dot / (1e-4 + np.linalg.norm(a, axis=-1)) / (1e-4 + np.linalg.norm(v))
    return (dot * np.maximum(cosine, 0.1) ** power).mean()


def gram_similarity(a):
    flat = a.reshape(3, -1, 4)
    grams = [f.T @ f for f in flat]
    grams = [g / np.linalg.norm(g) for g in grams]
    return sum((grams[i] * grams[j]).sum() for i in range(3) for j in range(3) if i != j) / 3


def norms(a):
    return 1e-4 + np.linalg.norm(a, axis=-1)


def cosines(a, v):
    return a @ v / norms(a) / norms(v)


def raised(values, cosine, power):
    return (values * np.maximum(cosine, 0.1) ** power).mean()


def blurred(x, w):
    """Lucid's kernel, written out pixel by pixel."""
    kernel = np.full((w, w), 0.5)
    kernel[1:-1, 1:-1] = 1
    out, r = np.zeros_like(x), w // 2
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            places = [
                (i + a, j + b, kernel[a + r, b + r])
                for a in range(-r, r + 1)
                for b in range(-r, r + 1)
                if 0 <= i + a < x.shape[1] and 0 <= j + b < x.shape[2]
            ]
            out[:, i, j] = sum(k * x[:, a, b] for a, b, k in places) / sum(k for _, _, k in places)
    return out


def boundary(x, w):
    mask = np.ones(x.shape[1:3])
    mask[w:-w, w:-w] = 0
    return -(mask[None, :, :, None] * ((blurred(x, 5) - x) ** 2 + 0.8 * (x - 0.25) ** 2)).sum()


def aligned(a, decay):
    pairs = [(i, i + d, d) for d in range(1, 5) for i in range(len(a) - d)]
    return -sum(((a[i] - a[j]) ** 2).mean() / decay**d for i, j, d in pairs)


def cosine_of(a, b):
    return (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)


CASES = {
    "direction_cossim": (objectives.direction_cossim("a", V), cosines(A, V).mean()),
    "direction_cossim, power": (objectives.direction_cossim("a", V, 2), raised(cosines(A, V), cosines(A, V), 2)),
    "tensor_direction": (
        objectives.tensor_direction("a", T, 1),
        raised((A[:, 1:4, 1:5] * T).sum(-1), (A[:, 1:4, 1:5] * T).sum(-1) / norms(A[:, 1:4, 1:5]) / norms(T), 1),
    ),
    "spatial_channel": (objectives.spatial_channel("a", FULL), (A * FULL).sum(-1).mean()),
    "channel_weight": (objectives.channel_weight("a", V, batch=2), (A[2] * V).mean()),
    "neuron_weight": (objectives.neuron_weight("a", V, x=6, y=1), (A[:, 1, 6] * V).mean()),
    "neuron_weight, equal, centre": (objectives.neuron_weight("a"), A[:, 2, 3].mean()),
    "localgroup_weight": (objectives.localgroup_weight("a", V, 1, 0, wx=4, wy=2), (A[:, :2, 1:5] * V).mean()),
    "localgroup_weight, centre": (objectives.localgroup_weight("a", wx=3, wy=1), A[:, 2:3, 2:5].mean()),
    "angled_neuron_direction": (
        objectives.angled_neuron_direction("a", V, S, x=5, y=0),
        raised((A[:, 0, 5] * (V @ S)).mean(-1), (A[:, 0, 5] * (V @ S)).mean(-1) / norms(A[:, 0, 5]), 4),
    ),
    "channel_interpolate": (
        objectives.channel_interpolate("a", 1, "dense", 2),
        A[0, ..., 1].mean() + 0.5 * A[1, ..., 1].mean() + 0.5 * DENSE[1, 2] + DENSE[2, 2],
    ),
    "alignment": (objectives.alignment("a", 3), aligned(A, 3)),
    "dot_compare": (objectives.dot_compare("a"), (A[0] * A[1]).sum()),
    "dot_compare, power": (
        objectives.dot_compare("a", 2, 1.5),
        (A[0] * A[2]).sum() * max(0.1, cosine_of(A[0], A[2])) ** 1.5,
    ),
    "dot_compare, target": (objectives.dot_compare("a", target=FULL, comp_batch=1), (A[1] * FULL).sum()),
    "cossim_compare": (objectives.cossim_compare("a", 2, 1), cosine_of(A[1], A[2])),
    "cossim_compare, orthogonal": (
        objectives.cossim_compare("a", 2, 1, orthogonal_to=V),
        cosine_of(*(x - (x @ V)[..., None] * V / (V @ V) for x in (A[1], A[2]))),
    ),
    "pearson_compare": (objectives.pearson_compare("a", 1), np.corrcoef(A[0].ravel(), A[1].ravel())[0, 1]),
    "weighted_dot_compare": (objectives.weighted_dot_compare("a", 2, T[0, 0]), (A[0] * A[2] * T[0, 0]).sum()),
    "weighted_dot_compare, target": (
        objectives.weighted_dot_compare("a", W=FULL, target=FULL, comp_batch=1),
        (A[1] * FULL**2).sum(),
    ),
    "l1_compare": (objectives.l1_compare("dense"), np.abs(DENSE[0] - DENSE[1]).mean()),
    "l2_compare": (objectives.l2_compare("a", target=FULL), np.linalg.norm(A[0] - FULL, axis=-1).mean()),
    "activation_difference": (
        objectives.activation_difference(["a", "dense"], difference_to=2),
        np.abs(A[0] - A[2]).mean() + np.abs(DENSE[0] - DENSE[2]).mean(),
    ),
    "activation_difference, target": (
        objectives.activation_difference("a", objectives.mean_L2, difference_to={"a": FULL}, batch=1),
        np.sqrt(((A[1] - FULL) ** 2).mean()),
    ),
    "style": (objectives.style("a", 1), np.abs(grams(A)[0] - grams(A)[1]).mean()),
    "style, target": (objectives.style("a", {"a": T[None]}), np.abs(grams(A)[0] - grams([T])[0]).mean()),
    "input_diff": (objectives.input_diff(X[1]), np.sqrt(((X[0] - X[1]) ** 2).mean())),
    "blur_input_each_step": (objectives.blur_input_each_step(), 0.5 * ((X - blurred(X, 3)) ** 2).sum()),
    "blur_alpha_each_step": (
        _image.Blur(first=3, layer="rgba"),
        0.5 * ((RGBA - blurred(RGBA, 3))[..., 3] ** 2).sum(),
    ),
    "penalize_boundary_complexity": (objectives.penalize_boundary_complexity(X.shape, w=2, C=0.25), boundary(X, 2)),
    "decay": (objectives.decay(12), 0.75),
    "decay, done": (objectives.decay(2), 0),
    "only_after, before": (objectives.only_after(4), 0),
    "only_after": (objectives.only_after(3) * objectives.channel("a", 2), A[..., 2].mean()),
    "channel": (objectives.channel("a", 2), A[..., 2].mean()),
    "channel of one image": (objectives.channel("a", 2, batch=1), A[1, ..., 2].mean()),
    "channel of a dense layer": (objectives.channel("dense", 3), DENSE[:, 3].mean()),
    "neuron at the centre": (objectives.neuron("a", 1), A[:, 2, 3, 1].mean()),
    "neuron: x is the column": (objectives.neuron("a", 1, x=6, y=0), A[:, 0, 6, 1].mean()),
    "direction": (objectives.direction("a", V), (A @ V).mean()),
    "direction with cosine": (objectives.direction("a", V, cossim_pow=2), dot_cossim(A, V, 2)),
    "direction_neuron": (objectives.direction_neuron("a", V, x=1, y=4, cossim_pow=1), dot_cossim(A[:, 4, 1], V, 1)),
    "deepdream": (objectives.deepdream("a"), (A**2).mean()),
    "diversity": (objectives.diversity("a"), gram_similarity(A)),
    "total_variation": (
        objectives.total_variation(),
        (np.abs(X[:, 1:] - X[:, :-1]).sum() + np.abs(X[:, :, 1:] - X[:, :, :-1]).sum()) / 3,
    ),
    "L1": (objectives.L1(constant=0.5), np.abs(X - 0.5).sum()),
    "L2": (objectives.L2("a", constant=0.25), np.sqrt(1e-6 + ((A - 0.25) ** 2).sum())),
    "L_inf": (objectives.L_inf("a", constant=0.25), np.abs(A - 0.25).max()),
    "style_ema, first": (
        objectives.style_ema("a", {"a": T[None]}, decay=0.5) * objectives.only_after(0),
        np.abs(grams(A)[0] - grams([T])[0]).mean(),
    ),
    "class_logit": (objectives.class_logit("logits", 2), DENSE[:, 2].mean()),
    "class_probability": (
        objectives.class_probability("logits", 2),
        (np.exp(DENSE) / np.exp(DENSE).sum(-1, keepdims=True))[:, 2].mean(),
    ),
    "string": (objectives.as_objective("a: 2"), A[..., 2].mean()),
    "sum": (objectives.channel("a", 0) + objectives.channel("a", 1) + 2, A[..., 0].mean() + A[..., 1].mean() + 2),
    "difference": (1 - objectives.channel("a", 0), 1 - A[..., 0].mean()),
    "weights": (-0.5 * objectives.L1() / 4, -0.5 * np.abs(X).sum() / 4),
    "product": (objectives.channel("a", 0) * objectives.deepdream("a"), A[..., 0].mean() * (A**2).mean()),
    "quotient": (objectives.channel("a", 0) / objectives.deepdream("a"), A[..., 0].mean() / (A**2).mean()),
    "power": (objectives.deepdream("a") ** 0.5, np.sqrt((A**2).mean())),
    "one over": (2 / objectives.deepdream("a"), 2 / (A**2).mean()),
    "builtin sum": (sum([objectives.channel("a", 0), objectives.channel("a", 1)]), A[..., :2].mean() * 2),
    "Objective.sum": (objectives.Objective.sum([objectives.channel("a", i) for i in range(4)]), A.mean() * 4),
}


@pytest.mark.parametrize("case", CASES)
def test_value_equals_numpy(case):
    objective, want = CASES[case]
    np.testing.assert_allclose(objective(ACTS), want, rtol=2e-5, atol=1e-6)
    jitted = jax.jit(lambda o, a: o(a))(objective, ACTS)
    np.testing.assert_allclose(jitted, want, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_gradient_is_finite_even_on_dead_activations(case):
    dead = jax.tree.map(jnp.zeros_like, ACTS)
    if case in ("quotient", "one over", "power"):
        pytest.skip("not defined at zero")
    gradient = jax.grad(lambda a: CASES[case][0](a))(dead)
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(gradient))


def test_penalties_of_absolute_values_leave_what_is_flat_alone():
    """The gradient of `jnp.abs` at 0 is 1."""
    flat = ACTS | {"a": jnp.full(A.shape, 0.3)}
    for objective in (
        objectives.total_variation("a"),
        objectives.L1("a", 0.3),
        objectives.l1_compare("a"),
        objectives.activation_difference("a"),
    ):
        gradient = jax.grad(lambda a, o=objective: o(flat | {"a": a}))(flat["a"])
        np.testing.assert_array_equal(gradient, 0)
        assert np.abs(jax.grad(lambda a, o=objective: o(flat | {"a": a}))(ACTS["a"])).max() > 0  # control


def test_a_moving_average_of_styles():
    objective = objectives.style_ema("a", {"a": T[None]}, objectives.mean_L2, 0.75)
    seen = [A[i : i + 1] for i in (0, 1, 2)]
    memory, want = {}, None
    for step, a in enumerate(seen):
        acts = {"a": jnp.asarray(a), "step": jnp.uint32(step), "memory": memory}
        g = grams(a)[0]
        want = g if want is None else 0.75 * want + 0.25 * g
        np.testing.assert_allclose(objective(acts), np.sqrt(((want - grams([T])[0]) ** 2).mean()), rtol=1e-5)
        # the gradient of this step's matrix, as if it were the average
        got = jax.grad(lambda a, acts=acts: objective(acts | {"a": a}))(jnp.asarray(a))
        away = (want - grams([T])[0]) / (np.sqrt(((want - grams([T])[0]) ** 2).mean()) * want.size)
        np.testing.assert_allclose(got[0], a[0] @ (away + away.T) / 35, rtol=1e-3, atol=1e-6)
        memory = _base.memories(objective, acts)
    assert not _base.remembers(objectives.style("a", {"a": T[None]})) and _base.remembers(2 * objective)
    with pytest.raises(ValueError, match="decay=1.0 must be in"):
        objectives.style_ema("a", {"a": T}, decay=1.0)


RISING = [
    lambda: objectives.channel("blocks.0.conv2", 3),
    lambda: objectives.neuron("blocks.0.conv2", 3),
    lambda: objectives.direction("blocks.0.conv2", np.linspace(-1, 1, 8), cossim_pow=1),
    lambda: objectives.deepdream("blocks.0.conv2"),
    lambda: objectives.total_variation(),
    lambda: objectives.L2(constant=0.3),
    lambda: objectives.diversity("blocks.0.conv2"),
    lambda: objectives.class_logit("logits", 1),
    lambda: objectives.class_probability("logits", 1),
    lambda: objectives.direction_cossim("blocks.0.conv2", np.linspace(-1, 1, 8)),
    lambda: objectives.tensor_direction("blocks.0.conv2", RNG.normal(size=(3, 4, 8))),
    lambda: objectives.neuron_weight("blocks.0.conv2", np.linspace(-1, 1, 8)),
    lambda: objectives.localgroup_weight("blocks.0.conv2", wx=3, wy=2),
    lambda: objectives.channel_weight("blocks.0.conv2", np.linspace(-1, 1, 8)),
    lambda: objectives.angled_neuron_direction("blocks.0.conv2", np.linspace(-1, 1, 8), cossim_pow=1),
    lambda: objectives.channel_interpolate("blocks.0.conv2", 1, "stem", 2),
    lambda: objectives.alignment("blocks.0.conv2"),
    lambda: objectives.dot_compare("blocks.0.conv2", cossim_pow=1),
    lambda: objectives.cossim_compare("blocks.0.conv2"),
    lambda: objectives.pearson_compare("blocks.0.conv2"),
    lambda: objectives.weighted_dot_compare("blocks.0.conv2", W=np.linspace(-1, 1, 8)),
    lambda: objectives.attribution_compare(["stem", "blocks.0.conv2"], "logits:1"),
    lambda: objectives.style_ema("stem", {"stem": np.zeros((12, 14, 8))}),
    lambda: objectives.L_inf("stem"),
    lambda: objectives.l1_compare("blocks.0.conv2"),
    lambda: objectives.l2_compare("blocks.0.conv2"),
    lambda: objectives.activation_difference("blocks.0.conv2", objectives.mean_L2, difference_to=1),
    lambda: objectives.style(["stem", "blocks.0.conv2"], 1),
    lambda: objectives.input_diff(np.full((24, 28, 3), 0.3)),
    lambda: objectives.blur_input_each_step(),
    lambda: objectives.penalize_boundary_complexity((24, 28), w=4),
]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("make", mostly_slow(RISING, RISING[:6]))
def test_every_objective_rises_and_with_a_minus_falls(make, sign):
    """Lucid's own behavioural test, with its sign."""
    model, objective = small_model(), make()
    result = render.render(
        model,
        sign * objective,
        param=param.image(28, 24, batch=2, sd=0.3),
        steps=4,
        transforms=[],
        optimizer=ADAM,
        fixed_image_size=(24, 28),
        progress=False,
        redirect_steps=0,
    )
    assert result.scores[0, -1] > result.scores[0, 0]


ADAM = optax.adam(0.03)
