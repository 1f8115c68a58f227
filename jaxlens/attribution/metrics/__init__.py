"""Metrics of attributions: how far to trust them.

- Removal: `deletion`, `insertion`, `road`, `average_drop`, `average_gain`,
  `increase_in_confidence`; `blurred` and `noisy_linear_imputation` are their fills.
- Faithfulness: `infidelity`, `mu_fidelity`.
- Robustness: `sensitivity_max`, `stability`.
- Sanity checks: `model_randomization`, `random_logit`.
- Localization: `pointing_game`, `energy_pointing_game`.
- Shape and likeness of maps: `complexity`, `sparseness`; `spearman`, `ssim`.
"""

from jaxlens.attribution.metrics._curves import blurred as blurred
from jaxlens.attribution.metrics._curves import deletion as deletion
from jaxlens.attribution.metrics._curves import insertion as insertion
from jaxlens.attribution.metrics._drop import average_drop as average_drop
from jaxlens.attribution.metrics._drop import average_gain as average_gain
from jaxlens.attribution.metrics._drop import increase_in_confidence as increase_in_confidence
from jaxlens.attribution.metrics._fidelity import infidelity as infidelity
from jaxlens.attribution.metrics._fidelity import mu_fidelity as mu_fidelity
from jaxlens.attribution.metrics._inputs import Curve as Curve
from jaxlens.attribution.metrics._pointing import energy_pointing_game as energy_pointing_game
from jaxlens.attribution.metrics._pointing import pointing_game as pointing_game
from jaxlens.attribution.metrics._randomization import Randomization as Randomization
from jaxlens.attribution.metrics._randomization import model_randomization as model_randomization
from jaxlens.attribution.metrics._randomization import random_logit as random_logit
from jaxlens.attribution.metrics._road import noisy_linear_imputation as noisy_linear_imputation
from jaxlens.attribution.metrics._road import road as road
from jaxlens.attribution.metrics._sensitivity import sensitivity_max as sensitivity_max
from jaxlens.attribution.metrics._sensitivity import stability as stability
from jaxlens.attribution.metrics._shape import complexity as complexity
from jaxlens.attribution.metrics._shape import sparseness as sparseness
from jaxlens.attribution.metrics._similarity import spearman as spearman
from jaxlens.attribution.metrics._similarity import ssim as ssim
