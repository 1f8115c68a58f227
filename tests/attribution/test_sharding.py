"""Images spread over four virtual devices: every method gives each image its own values. One
subprocess for all.
"""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxlens
from jaxlens import attribution, site
from jaxlens.attribution import METHODS, metrics
from jaxlens.attribution._entry import MARK

SIZE, CELLS = (6, 8), np.arange(4).reshape(2, 2).repeat(3, 0).repeat(4, 1)
LAYER_CELLS = np.arange(2).repeat(2)[None].repeat(3, 0)
OPTIONS = {
    "integrated_gradients": {"steps": 2, "tolerance": None},
    "smooth_grad": {"samples": 2},
    "smooth_grad_squared": {"samples": 2},
    "var_grad": {"samples": 2},
    "occlusion": {"window": 3, "stride": 2},
    "feature_ablation": {"features": LAYER_CELLS},
    "rise": {"samples": 3, "cells": 2},
    "lime": {"samples": 8, "features": LAYER_CELLS},
    "kernel_shap": {"samples": 4, "features": LAYER_CELLS},
    "shapley_values": {"features": LAYER_CELLS},
    "shapley_sampling": {"permutations": 2, "features": LAYER_CELLS},
    "sobol": {"cells": 2, "designs": 2},
    "hsic": {"cells": 2, "samples": 4},
}
PIXELS_ONLY = ("full_grad",)
ROLLOUTS = ("attention_rollout", "gradient_rollout", "transformer_attribution")
EXPLICIT = ("saliency", "guided_backprop", "eigen_grad_cam", "occlusion", "kernel_shap", "deletion", "random_logit")
IN_JIT = ("saliency", "deletion")


def convolve(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def convolutional():
    rng = np.random.default_rng(0)
    shapes = {"first": (3, 3, 3, 4), "second": (3, 3, 4, 5), "head": (5, 3)}
    params = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}

    def forward(params, x):
        x = site("first", lambda x: jax.nn.relu(convolve(x, params["first"])))(x)
        return jax.nn.relu(convolve(x, params["second"]) + 0.1).mean((1, 2)) @ params["head"]

    return jaxlens.Model.from_function(forward, params, preprocess=lambda x: x - 0.4, input_size=SIZE)


def attentive():
    """Two layers of attention over 3 x 4 patches of 2 x 2 pixels."""
    params = jnp.asarray(np.random.default_rng(1).normal(size=(12, 3)), jnp.float32)

    def forward(params, x):
        t = x.reshape(-1, 3, 2, 4, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 12, 12)
        for i in range(2):
            a = site(f"block{i}.attention_weights", lambda t: jax.nn.softmax(t @ t.mT)[:, None])(t)
            t = t + jnp.einsum("bhij,bjc->bic", a, t)
        return t.mean(1) @ params

    return jaxlens.Model.from_function(forward, params, preprocess=lambda x: x, input_size=SIZE)


