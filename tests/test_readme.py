"""The README's first snippets, run as they stand but for the number of steps and neurons."""

import ast
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import jaxlens
from jaxlens import attribution, plot, recipes
from jaxlens.data import synthetic

README = Path(__file__).parents[1] / "README.md"


def snippet(word):
    (found,) = (code for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if word in code)
    return found


def test_the_first_screen():
    names = {}
    code = snippet("steps=128")
    short = code.replace("range(16)", "range(2)").replace("steps=128", "steps=1")
    assert short != code
    exec(short, names)
    assert names["result"].images.shape == (2, 1, 128, 128, 3)


def test_a_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = snippet("microscope.render_layers")
    short = code.replace("range(4)", "range(2)").replace("steps=16", "steps=1")
    assert short != code
    names = {"model": jaxlens.modelzoo.load("lensnet")}
    exec(short, names)
    assert sorted(path.name for path in (tmp_path / "tiles" / "mixed4a").iterdir()) == ["0000.png", "0001.png"]


def test_look_inside_and_known_features():
    names = {"modelzoo": jaxlens.modelzoo}
    exec(snippet("interceptors.ablate"), names)
    layer = names["model"].layers["mixed4a"]
    assert repr(layer) in snippet("interceptors.ablate")
    exec(snippet("synthetic.stimuli"), names)
    assert names["images"].shape == (24, 64, 64, 3)
    tuning = jaxlens.activations(names["model"], names["images"], ["mixed4a"])["mixed4a"].max((1, 2))
    assert f"# tuning curves, {list(tuning.shape)}" in snippet("synthetic.stimuli")


def test_every_attribution_shown_can_be_called_so():
    """Names, arguments and layers; and the ones on maps run."""
    model, code = jaxlens.modelzoo.load("lensnet"), snippet("attribution.grad_cam")
    tree = ast.parse(code)
    called = {"attribution": attribution, "metrics": attribution.metrics, "plot": plot}
    count = 0
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        if isinstance(call.func.value, ast.Name) and call.func.value.id in called:
            function = getattr(called[call.func.value.id], call.func.attr)
            inspect.signature(function).bind(*call.args, **{word.arg: word.value for word in call.keywords})
            count += 1
        for word in call.keywords:
            if word.arg == "layer":
                assert model.resolve(ast.literal_eval(word.value))
    assert count > 10
    photos = np.asarray(synthetic.generate(0, ["bricks"]).images)
    heat = attribution.grad_cam(model, photos, layer="mixed4a")
    assert f"# {list(heat.values.shape)}".replace("[1,", "[B,") in code


def test_networks_and_imports(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    names = {"modelzoo": jaxlens.modelzoo}
    code = snippet("from_torch")
    exec(code, names)
    assert repr(names["model"].layers["1"]) in code

    *lines, _ = snippet("vit_b_16").splitlines()  # the last needs a file of the reader's
    exec(lines[0], names)
    for line in lines[1:]:
        shown, _, shape = line.partition("  # ")
        assert shape.startswith(str(eval(shown, names)))


def test_the_pictures_are_there():
    for path in re.findall(r'src="([^"]+)"', README.read_text()):
        assert (README.parent / path).is_file(), path


def test_every_recipe_shown_can_be_called_so():
    """Names, arguments and layers; what recipes do is tested elsewhere."""
    model, code = jaxlens.modelzoo.load("lensnet"), snippet("recipes.invert")
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and "recipes." in ast.unparse(node.func)]
    assert len(calls) > 12
    for call in calls:
        recipe = getattr(recipes, call.func.attr)
        arguments = {word.arg: word.value for word in call.keywords}
        inspect.signature(recipe).bind(*call.args, **arguments)
        for node in ast.walk(call):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                model.resolve(node.value.partition(":")[0])
