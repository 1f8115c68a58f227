"""A JAX function as data: a flat list of steps, with its ReLUs, pools and what they depend on."""

from jaxlens._program._equation import run_equation as run_equation
from jaxlens._program._marks import MARK as MARK
from jaxlens._program._marks import OPERATORS_WANTED as OPERATORS_WANTED
from jaxlens._program._marks import operators_wanted as operators_wanted
from jaxlens._program._marks import plain_gradient as plain_gradient
from jaxlens._program._primitives import BILINEAR as BILINEAR
from jaxlens._program._primitives import ELEMENTWISE as ELEMENTWISE
from jaxlens._program._primitives import LINEAR as LINEAR
from jaxlens._program._primitives import LINEAR_IN as LINEAR_IN
from jaxlens._program._primitives import LOOKUPS as LOOKUPS
from jaxlens._program._primitives import POOLING as POOLING
from jaxlens._program._primitives import chosen_extremum as chosen_extremum
from jaxlens._program._primitives import elementwise as elementwise
from jaxlens._program._primitives import place_of_extremum as place_of_extremum
from jaxlens._program._primitives import pointwise_of as pointwise_of
from jaxlens._program._primitives import tests_nan as tests_nan
from jaxlens._program._steps import Problem as Problem
from jaxlens._program._steps import Step as Step
from jaxlens._program._steps import Value as Value
from jaxlens._program._trace import Program as Program
from jaxlens._program._trace import evaluate as evaluate
from jaxlens._program._trace import trace as trace
from jaxlens._program._trace import way_back as way_back
from jaxlens._program._windows import Window as Window
from jaxlens._program._windows import largest_and_place as largest_and_place