def cases():
    """What is asked, by name: functions of images."""
    model, transformer = convolutional(), attentive()
    signed = lambda x: x[..., :1] - x[..., 1:2]  # noqa: E731
    asked = {name: functools.partial(METHODS[name], transformer) for name in ROLLOUTS}
    for name in METHODS.keys() - set(ROLLOUTS):
        layer = {} if name in PIXELS_ONLY else {"layer": "first"}
        asked[name] = functools.partial(METHODS[name], model, **layer, **OPTIONS.get(name, {}))
    for name in ("conductance", "internal_influence", "spatial_attribution", "channel_attribution"):
        asked[name] = functools.partial(getattr(attribution, name), model, layer="first", steps=2)
    asked["neuron_conductance"] = functools.partial(attribution.neuron_conductance, model, layer="first", neuron=1, steps=2)
    values = np.random.default_rng(2).random((2, 3, 4, 4), dtype=np.float32)
    for name in ("expected_gradients", "deep_lift_shap"):
        asked[name] = functools.partial(getattr(attribution, name), model, layer="first", baselines=values)
    asked["expected_gradients"] = functools.partial(asked["expected_gradients"], samples=2)
    between = {"layer": "input", "to": "first"}
    asked["spatial_to_spatial"] = lambda x, target: attribution.spatial_to_spatial(model, x, **between)
    asked["noise_tunnel"] = lambda x, target: attribution.noise_tunnel(METHODS["grad_cam"], model, x, target, samples=2)
    for name, options in {
        "deletion": {"steps": 2}, "average_drop": {}, "infidelity": {"grid": 2, "samples": 2}, "road": {"fractions": (0.3,)},
        "mu_fidelity": {"grid": 3, "samples": 5},
    }.items():  # fmt: skip
        metric = getattr(metrics, name)
        asked[name] = lambda x, target, metric=metric, options=options: getattr(
            found := metric(model, x, signed(x), target, **options), "scores", found
        )
    saliency = METHODS["saliency"]
    asked["sensitivity_max"] = lambda x, target: metrics.sensitivity_max(saliency, model, x, target, samples=2, layer="first")
    asked["random_logit"] = lambda x, target: metrics.random_logit(saliency, model, x, target, layer="first")
    randomized = functools.partial(metrics.model_randomization, saliency, model)
    asked["model_randomization"] = lambda x, target: randomized(x, target, layer="first").similarity.T
    asked["noisy_linear_imputation"] = lambda x, target: metrics.noisy_linear_imputation(x, np.eye(6, 8) == 0)
    return {name: lambda x, fn=fn: getattr(found := fn(x, 1), "values", found) for name, fn in asked.items()}


def main():
    """Prints what is wrong, by name: how far it is off, or why it failed. All methods are one
    program: few compilations.
    """
    x = jnp.asarray(np.random.default_rng(0).random((4, *SIZE, 3), dtype=np.float32))
    automatic, explicit = (jax.make_mesh((4,), ("d",), axis_types=(kind,)) for kind in (AxisType.Auto, AxisType.Explicit))
    spec, wrong, asked = PartitionSpec("d"), {}, cases()

    def tried(way, names, x):
        found = {}
        for name in names:
            try:
                found[name] = asked[name](x)
            except Exception as failure:
                wrong[f"{name}, {way}"] = f"{type(failure).__name__}: {failure}"[:300]
        return found

    def compared(way, found):
        for name, values in found.items():
            error = float(np.abs(np.asarray(values) - alone[name]).max() / np.abs(alone[name]).max())
            wrong.update({} if error < 1e-4 else {f"{name}, {way}": error})

    alone = jax.tree.map(np.asarray, jax.jit(lambda x: tried("alone", asked, x))(x))
    sharded = jax.shard_map(lambda x: tried("shard_map", asked, x), mesh=automatic, in_specs=spec, out_specs=spec)
    compared("shard_map", jax.jit(sharded)(x))
    spread = jax.device_put(x, NamedSharding(explicit, spec))
    with jax.set_mesh(explicit):
        compared("explicit", tried("explicit", EXPLICIT, spread))
        compared("explicit, in jit", jax.jit(lambda x: tried("explicit, in jit", IN_JIT, x))(spread))
    found = asked["saliency"](spread)
    compared("explicit, no mesh set", {"saliency": found})
    print(json.dumps({"asked": len(asked), "axis": found.sharding.spec[0], "wrong": wrong}))


@pytest.fixture(scope="module")
def told():
    flags = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
    env = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-m", __name__], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_each_image_has_its_own_values_on_any_mesh(told):
    assert told["asked"] > 50
    assert told["wrong"] == {}
    assert told["axis"] == "d"  # what was spread stays so


def test_every_public_function_runs_on_explicit_meshes():
    """The decorator is on all that read images or maps, so that a few of them above stand for
    all.
    """
    simple = {"normalize", "relu", "sum_channels", "grid_features", "UnsupportedError", "Attribution", "IncompleteWarning"}
    for module, left in ((attribution, simple), (metrics, {"Curve", "Randomization"})):
        public = {name: fn for name, fn in vars(module).items() if callable(fn) and not name.startswith("_")}
        assert {name for name, fn in public.items() if not hasattr(fn, MARK)} == left


if __name__ == "__main__":
    main()
