"""Every method by name, for what works on any of them: the command line, figures, tests."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from jaxlens.attribution import (
    _cam,
    _cam_scores,
    _deep_lift,
    _full_grad,
    _gradient,
    _hsic,
    _lrp,
    _noise,
    _occlusion,
    _path,
    _rise,
    _shapley,
    _sobol,
    _surrogate,
    _transformer,
)
from jaxlens.attribution._result import Attribution

METHODS: Mapping[str, Callable[..., Attribution]] = MappingProxyType(
    {
        method.__name__: method
        for method in (
            _gradient.saliency,
            _gradient.input_x_gradient,
            _gradient.guided_backprop,
            _gradient.deconvnet,
            _noise.smooth_grad,
            _noise.smooth_grad_squared,
            _noise.var_grad,
            _path.integrated_gradients,
            _deep_lift.deep_lift,
            _lrp.lrp,
            _full_grad.full_grad,
            _cam.grad_cam,
            _cam.grad_cam_plus_plus,
            _cam.xgrad_cam,
            _cam.hires_cam,
            _cam.grad_cam_elementwise,
            _cam.layer_cam,
            _cam.eigen_cam,
            _cam.eigen_grad_cam,
            _cam_scores.score_cam,
            _cam_scores.ablation_cam,
            _cam.guided_grad_cam,
            _cam.random_cam,
            _occlusion.occlusion,
            _occlusion.feature_ablation,
            _rise.rise,
            _surrogate.lime,
            _surrogate.kernel_shap,
            _shapley.shapley_values,
            _shapley.shapley_sampling,
            _sobol.sobol,
            _hsic.hsic,
            _transformer.attention_rollout,
            _transformer.gradient_rollout,
            _transformer.transformer_attribution,
        )
    }
)
"""Those that take `(model, images, target)` and need nothing else; their keywords differ."""

SIZES = frozenset((
    "saliency", "guided_backprop", "deconvnet", "smooth_grad", "smooth_grad_squared", "var_grad", "full_grad",
    "guided_grad_cam", "sobol", "hsic", "attention_rollout", "gradient_rollout", "transformer_attribution",
))  # fmt: skip
"""Of these how large a value is says how much its place matters. A sign, if there is one, is that of a gradient: whether a
brighter pixel would raise the score, and not whether the pixel speaks for the target."""

LEVELS = frozenset(("rise", "eigen_cam", "eigen_grad_cam", "random_cam"))
"""Of these only differences count: the higher a value, the more its place matters, and 0 is nothing special."""
