"""Every public name of Lucid's and Lucent's `optvis` is here with the same leading arguments, or is
left out for a reason.
"""

import inspect

import pytest

from jaxlens.optvis import objectives, param, render, transform
from jaxlens.optvis.param import color

# Lucid 0.3 (lucid/optvis) and Lucent 0.1.8 (lucent/optvis): the names and arguments of both, in
# order.
OBJECTIVES = {
    "neuron": "layer n_channel x y batch",
    "channel": "layer n_channel batch",
    "direction": "layer vec cossim_pow batch",
    "direction_cossim": "layer vec cossim_pow batch",
    "direction_neuron": "layer vec x y cossim_pow batch",
    "tensor_direction": "layer vec cossim_pow batch",
    "neuron_weight": "layer weight x y batch",
    "channel_weight": "layer weight batch",
    "localgroup_weight": "layer weight x y wx wy batch",
    "deepdream": "layer",
    "total_variation": "layer",
    "L1": "layer constant",
    "L2": "layer constant epsilon",
    "blur_input_each_step": "",
    "blur_alpha_each_step": "",
    "channel_interpolate": "layer1 n_channel1 layer2 n_channel2",
    "penalize_boundary_complexity": "shp w mask C",
    "alignment": "layer decay_ratio",
    "diversity": "layer",
    "input_diff": "orig_img",
    "class_logit": "layer label batch",
    "as_objective": "",  # obj in Lucid, value here: nobody names it
    "wrap_objective": "",
    "Objective": "",
}
PARAM = {
    "image": "w h batch sd decorrelate fft alpha channels",
    "cppn": "",  # width first in Lucid; here w, h, batch as everywhere
    "fft_image": "shape sd decay_power",
    "pixel_image": "shape sd",
    "laplacian_pyramid_image": "shape n_levels sd",
    "lowres_tensor": "shape underlying_shape offset sd",
    "to_valid_rgb": "t decorrelate sigmoid",
    "constrain_L_inf": "x",
}
TRANSFORM = {
    "jitter": "d",
    "pad": "w mode constant_value",
    "random_scale": "scales",
    "random_rotate": "angles units",
    "normalize_gradient": "grad_scale",
    "compose": "transforms",
    "collapse_alpha_random": "sd",
    "crop_or_pad_to": "height width",
    "standard_transforms": None,
}
RENDER = {
    "render_vis": "model objective_f param_f optimizer transforms thresholds",
}
HERE = [
    (module, name, arguments)
    for module, names in ((objectives, OBJECTIVES), (param, PARAM), (transform, TRANSFORM), (render, RENDER))
    for name, arguments in names.items()
]

# Why what is not here is not, and what to write instead.
LEFT_OUT = {
    "objectives.Objective.sum's description": "`describe()`",
    "objectives.handle_batch": "wrap_objective'd functions index the batch axis themselves",
    "param.naive": "`param.pixel_image`, `param.image(fft=False)`",
    "param.rgb_image": "`param.to_valid_rgb`",
    "param.image_sample": "an image and its start: `p.to_image(p.init(key))`",
    "param.grayscale_image_rgb": "`param.grayscale(param.image(w, channels=1))`",
    "param.bilinearly_sampled_image": "for textures of meshes, which need a renderer of meshes",
    "param.resize_bilinear_nd": "`param.lowres_tensor`, or `jax.image.resize`",
    "param.unit_ball_L2": "`param.ball(images, radius, 'L2')`",
    "param.unit_ball_L_inf": "`param.ball(images, radius, 'Linf')`",
    "param.multi_interpolation_basis": "`param.aligned` and `recipes.interpolate`",
    "transform.preprocess_inceptionv1": "a Model does its own preprocessing",
    "transform.normalize": "a Model does its own preprocessing",
    "transform.translate": "`transform.pad` and `transform.jitter`",
    "render.make_vis_T": "there is no graph: `render.render`",
    "render.make_t_image": "`param`",
    "render.make_transform_f": "`transform.compose`",
    "render.make_optimizer": "any optax optimizer",
    "render.import_model": "`jaxlens.Model`",
    "render.hook_model": "`jaxlens.activations`",
    "render.tensor_to_img_array": "results are arrays",
    "render.view": "`data.show_image`",
    "render.export": "`data.save_image`",
    "render.show": "`data.show_image`",
    "overrides.gradient_override_map": "`Model.with_gradient_rule`",
    "overrides.redirected_relu_grad": "`rules.redirected`",
    "overrides.redirected_relu6_grad": "`rules.redirected`, which knows ReLU6",
    "overrides.avg_smoothed_maxpool_grad": '`rules.standard(pools="average")`',
    "overrides.l2_smoothed_maxpool_grad": '`rules.standard(pools="l2")`',
    "overrides.linearization_overrides": "`rules.linearized()`",
    "overrides.relu_overrides": "`rules`",
    "overrides.pooling_overrides": "`pools=` of any rule",
    "overrides.default_overrides": "`redirect_steps` of `render`",
    "overrides.use_gradient": "`rules.GradientRule`, or `jax.custom_vjp`",
}


@pytest.mark.parametrize(("module", "name", "arguments"), HERE, ids=lambda value: value if isinstance(value, str) else "")
def test_the_name_is_here_with_its_arguments(module, name, arguments):
    value = getattr(module, name)
    if arguments:
        ours = [p.name for p in inspect.signature(value).parameters.values()]
        wanted = arguments.split()
        if module is objectives and ours[0] in ("layer", "layer1"):
            wanted[0] = ours[0]
        assert ours[: len(wanted)] == wanted


def test_what_is_left_out_is_not_here_by_another_road():
    for full in LEFT_OUT:
        module, _, name = full.partition(".")
        place = {"objectives": objectives, "param": param, "transform": transform, "render": render}.get(module)
        assert place is None or not hasattr(place, name), full


def test_lucids_color_numbers():
    for name in ("color_correlation_svd_sqrt", "max_norm_svd_sqrt", "color_correlation_normalized", "color_mean"):
        assert hasattr(color, name)


def test_lucents_own_names():
    """Read from the package itself, where it is installed."""
    lucent = pytest.importorskip("lucent.optvis.objectives")
    names = {n for n, v in vars(lucent).items() if inspect.isfunction(v) and v.__module__ == lucent.__name__ and n[0] != "_"}
    missing = {n for n in names if not hasattr(objectives, n)} - {"handle_batch", "torch_blur", "image_diff"}
    assert missing == set()
    transforms = pytest.importorskip("lucent.optvis.transform")
    names = {
        n for n, v in vars(transforms).items() if inspect.isfunction(v) and v.__module__ == transforms.__name__ and n[0] != "_"
    }
    assert {n for n in names if not hasattr(transform, n)} <= {name.partition(".")[2] for name in LEFT_OUT} | {
        "radians2degrees", "degrees2radians", "preprocess_inceptionv1", "normalize", "center_crop", "preprocess_vgg16",
    }  # fmt: skip
