"""Sanity checks by randomisation: planted answers, and the bundled network, which is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from scipy import stats

from jaxlens import Model, _params, modelzoo
from jaxlens.attribution import Attribution, guided_backprop, saliency
from jaxlens.attribution import metrics as m
from jaxlens.data import synthetic
from jaxlens.model import IMAGENET
from jaxlens.model._controls import parameter_groups, redrawn
from tests.helpers import small_model

H, W = 12, 15


def named(params):
    return {name: np.asarray(leaf) for name, leaf in _params.named(params)}


def _two_layers(params, x):
    hidden = jnp.tanh(jnp.dot(x.reshape(x.shape[0], -1), params["a"], precision="highest"))
    return hidden @ params["b"]["kernel"] + params["b"]["bias"][None]


def two_layers(seed=0):
    keys = jax.random.split(jax.random.key(seed))
    params = {
        "a": jax.random.normal(keys[0], (H * W, 6)) / 4,
        "b": {"kernel": jax.random.normal(keys[1], (6, 3)), "bias": jnp.zeros(3)},
    }
    return Model.from_function(_two_layers, params, preprocess=lambda x: x, input_size=(H, W), channels=1)


TWO = two_layers()


def draw(count=2):
    return jax.random.uniform(jax.random.key(1), (count, H, W, 1))


@pytest.mark.slow
def test_guided_backprop_hardly_sees_the_network_and_saliency_does():
    """Adebayo et al.'s finding, on a trained network: with its upper half random, one map is new
    and the other the same.
    """
    network = modelzoo.load("lensnet")
    x = synthetic.generate(jax.random.key(3), synthetic.CLASSES[::20], (56, 64)).images
    layers = ("softmax2_pre_activation_matmul", "mixed5b", "mixed4b")
    kept = {method: m.model_randomization(method, network, x, layers=layers) for method in (saliency, guided_backprop)}
    falls, stays = (np.asarray(kept[method].similarity) for method in (saliency, guided_backprop))
    assert falls.shape == (3, len(x)) and kept[saliency].layers == layers
    assert (falls[-1] < 0.6).all() and falls[-1].mean() < 0.5 and falls[-1].mean() < falls[0].mean()
    assert (stays[-1] > 0.8).all()
    # and so does exchanging the class
    logits = [np.asarray(m.random_logit(method, network, x)) for method in (saliency, guided_backprop)]
    assert logits[0].mean() < 0.8 and (logits[1] > 0.95).all()


def test_layers_go_from_the_output_down_whatever_the_framework():
    small = parameter_groups(small_model(input_size=(16, 24)), None)
    want = ["head", "blocks.1.conv2", "blocks.1.conv1", "blocks.0.conv2", "blocks.0.conv1", "norm", "stem"]
    assert list(small) == want
    assert small["norm"] == ["norm.bias", "norm.mean", "norm.scale", "norm.var"]

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.relu(linen.BatchNorm(use_running_average=True, name="z")(linen.Conv(4, (3, 3), name="y")(x)))
            return linen.Dense(3, name="a")(x.mean((1, 2)))

    net = Net()
    model = Model.from_linen(net, net.init(jax.random.key(0), jnp.zeros((1, 8, 9, 3))), preprocess=IMAGENET, input_size=(8, 9))
    groups = parameter_groups(model, None)
    assert list(groups) == ["a", "z", "y"] and sorted(groups["z"])[0] == "batch_stats.z.mean" and len(groups["z"]) == 4

    # names that are no layers: the order of the tensors, the last first
    assert parameter_groups(TWO, None) == {"b": ["b.bias", "b.kernel"], "a": ["a"]}


def test_layers_may_be_chosen_by_name_or_block():
    model = small_model(input_size=(16, 24))
    groups = parameter_groups(model, ["blocks.0", "head"])
    assert list(groups) == ["blocks.0", "head"] and len(groups["blocks.0"]) == 4
    assert all(name.startswith("blocks.0.") for name in groups["blocks.0"])
    with pytest.raises(LookupError, match="'blok' has no parameters in small.*Closest.*blocks"):
        parameter_groups(model, ["blok"])
    inside = parameter_groups(modelzoo.load("squeezenet1_1", None), ["features.1", "features.10"][1:])
    assert all(name.startswith("features.10.") for name in inside["features.10"])
    with pytest.raises(LookupError, match=r"features.1'"):  # a ReLU, and not the beginning of features.10
        parameter_groups(modelzoo.load("squeezenet1_1", None), ["features.1"])


def test_redrawn_tensors_keep_mean_deviation_and_sign():
    keys = jax.random.split(jax.random.key(2), 3)
    params = {
        "kernel": 3 + 0.5 * jax.random.normal(keys[0], (60, 50)),
        "other": 3 + 0.5 * jax.random.normal(keys[0], (60, 50)),
        "var": jnp.abs(jax.random.normal(keys[1], (500,))),
        "bias": jnp.zeros(7),
        "scale": jnp.ones(7),
    }
    new = redrawn(params, jax.random.key(0))
    np.testing.assert_allclose([new["kernel"].mean(), new["kernel"].std()], [3, 0.5], rtol=0.05)
    assert abs(np.corrcoef(new["kernel"].ravel(), np.asarray(params["kernel"]).ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(new["kernel"].ravel(), new["other"].ravel())[0, 1]) < 0.1  # each tensor has its own key
    assert (new["var"] >= 0).all() and new["var"].std() > 0.3
    for name in ("bias", "scale"):
        np.testing.assert_array_equal(new[name], params[name])


def test_cascades_keep_what_is_random_and_independent_ones_do_not():
    seen = []

    def recorded(model, images, target=None, **options):
        seen.append(named(model.params))
        return saliency(model, images, target, **options)

    changed = lambda at: sorted(name for name in seen[0] if (seen[at][name] != seen[0][name]).any())  # noqa: E731
    cascade = m.model_randomization(recorded, TWO, draw(), layers=["a", "b"])
    assert [changed(1), changed(2)] == [["a"], ["a", "b.kernel"]]
    first = seen[1]["a"]
    seen.clear()
    alone = m.model_randomization(recorded, TWO, draw(), layers=["a", "b"], order="independent")
    assert [changed(1), changed(2)] == [["a"], ["b.kernel"]]
    np.testing.assert_array_equal(seen[1]["a"], first)
    np.testing.assert_array_equal(cascade.similarity[0], alone.similarity[0])
    assert (cascade.similarity[1] != alone.similarity[1]).any()
    np.testing.assert_array_equal(named(TWO.params)["a"], named(two_layers().params)["a"])  # the model is what it was


def test_similarity_is_scipys_of_absolute_values_and_the_target_stays():
    x, targets, maps = draw(), [], []

    def recorded(model, images, target=None, **options):
        found = saliency(model, images, target, sign="all", **options)
        targets.append(np.asarray(target.index))
        maps.append(np.abs(np.asarray(found.values)).reshape(2, -1))
        return found

    found = m.model_randomization(recorded, TWO, x)
    want = [[stats.spearmanr(maps[0][i], each[i]).statistic for i in (0, 1)] for each in maps[1:]]
    np.testing.assert_allclose(found.similarity, want, atol=1e-5)
    assert all((each == targets[0]).all() for each in targets)
    assert (targets[0] == np.asarray(TWO(x)).argmax(1)).all()


@pytest.mark.parametrize("similarity", ["spearman", "ssim"])
def test_a_map_that_ignores_the_network_stays(similarity):
    edges = lambda model, images, target=None: Attribution(values=-images, scores=images.sum((1, 2, 3)), method="edges")  # noqa: E731
    np.testing.assert_allclose(m.model_randomization(edges, TWO, draw(), similarity=similarity).similarity, 1, atol=1e-5)
    found = m.model_randomization(saliency, TWO, draw(), similarity=similarity).similarity
    assert (found[-1] < 0.7).all()


def test_keys_and_jit():
    x = draw()
    found = [m.model_randomization(saliency, TWO, x, seed=key).similarity for key in (1, jax.random.key(1), 2)]
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()
    jitted = jax.jit(lambda model, x: m.model_randomization(saliency, model, x, seed=1))(TWO, x)
    np.testing.assert_allclose(jitted.similarity, found[0], atol=1e-3)


def _linear(params, x):
    return jnp.dot(x.reshape(x.shape[0], -1), params, precision="highest")


def test_random_logit_compares_with_another_class():
    weights = jax.random.normal(jax.random.key(0), (H * W, 2))
    model = Model.from_function(_linear, weights, preprocess=lambda x: x, input_size=(H, W), channels=1)
    want = stats.spearmanr(*np.abs(np.asarray(weights)).T).statistic
    for target in (None, 0, [1, 0]):  # of two classes the other is the other
        np.testing.assert_allclose(m.random_logit(saliency, model, draw(), target), want, atol=1e-5)
    many = Model.from_function(_linear, jnp.tile(weights[:, :1], (1, 4)), preprocess=lambda x: x, input_size=(H, W), channels=1)
    np.testing.assert_allclose(m.random_logit(saliency, many, draw(), 3), 1, atol=1e-6)
    with pytest.raises(ValueError, match="is no class"):
        m.random_logit(saliency, TWO, draw(), lambda look: look("logits").mean())


def test_choices_are_refused_with_what_is_legal():
    for options, match in (
        ({"order": "down"}, "order='down' must be one of cascading, independent"),
        ({"similarity": "pearson"}, "similarity='pearson' must be one of spearman, ssim"),
    ):
        with pytest.raises(ValueError, match=match):
            m.model_randomization(saliency, TWO, draw(), **options)
    wide = Model.from_function(_linear, jnp.ones((6 * W, 2)), preprocess=lambda x: x, input_size=(6, W), channels=1)
    with pytest.raises(ValueError, match="at least 11 x 11"):
        m.model_randomization(saliency, wide, draw()[:, :6], similarity="ssim")
