"""Models: named layers, interceptors, gradient rules, and networks of other libraries."""

from jaxlens.model import interceptors as interceptors
from jaxlens.model import rules as rules
from jaxlens.model._activations import activations as activations
from jaxlens.model._activations import check_model as check_model
from jaxlens.model._architecture import Layer as Layer
from jaxlens.model._blocks import blocks as blocks
from jaxlens.model._blocks import find_layers as find_layers
from jaxlens.model._model import Model as Model
from jaxlens.model._preprocess import IMAGENET as IMAGENET
from jaxlens.model._preprocess import INCEPTION as INCEPTION
from jaxlens.model._preprocess import Preprocess as Preprocess
from jaxlens.model._sites import Interceptor as Interceptor
from jaxlens.model._sites import Site as Site
from jaxlens.model._sites import site as site
