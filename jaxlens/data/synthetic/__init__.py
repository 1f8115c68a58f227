"""Pictures whose content is known: labelled classes to train on, and stimuli with exact parameters to measure with."""

from jaxlens.data.synthetic._classes import CLASSES as CLASSES
from jaxlens.data.synthetic._families import FAMILIES as FAMILIES
from jaxlens.data.synthetic._generate import Pictures as Pictures
from jaxlens.data.synthetic._generate import generate as generate
from jaxlens.data.synthetic._generate import stimuli as stimuli
