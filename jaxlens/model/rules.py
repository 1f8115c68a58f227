"""Gradient rules, for `Model.with_gradient_rule`."""

from jaxlens._program import plain_gradient as plain_gradient
from jaxlens.model._rules import GradientRule as GradientRule
from jaxlens.model._rules import deconvnet as deconvnet
from jaxlens.model._rules import guided as guided
from jaxlens.model._rules import linearized as linearized
from jaxlens.model._rules import redirected as redirected
from jaxlens.model._rules import standard as standard
