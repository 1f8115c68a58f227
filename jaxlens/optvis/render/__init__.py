"""Rendering: images that maximize objectives."""

from jaxlens.optvis.render._batch_size import default_batch_size as default_batch_size
from jaxlens.optvis.render._loop import Progress as Progress
from jaxlens.optvis.render._lucid import render_vis as render_vis
from jaxlens.optvis.render._options import RenderOptions as RenderOptions
from jaxlens.optvis.render._render import evaluate as evaluate
from jaxlens.optvis.render._render import render as render
from jaxlens.optvis.render._result import RenderResult as RenderResult
from jaxlens.optvis.render._task import Task as Task
