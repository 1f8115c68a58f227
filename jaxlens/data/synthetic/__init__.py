"""Pictures whose content is known: labeled classes to train on, stimuli to measure with.

`generate` draws pictures of `CLASSES`, with random details. `stimuli` draws bare figures of
`FAMILIES` with exact parameters.
"""

from jaxlens.data.synthetic._classes import CLASSES as CLASSES
from jaxlens.data.synthetic._families import FAMILIES as FAMILIES
from jaxlens.data.synthetic._generate import Pictures as Pictures
from jaxlens.data.synthetic._generate import generate as generate
from jaxlens.data.synthetic._generate import stimuli as stimuli
