"""Figures."""

from jaxlens.plot._sheet import contact_sheet as contact_sheet
