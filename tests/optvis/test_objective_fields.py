"""What the fields of an objective say: leaves and their rank, layers, images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens._pytree import field, pytree
from jaxlens.optvis import objectives
from jaxlens.optvis.objectives import _base
from tests.helpers import small_model
from tests.optvis.objective_cases import ACTS, A
from tests.optvis.test_objectives import CASES


@pytree
class Ratio(objectives.Objective):
    """An objective of one's own: fields of any name, told apart by what they say."""

    power: np.ndarray = field(rank=0)
    places: tuple[str, ...] = field(role="layer")
    shown: int | None = field(role="image", default=None)
    inner: objectives.Objective

    def __call__(self, activations):
        over, under = (activations[name][self.shown].mean() for name in self.places)
        return (over / under) ** self.power * self.inner(activations)

    def describe(self, task=0):
        return "ratio"


def ratio(**changes):
    inner = objectives.channel("a", 2)
    return Ratio(**{"power": np.float32(2), "places": ("a", "dense"), "inner": inner, "shown": 1} | changes)


def test_fields_say_which_layers_are_read():
    assert ratio().layers == ("a", "dense")
    bound = ratio(places=("stem", "blocks_0_relu"), inner=objectives.channel("stem", 0)).bind(small_model())
    assert bound.places == ("stem", "blocks.0.relu@1") and bound.layers == bound.places
    with pytest.raises(TypeError, match="layer=3 must be the name of a layer"):
        ratio(places=("a", 3))


def test_fields_say_which_image_is_read():
    shapes = {"a": (5, 7, 4), "dense": (4,)}
    ratio().check(shapes, 2)
    ratio(shown=None).check(shapes, 1)
    with pytest.raises(ValueError, match=r"shown=1 is outside 0\.\.0: a task has 1 image"):
        (2 * ratio()).check(shapes, 1)
    with pytest.raises(ValueError, match="shown=-1 must be an integer >= 0"):
        ratio(shown=-1)
    assert jax.tree.structure(ratio()) != jax.tree.structure(ratio(shown=0))  # static


def test_an_image_that_a_target_stands_for_is_not_asked_for():
    shapes, target = {"a": (5, 7, 4)}, A[0]
    objectives.dot_compare("a", 7, target=target).check(shapes, 1)
    with pytest.raises(ValueError, match=r"batch=7 is outside 0\.\.0"):
        objectives.dot_compare("a", 7).check(shapes, 1)


def test_a_walk_meets_every_leaf_with_its_rank():
    objective = ratio() - 0.5 * objectives.direction("a", np.eye(3, 4))
    met = [(type(part).__name__, np.shape(leaf), rank) for part, leaf, rank in _base.leaves_with_rank(objective)]
    assert [name for name, _, _ in met].count("Scaled") == 2
    assert ("Ratio", (), 0) in met and ("Channel", (), 0) in met and ("Direction", (3, 4), 1) in met
    assert len(met) == len(jax.tree.leaves(objective)) and _base.task_count(objective) == 3


@pytest.mark.parametrize("case", CASES)
def test_leaves_are_numpy_arrays_of_32_bits(case):
    leaves = jax.tree.leaves(CASES[case][0])
    assert all(isinstance(leaf, np.ndarray) and leaf.dtype in (np.int32, np.float32) for leaf in leaves)


def test_leaves_are_copies_and_do_not_change():
    given = np.ones(4, np.float32)
    objective = objectives.direction("a", given)
    given[:] = 7
    np.testing.assert_array_equal(objective.vector, 1)
    with pytest.raises(ValueError, match="read-only"):
        objective.vector[:] = 7


def test_leaves_may_be_traced():
    score = jax.jit(lambda index, weight: (weight * objectives.channel("a", index))(ACTS))
    np.testing.assert_allclose(score(2, 0.5), 0.5 * A[..., 2].mean(), rtol=1e-4)
    slope = jax.grad(lambda vec: objectives.direction("a", vec)(ACTS))(jnp.ones(4))
    np.testing.assert_allclose(slope, A.mean((0, 1, 2)), rtol=1e-3, atol=1e-6)
