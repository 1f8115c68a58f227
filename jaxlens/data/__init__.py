"""Image files in and out, animations, and labeled images to train on."""

from jaxlens.data._animation import save_animation as save_animation
from jaxlens.data._image import load_image as load_image
from jaxlens.data._image import save_image as save_image
from jaxlens.data._image import show_image as show_image
from jaxlens.data._image import to_uint8 as to_uint8
from jaxlens.data._imagenette import IMAGENETTE_CLASSES as IMAGENETTE_CLASSES
from jaxlens.data._imagenette import load_imagenette as load_imagenette
from jaxlens.data._loader import Loader as Loader
from jaxlens.data._loader import load_folder as load_folder
