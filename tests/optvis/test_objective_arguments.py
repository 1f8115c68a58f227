"""Objectives as they are asked for: batches of tasks, strings, labels, functions; and what is
refused.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens.errors import UnknownLayerError
from jaxlens.optvis import objectives
from jaxlens.optvis.objectives import _base
from tests.helpers import small_model
from tests.optvis.objective_cases import ACTS, RNG, A, V


def test_a_batch_of_tasks_is_each_of_them():
    objective = objectives.channel("a", range(4)) - 0.1 * objectives.total_variation()
    assert _base.task_count(objective) == 4
    scores = jax.vmap(lambda o: o(ACTS))(_base.batched(objective, 4))
    single = [(objectives.channel("a", i) - 0.1 * objectives.total_variation())(ACTS) for i in range(4)]
    np.testing.assert_allclose(scores, jnp.stack(single), rtol=1e-5)
    assert objective.describe(3) == "a:3 - 0.1*total_variation(input)"


def test_directions_and_weights_batch_too():
    objective = np.array([1.0, 2.0]) * objectives.direction("a", np.stack([V, -V]))
    scores = jax.vmap(lambda o: o(ACTS))(_base.batched(objective, 2))
    np.testing.assert_allclose(scores, [(A @ V).mean(), -2 * (A @ V).mean()], rtol=1e-4)


def test_stack_joins_one_structure_and_refuses_two():
    joined = objectives.stack([objectives.channel("a", 3), objectives.channel("a", [0, 1])])
    assert joined.index.tolist() == [3, 0, 1]
    with pytest.raises(ValueError, match="different kinds or layers"):
        objectives.stack([objectives.channel("a", 3), objectives.channel("b", 3)])


def test_batches_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="different lengths"):
        _base.task_count(objectives.channel("a", [0, 1]) + objectives.channel("a", [0, 1, 2]))


@pytest.mark.parametrize(
    ("text", "channels"), [("a:3", 3), ("a:3,7", [3, 7]), ("a:0-3", [0, 1, 2, 3]), ("a:1, 4-5", [1, 4, 5]), ("b.0.relu@1:2", 2)]
)
def test_strings(text, channels):
    assert objectives.as_objective(text).index.tolist() == channels


def test_all_channels_and_labels_need_the_model():
    model = small_model(labels=("ant", "bee", "cat", "dog", "eel"))
    assert objectives.as_objective("stem:all", model).index.shape == (8,)
    assert objectives.as_objective("logits:cat", model).bind(model).index == 2
    assert objectives.class_logit("labels", ["eel", "ant"]).bind(model).index.tolist() == [4, 0]
    with pytest.raises(ValueError, match=r"label='bea'.*bee"):
        objectives.class_logit("logits", "bea").bind(model)
    with pytest.raises(ValueError, match="has no labels"):
        objectives.class_logit("logits", "bee").bind(small_model())
    with pytest.raises(ValueError, match="pass channels here"):
        objectives.as_objective("stem:all")


@pytest.mark.parametrize("text", ["a", "a:", ":3", "a:5-2"])
def test_malformed_strings(text):
    with pytest.raises(ValueError, match="layer:0-15"):
        objectives.as_objective(text)


def test_wrapped_and_plain_functions():
    model = small_model()

    @objectives.wrap_objective()
    def contrast(layer, first, second):
        return lambda T: T(layer)[..., first].mean() - T(layer)[..., second].mean()

    one, same, other = (contrast("stem", 0, i).bind(model) for i in (1, 1, 2))
    assert one.layers == ("stem",)
    assert jax.tree.structure(one) == jax.tree.structure(same) != jax.tree.structure(other)
    acts = {"stem": jnp.asarray(A)}
    np.testing.assert_allclose(one(acts), A[..., 0].mean() - A[..., 1].mean(), rtol=1e-4, atol=1e-6)
    plain = objectives.as_objective(lambda T: T("blocks_0_relu").max()).bind(model)
    assert plain.layers == ("blocks.0.relu@1",)
    with pytest.raises(ValueError, match=r"shape \(1, 20, 24, 8\).*one number"):
        objectives.as_objective(lambda T: T("stem")).bind(model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: objectives.channel("a", 4), r"channel=4 is outside 0\.\.3 of layer 'a'"),
        (lambda: objectives.channel("a", [0, -1]), r"channel=-1 is outside 0\.\.3"),
        (lambda: objectives.neuron("a", 0, x=7), r"x=7 is outside 0\.\.6"),
        (lambda: objectives.neuron("a", 0, y=5), r"y=5 is outside 0\.\.4"),
        (lambda: objectives.direction("a", np.ones(3)), r"vec has 3 entries, but layer 'a' has 4 channels"),
        (lambda: 2 * objectives.channel("a", 0, batch=3), r"batch=3 is outside 0\.\.2"),
        (lambda: objectives.channel_weight("a", np.ones(5)), r"weight has 5 entries, but layer 'a' has 4 channels"),
        (lambda: objectives.localgroup_weight("a", x=5, y=0, wx=3), r"the last pixel of wx=3=7 is outside 0\.\.6"),
        (lambda: objectives.localgroup_weight("a", wy=6), r"wy=6 is outside 0\.\.5"),
        (
            lambda: objectives.tensor_direction("a", np.ones((6, 2, 4))),
            r"vec has shape \(6, 2, 4\), but layer 'a' has \(5, 7, 4\)",
        ),
        (lambda: objectives.direction_cossim("a", np.ones(3)), "vec has 3 entries"),
        (lambda: objectives.angled_neuron_direction("a", np.ones(4), x=9), r"x=9 is outside 0\.\.6"),
        (lambda: objectives.channel_interpolate("a", 1, "a", 4), r"channel=4 is outside 0\.\.3"),
        (lambda: objectives.dot_compare("a", 3), r"batch=3 is outside 0\.\.2"),
        (lambda: objectives.cossim_compare("a", comp_batch=3), r"comp_batch=3 is outside 0\.\.2"),
        (lambda: objectives.l2_compare("a", target=np.ones((5, 6, 4))), r"target has shape \(5, 6, 4\), but layer 'a' outputs"),
        (lambda: objectives.style("a", 5), "difference_to=5 is outside"),
        (lambda: objectives.style("a", {"a": np.ones((2, 2, 3))}), "The target has 3 channels, but 'a' has 4"),
        (lambda: objectives.activation_difference("a", difference_to={"a": np.ones((5, 5, 4))}), "target has shape"),
        (lambda: objectives.input_diff(np.ones((9, 9, 3))), r"target has shape \(9, 9, 3\)"),
        (lambda: objectives.blur_alpha_each_step(), "images with a fourth channel"),
        (lambda: objectives.penalize_boundary_complexity((4, 9)), r"shp or mask is \(4, 9\), but the images are \(9, 11\)"),
    ],
)
def test_what_jax_would_clamp_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make().check({"a": (5, 7, 4), "input": (9, 11, 3)}, images=3)


def test_objectives_on_several_images_want_several():
    for one in (objectives.alignment("a"), objectives.channel_interpolate("a", 0, "a", 1)):
        with pytest.raises(ValueError, match="compares a task's images, but there is 1"):
            one.check({"a": (5, 7, 4)}, images=1)


def test_targets_batch():
    targets = RNG.normal(size=(2, 5, 7, 4)).astype(np.float32)
    for make in (
        lambda target: objectives.dot_compare("a", cossim_pow=1, target=target),
        lambda target: objectives.style("a", {"a": target}),
        lambda target: objectives.tensor_direction("a", target),
        lambda target: objectives.activation_difference("a", difference_to={"a": target}),
    ):
        both = make(targets)
        assert _base.task_count(both) == 2
        values = jax.vmap(lambda o: o(ACTS))(_base.batched(both, 2))
        np.testing.assert_allclose(values, [make(target)(ACTS) for target in targets], rtol=1e-5)


def test_combinations():
    both = objectives.combine(objectives.channel("a", [0, 2]), ["dense:1", objectives.neuron("a", [3, 1])])
    names = ["a:0 + dense:1", "a:0 + a:3@centre,centre", "a:0 + a:1@centre,centre"]
    assert [each.describe() for each in both] == [*names, *(name.replace("a:0", "a:2") for name in names)]
    np.testing.assert_allclose(both[4](ACTS), A[..., 2].mean() + A[:, 2, 3, 3].mean(), rtol=1e-5)
    with pytest.raises(ValueError, match="groups is empty"):
        objectives.combine()


def test_wrong_arguments():
    with pytest.raises(TypeError, match="n_channel=1.5"):
        objectives.channel("a", 1.5)
    with pytest.raises(TypeError, match="combines with numbers"):
        objectives.channel("a", 1) * "2"
    with pytest.raises(TypeError, match="objective=3 must be"):
        objectives.as_objective(3)
    with pytest.raises(UnknownLayerError, match="layer='stm'"):
        objectives.channel("stm", 1).bind(small_model())
