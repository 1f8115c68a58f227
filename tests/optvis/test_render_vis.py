"""`render_vis`: Lucent's call and what it returns."""

import inspect

import numpy as np
import optax
import pytest

from jaxlens.data import load_image
from jaxlens.optvis import objectives, param, render
from tests.helpers import small_model


@pytest.fixture(scope="module")
def model():
    return small_model(input_size=(24, 28))


def image():
    return param.image(28, 24)


def test_one_array_per_threshold(model):
    images = render.render_vis(model, "stem:3", image, thresholds=(4, 2), show_image=False, progress=False)
    assert [i.shape for i in images] == [(1, 24, 28, 3)] * 2
    assert not np.array_equal(*images)


def test_batches_come_out_flat(model):
    images = render.render_vis(
        model,
        objectives.channel("stem", [0, 1]) - 1e2 * objectives.diversity("stem"),
        lambda: param.image(28, 24, batch=3),
        thresholds=(1,),
        show_image=False,
        progress=False,
    )
    assert images[0].shape == (6, 24, 28, 3)


def test_every_option_of_lucent(model, tmp_path, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("jaxlens.optvis.render._lucid.display", shown.append)
    images = render.render_vis(
        model,
        "stem:1",
        param_f=image,
        optimizer=optax.adam(0.1),
        transforms=[],
        thresholds=(1, 2),
        verbose=True,
        preprocess=True,
        progress=False,
        show_image=True,
        save_image=True,
        image_name=str(tmp_path / "one.png"),
        show_inline=False,
        fixed_image_size=32,
    )
    assert "Score at step 1" in capsys.readouterr().out
    assert np.abs(load_image(tmp_path / "one.png") - images[-1][0]).max() < 1 / 255
    assert len(shown) == 1 and shown[0].shape == (24, 28, 3)


def test_signature_begins_as_lucents():
    lucent = pytest.importorskip("lucent.optvis.render", exc_type=ImportError)
    ours, theirs = (inspect.signature(f).parameters for f in (render.render_vis, lucent.render_vis))
    assert list(ours)[: len(theirs)] == list(theirs)
    assert all(ours[name].default == theirs[name].default for name in theirs)


def test_preprocess_false_feeds_the_image_as_it_is(model, capsys):
    start = np.full((24, 28, 3), 0.3, np.float32)
    scores = {}
    for preprocess in (True, False):
        render.render_vis(
            model,
            lambda T: T("stem").mean() + 100,
            lambda: param.image(28, 24, init=start),
            transforms=[],
            thresholds=(1,),
            preprocess=preprocess,
            verbose=True,
            show_image=False,
            progress=False,
        )
        scores[preprocess] = float(capsys.readouterr().out.split()[-1])
    bare = model.replace(preprocess=lambda x: x)
    for preprocess, network in ((True, model), (False, bare)):
        want = render.evaluate(network, lambda T: T("stem").mean() + 100, start[None, None])[0]
        assert scores[preprocess] == pytest.approx(want, abs=2e-3)
    assert abs(scores[True] - scores[False]) > 1e-2  # control: the range matters to this network


def test_bad_arguments(model):
    with pytest.raises(ValueError, match="thresholds is empty"):
        render.render_vis(model, "stem:1", thresholds=())
    with pytest.raises(TypeError, match="must be an optax optimizer"):
        render.render_vis(model, "stem:1", optimizer=lambda params: None)
