"""Whole layers and whole networks, rendered into a folder that survives interruption and that several processes may share."""

from jaxlens.microscope._job import RenderJob as RenderJob
from jaxlens.microscope._job import render_layers as render_layers
from jaxlens.microscope._layers import blocks as blocks
from jaxlens.microscope._layers import find_layers as find_layers
from jaxlens.microscope._tile import Tile as Tile
from jaxlens.microscope._tile import folder_name as folder_name
from jaxlens.microscope._tile import read_tile as read_tile
