"""Figures: contact sheets, tables of renders, attribution maps, activations, training curves.

Pictures come back as Pillow images (`.save("figure.png")` writes one), `collapse_channels`,
`hue_to_rgb` and `maco_display` as arrays, `training_curves` as a matplotlib figure.

- Renders: `contact_sheet`, `evolution_strip`, `comparison`, `interaction_grid`, `maco_display`.
- Attributions: `attribution_map` for one, `attributions` for a table of methods.
- Activations: `collapse_channels`, and `hue_to_rgb` for its colors.
- Training: `training_curves`.
"""

from jaxlens.plot._attribution import attribution_map as attribution_map
from jaxlens.plot._attribution import attributions as attributions
from jaxlens.plot._compare import comparison as comparison
from jaxlens.plot._compare import evolution_strip as evolution_strip
from jaxlens.plot._compare import interaction_grid as interaction_grid
from jaxlens.plot._hue import collapse_channels as collapse_channels
from jaxlens.plot._hue import hue_to_rgb as hue_to_rgb
from jaxlens.plot._maco import maco_display as maco_display
from jaxlens.plot._sheet import contact_sheet as contact_sheet
from jaxlens.plot._training import training_curves as training_curves
