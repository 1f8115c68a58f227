"""The public names, frozen: change them on purpose."""

import subprocess
import sys
import types

import pytest

import converters
import jaxlens
from jaxlens import attribution, data, errors, graph, microscope, model, modelzoo, plot, recipes, training
from jaxlens.attribution import metrics
from jaxlens.data import synthetic
from jaxlens.optvis import objectives, param, render, transform

NAMES = {
    jaxlens: "Layer Model activations site",
    model: "IMAGENET INCEPTION Interceptor Layer Model Preprocess Site activations blocks check_model find_layers site",
    modelzoo: "Info architecture cache_dir info load names save simple_cnn weights",
    graph: "Graph GraphForward Tensor",
    converters: "convert from_torch read_state_dict",
    objectives: "L1 L2 L_inf Objective activation_difference alignment angled_neuron_direction as_objective "
    "attribution_compare blur_alpha_each_step blur_input_each_step channel channel_interpolate channel_weight class_logit "
    "class_probability combine cossim_compare decay deepdream direction direction_cossim direction_neuron diversity "
    "dot_compare gram guide input_diff l1_compare l2_compare localgroup_weight mean_L1 mean_L2 neuron neuron_weight "
    "lucent only_after pearson_compare penalize_boundary_complexity spatial_channel stack style style_ema tensor_direction "
    "total_variation weighted_dot_compare wrap_objective",
    param: "Parameterization aligned ball beside composite_activation composite_activation_unbiased constrain_L_inf cppn "
    "deepsim_colors each fft_image fourier_phase from_functions generator grayscale image laplacian_pyramid_image "
    "lowres_tensor maco masked natural_spectrum pixel_image relu_normalized spectrum_of starting_at to_valid_rgb",
    transform: "Transform anneal blur collapse_alpha_random color_jitter compose crop_or_pad_to flip gamma identity jitter "
    "noise normalize_gradient pad per_image preset random_boxes random_crop random_rotate random_scale resize roll "
    "standard_transforms uniform",
    recipes: "accentuate adversarial attribution_caricature both_signs caricature class_visualization compare_methods "
    "deepdream diversity interactions interpolate invert maco style_transfer tileable transparent zoom",
    render: "Progress RenderOptions RenderResult Task default_batch_size evaluate render render_vis",
    data: "IMAGENETTE_CLASSES Loader load_folder load_image load_imagenette save_animation save_image show_image to_uint8",
    synthetic: "CLASSES FAMILIES Pictures generate stimuli",
    microscope: "RenderJob Tile blocks find_layers folder_name read_tile render_layers",
    training: "History evaluate train_model",
    plot: "attribution_map attributions collapse_channels comparison contact_sheet evolution_strip hue_to_rgb "
    "interaction_grid maco_display training_curves",
    attribution: "METHODS Attribution IncompleteWarning UnsupportedError ablation_cam attention_maps attention_rollout "
    "channel_attribution channel_to_channel conductance deconvnet deep_lift deep_lift_shap eigen_cam eigen_grad_cam "
    "expected_gradients feature_ablation feature_permutation full_grad grad_cam grad_cam_elementwise "
    "grad_cam_plus_plus gradient_rollout grid_features group_attribution guided_backprop guided_grad_cam hires_cam "
    "hsic input_x_gradient integrated_gradients internal_influence kernel_shap layer_cam lime lrp neuron_conductance "
    "noise_tunnel normalize occlusion random_cam relu resize rise saliency score_cam shapley_sampling shapley_values "
    "smooth_grad smooth_grad_squared sobol spatial_attribution spatial_to_spatial sum_channels "
    "transformer_attribution var_grad xgrad_cam",
    metrics: "Curve Randomization average_drop average_gain blurred complexity deletion energy_pointing_game "
    "increase_in_confidence infidelity insertion model_randomization mu_fidelity noisy_linear_imputation pointing_game "
    "random_logit road sensitivity_max sparseness spearman ssim stability",
    errors: "AssumedWarning ConversionError DatasetError DownloadError GradientRuleError ImageFileError ImageTooSmallError "
    "IncompleteWarning NonFiniteError NonFiniteWarning UnknownLabelError UnknownLayerError UnsupportedError "
    "UnsupportedOperatorError WeightsError",
}


@pytest.mark.parametrize("module", NAMES, ids=lambda module: module.__name__)
def test_public_names(module):
    public = {n for n, v in vars(module).items() if not n.startswith("_") and not isinstance(v, types.ModuleType)}
    assert sorted(public - {"jaxtyping", "Any", "TYPE_CHECKING"}) == sorted(NAMES[module].split())


@pytest.mark.parametrize("module", NAMES, ids=lambda module: module.__name__)
def test_everything_public_is_documented(module):
    for name in NAMES[module].split():
        value = getattr(module, name)
        assert name.isupper() or isinstance(value, list) or value.__doc__, name


@pytest.mark.slow
def test_sub_packages_load_when_they_are_touched():
    script = (
        "import sys, jaxlens; assert not {'jaxlens.optvis', 'jaxlens.attribution', 'torch'} & {*sys.modules}; "
        "jaxlens.modelzoo.names, jaxlens.optvis.render.render, jaxlens.attribution.saliency; assert 'recipes' in dir(jaxlens); "
        "print(jaxlens.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == jaxlens.__version__, done.stderr
    with pytest.raises(AttributeError, match="has no attribute 'modelzo'"):
        _ = jaxlens.modelzo
