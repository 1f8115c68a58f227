# pyright: strict
"""What a user may get wrong: an error for the type checker on each line that ends in "mistake". It
is read, not run.
"""

import numpy as np

import jaxlens
from jaxlens import attribution, modelzoo, recipes
from jaxlens.optvis import objectives, render

model = modelzoo.load("lensnet")
photos = np.zeros((2, 64, 48, 3), np.float32)
render.render(model, "mixed4a:3", step=8)  # mistake
render.render(model, "mixed4a:3", size="64")  # mistake
render.render(model, "mixed4a:3", batch=4)  # mistake
render.render(model, "mixed4a:3", steps="8")  # mistake
render.render(model, 3)  # mistake
render.render("lensnet", "mixed4a:3")  # mistake
recipes.diversity(model, "mixed4a:3", "mixed4a", counts=3)  # mistake
recipes.diversity(model, "mixed4a:3", "mixed4a", batch_size="2")  # mistake
recipes.deepdream(model, photos[0], "mixed4a", chunk=3)  # mistake
attribution.integrated_gradients(model, photos, 0, rule="middle")  # mistake
attribution.integrated_gradients(model, photos, 0, quadrature="simpson")  # mistake
attribution.smooth_grad(model, photos, 0, key=3)  # mistake
attribution.smooth_grad(model, photos, 0, batch_size="all")  # mistake
attribution.saliency("lensnet", photos)  # mistake
jaxlens.activations(model, photos, layer="mixed4a")  # mistake
model.shapes(64, ["mixed4a"])  # mistake
objectives.channel("mixed4a")  # mistake
jaxlens.Model.from_function(lambda params, x: x, {}, size=(8, 8))  # mistake
jaxlens.modelzo.load("lensnet")  # mistake
