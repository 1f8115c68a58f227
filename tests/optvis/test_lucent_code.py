"""Code written for Lucent: a published notebook, with only its imports and its model line
changed.
"""

import re
import warnings

import matplotlib
import numpy as np
import pytest

from jaxlens import modelzoo

IMPORTS = """
from typing import Optional
import torch
import numpy as np
import matplotlib.pyplot as plt
from matplotlib.gridspec import GridSpec
from jaxlens.optvis import render, param, transform, objectives
"""


def code_of(text, section):
    """The code cells of one numbered section of the notebook's text."""
    body = re.search(rf"^## {section}\. .*?(?=^## \d|\Z)", text, re.M | re.S)
    assert body is not None
    cells = re.findall(r"^In \[None\]:\n(.*?)(?=^##|^---|^In \[None\]|\Z)", body[0], re.M | re.S)
    assert cells
    return "\n".join(cells)


@pytest.mark.slow
def test_the_activation_maximization_notebook(shared_data, monkeypatch):
    pytest.importorskip("torch")  # the notebook's annotations name it
    source = shared_data.parent / "reference" / "003_0ad805d3ac73514f.txt"
    text = source.read_text()
    matplotlib.use("Agg")
    shown = []
    monkeypatch.setattr("jaxlens.optvis.render._lucid.display", shown.append)
    names = {"model": modelzoo.load("inceptionv1", weights=None)}
    exec(IMPORTS, names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notebook's own matplotlib layouts
        for section in (3, 4, 6, 7):
            exec(re.sub(r"num_steps=\d+", "num_steps=2", code_of(text, section)), names)
    assert names["demo_image"].shape == (128, 128, 3) and len(shown) == 1
    assert sorted(names["neuron_visualizations"]) == list(range(10))
    assert names["fft_img"].shape == names["pixel_img"].shape == (128, 128, 3)
    assert not np.allclose(names["fft_img"], names["pixel_img"])
    assert names["high_res_image"].shape == (256, 256, 3)
    assert names["high_res_image"].min() >= 0 and names["high_res_image"].max() <= 1
