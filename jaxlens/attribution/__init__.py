"""Which pixels, which neurons, and how far to trust the answer.

Every method is called as
`METHOD(model, images, target=None, *, layer=..., baseline=..., seed=..., batch_size=...)`,
with those keywords that mean something to it. It returns an `Attribution`: raw signed values, not
rectified, normalized or resized.

```python
found = attribution.integrated_gradients(model, images, "tabby")
found.values, found.delta                                   # [B, H, W, 3], what completeness lacks
heat = attribution.normalize(attribution.relu(attribution.grad_cam(model, images).values))
attribution.metrics.deletion(model, images, found).area     # how far to trust it
```

What the arguments mean, wherever they occur:

- model: any `jaxlens.Model`. Methods of gradients honor its gradient rule, if it has one.
- images: floats `[B, H, W, C]` in [0, 1]. Images do not see each other.
- target: what is explained, one number per image. None is each image's top class. A class number (0
  is a class) or a label is a logit. "features.9:3", or any objective of
  `jaxlens.optvis.objectives`, is that: a neuron, a probability (`class_probability`), a difference
  of two classes (`class_logit("logits", "tabby") - class_logit("logits", "beagle")`). A list has
  one of these for each image, objectives of one kind.
- layer: attribute to what this layer outputs instead of to the image. It must be on the way to the
  target.
- baseline: what counts as nothing. None is black; else a number, an image `[H, W, C]`, or one image
  each. At a layer it is what the layer makes of that image, or values of the layer's own shape.
- seed: an int or a JAX key. Random draws do not depend on the other images.
- batch_size: how many evaluations of the network are made at a time (images, or image and sample).
  It bounds memory and changes nothing else. By default 8 on a CPU and 128 on an accelerator, where
  a method makes many for each image.

Methods are functions of arrays: they work inside `jax.jit` and `jax.shard_map` and on meshes with
explicit axes, and give each image the same result there. Where values or scores are NaN or
infinite, a `NonFiniteWarning` names the images (under `jit`, where nothing is known, they stay
NaN).
"""

from jaxlens.attribution import metrics as metrics
from jaxlens.attribution._maps import normalize as normalize
from jaxlens.attribution._maps import relu as relu
from jaxlens.attribution._maps import resize as resize
from jaxlens.attribution._maps import sum_channels as sum_channels
from jaxlens.attribution._registry import METHODS as METHODS
from jaxlens.attribution._result import Attribution as Attribution
from jaxlens.attribution.cam._cam import eigen_cam as eigen_cam
from jaxlens.attribution.cam._cam import eigen_grad_cam as eigen_grad_cam
from jaxlens.attribution.cam._cam import grad_cam as grad_cam
from jaxlens.attribution.cam._cam import grad_cam_elementwise as grad_cam_elementwise
from jaxlens.attribution.cam._cam import grad_cam_plus_plus as grad_cam_plus_plus
from jaxlens.attribution.cam._cam import guided_grad_cam as guided_grad_cam
from jaxlens.attribution.cam._cam import hires_cam as hires_cam
from jaxlens.attribution.cam._cam import layer_cam as layer_cam
from jaxlens.attribution.cam._cam import random_cam as random_cam
from jaxlens.attribution.cam._cam import xgrad_cam as xgrad_cam
from jaxlens.attribution.cam._scores import ablation_cam as ablation_cam
from jaxlens.attribution.cam._scores import score_cam as score_cam
from jaxlens.attribution.gradient._building_blocks import channel_attribution as channel_attribution
from jaxlens.attribution.gradient._building_blocks import channel_to_channel as channel_to_channel
from jaxlens.attribution.gradient._building_blocks import group_attribution as group_attribution
from jaxlens.attribution.gradient._building_blocks import spatial_attribution as spatial_attribution
from jaxlens.attribution.gradient._building_blocks import spatial_to_spatial as spatial_to_spatial
from jaxlens.attribution.gradient._conductance import conductance as conductance
from jaxlens.attribution.gradient._conductance import neuron_conductance as neuron_conductance
from jaxlens.attribution.gradient._noise import noise_tunnel as noise_tunnel
from jaxlens.attribution.gradient._noise import smooth_grad as smooth_grad
from jaxlens.attribution.gradient._noise import smooth_grad_squared as smooth_grad_squared
from jaxlens.attribution.gradient._noise import var_grad as var_grad
from jaxlens.attribution.gradient._path import expected_gradients as expected_gradients
from jaxlens.attribution.gradient._path import integrated_gradients as integrated_gradients
from jaxlens.attribution.gradient._path import internal_influence as internal_influence
from jaxlens.attribution.gradient._saliency import deconvnet as deconvnet
from jaxlens.attribution.gradient._saliency import guided_backprop as guided_backprop
from jaxlens.attribution.gradient._saliency import input_x_gradient as input_x_gradient
from jaxlens.attribution.gradient._saliency import saliency as saliency
from jaxlens.attribution.perturbation._features import grid_features as grid_features
from jaxlens.attribution.perturbation._hsic import hsic as hsic
from jaxlens.attribution.perturbation._occlusion import feature_ablation as feature_ablation
from jaxlens.attribution.perturbation._occlusion import feature_permutation as feature_permutation
from jaxlens.attribution.perturbation._occlusion import occlusion as occlusion
from jaxlens.attribution.perturbation._rise import rise as rise
from jaxlens.attribution.perturbation._shapley import shapley_sampling as shapley_sampling
from jaxlens.attribution.perturbation._shapley import shapley_values as shapley_values
from jaxlens.attribution.perturbation._sobol import sobol as sobol
from jaxlens.attribution.perturbation._surrogate import kernel_shap as kernel_shap
from jaxlens.attribution.perturbation._surrogate import lime as lime
from jaxlens.attribution.propagation._deep_lift import deep_lift as deep_lift
from jaxlens.attribution.propagation._deep_lift import deep_lift_shap as deep_lift_shap
from jaxlens.attribution.propagation._full_grad import full_grad as full_grad
from jaxlens.attribution.propagation._lrp import lrp as lrp
from jaxlens.attribution.transformer._attention import attention_maps as attention_maps
from jaxlens.attribution.transformer._attention import attention_rollout as attention_rollout
from jaxlens.attribution.transformer._attention import gradient_rollout as gradient_rollout
from jaxlens.attribution.transformer._attention import transformer_attribution as transformer_attribution
from jaxlens.errors import IncompleteWarning as IncompleteWarning
from jaxlens.errors import UnsupportedError as UnsupportedError
