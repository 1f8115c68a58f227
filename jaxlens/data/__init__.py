"""Images in and out."""

from jaxlens.data._image import load_image as load_image
from jaxlens.data._image import save_image as save_image
from jaxlens.data._image import show_image as show_image
from jaxlens.data._image import to_uint8 as to_uint8
