"""Whole layers and whole networks, rendered into a folder.

The job survives interruption, and several processes may share the folder.
"""

from jaxlens._files import folder_name as folder_name
from jaxlens.microscope._render_layers import RenderJob as RenderJob
from jaxlens.microscope._render_layers import render_layers as render_layers
from jaxlens.microscope._tile import Tile as Tile
from jaxlens.microscope._tile import read_tile as read_tile
from jaxlens.model._blocks import blocks as blocks
from jaxlens.model._blocks import find_layers as find_layers
