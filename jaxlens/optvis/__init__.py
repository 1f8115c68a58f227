"""Optimization-based visualization: objectives, parameterizations, transforms, rendering."""

from jaxlens.optvis import objectives as objectives
from jaxlens.optvis import param as param
from jaxlens.optvis import render as render
from jaxlens.optvis import transform as transform
