"""The README: its snippets run, with fewer steps and neurons, and its links lead somewhere."""

import ast
import builtins
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import jaxlens
from jaxlens import attribution, plot, recipes
from jaxlens.data import synthetic

README = Path(__file__).parents[1] / "README.md"


SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)


def snippet(word):
    (found,) = (code for code in SNIPPETS if word in code)
    return found


@pytest.mark.parametrize("code", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_copied_alone_has_all_its_names(code):
    nodes = list(ast.walk(ast.parse(code)))
    imported = {(name.asname or name.name).partition(".")[0] for node in nodes for name in getattr(node, "names", [])}
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    known = imported | stored | {node.arg for node in nodes if isinstance(node, ast.arg)} | set(dir(builtins))
    assert not {node.id for node in nodes if isinstance(node, ast.Name)} - known
    exec("\n".join(ast.unparse(node) for node in ast.parse(code).body if isinstance(node, ast.Import | ast.ImportFrom)), {})


def test_the_first_screen(tmp_path, monkeypatch):
    """Rendered, shown and kept."""
    monkeypatch.chdir(tmp_path)
    shown, names = [], {}
    monkeypatch.setattr("PIL.Image.Image.show", lambda image, *args, **options: shown.append(image.size))
    code = snippet("steps=128")
    short = code.replace("range(16)", "range(2)").replace("steps=128", "steps=1").replace("images[3, 0]", "images[1, 0]")
    assert short != code
    exec(short, names)
    assert names["result"].images.shape == (2, 1, 128, 128, 3)
    assert shown == [(128, 128)] and {path.name for path in tmp_path.iterdir()} == {"neuron3.png", "neurons.png"}


def test_models_of_your_own():
    names = {}
    exec(snippet("Model.from_linen"), names)


@pytest.mark.slow
def test_a_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = snippet("microscope.render_layers")
    short = code.replace("range(4)", "range(2)").replace("steps=16", "steps=1")
    assert short != code
    exec(short, {})
    assert sorted(path.name for path in (tmp_path / "tiles" / "mixed4a").iterdir()) == ["0000.png", "0001.png"]


@pytest.mark.slow
def test_look_inside_and_known_features():
    names = {}
    exec(snippet("interceptors.ablate"), names)
    layer = names["model"].layers["mixed4a"]
    assert repr(layer) in snippet("interceptors.ablate")
    names = {}
    exec(snippet("synthetic.stimuli"), names)
    assert names["images"].shape == (24, 64, 64, 3)
    tuning = jaxlens.activations(names["model"], names["images"], ["mixed4a"])["mixed4a"].max((1, 2))
    assert f"# tuning curves, {list(tuning.shape)}" in snippet("synthetic.stimuli")


@pytest.mark.slow
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
    names = {}
    code = snippet("from_torch")
    exec(code, names)
    assert repr(names["model"].layers["1"]) in code

    *lines, _ = snippet("vit_b_16").splitlines()  # the last needs a file of the reader's
    names = {}
    exec("\n".join(lines[:3]), names)
    for line in lines[3:]:
        shown, _, shape = line.partition("  # ")
        assert shape.startswith(str(eval(shown, names)))


PLACES = ("https://raw.githubusercontent.com/jaxlens/jaxlens/main/", "https://github.com/jaxlens/jaxlens/blob/main/")


def test_links_are_absolute_and_lead_to_what_is_there():
    """The page of a package index shows the README alone."""
    links = re.findall(r'(?:src|href)="([^"]+)"|\]\(([^)\s]+)\)', README.read_text())
    links = [src or link for src, link in links]
    assert len(links) > 8 and [link for link in links if not link.startswith("https://")] == []
    ours = [(place, link.removeprefix(place)) for link in links for place in PLACES if link.startswith(place)]
    assert [path for _, path in ours if not (README.parent / path).is_file()] == []
    pictures = [path for place, path in ours if place == PLACES[0]]
    assert len(pictures) >= 3 and all(path.endswith((".png", ".jpg", ".gif")) for path in pictures)


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
