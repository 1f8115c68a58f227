"""Figures."""

from jaxlens.plot._sheet import contact_sheet as contact_sheet
from jaxlens.plot._training import training_curves as training_curves
