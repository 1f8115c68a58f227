"""Ctrl-C and closed pipes, by real signals to real processes."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from jaxlens._interrupt import deferred_interrupt
from jaxlens.model import Model, Preprocess
from jaxlens.optvis.render import render
from tests.cli.saved import here  # noqa: F401

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Signals as POSIX has them.")
LONG = ("--steps", "1000000")


def begin(folder, *arguments, options=()):
    """A process in which Ctrl-C works as at a prompt, also if the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, *options, "-m", "jaxlens", *arguments],
            cwd=folder,
            env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.getcwd()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def wait_for(process, word):
    """Reads standard error up to a line with a word."""
    for line in process.stderr:
        if word in line:
            return
    raise AssertionError(f"ended without {word!r}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("render", "any.safetensors", "1:0", *LONG, "--out", "o"), "numpy"),
        (("render", "any.safetensors", "1:0", *LONG, "--out", "o"), "compiling"),
        (("render", "any.safetensors", "--layer", "1", *LONG, "--out", "job"), "compiling"),
        (("dream", "any.safetensors", "wide.png", *LONG, "--size", "12", "--out", "d.png"), "step/s"),
    ],
    ids=["while it loads", "a render", "a job", "a dream between two lines"],
)
def test_ctrl_c_ends_a_command(here, arguments, word):  # noqa: F811
    with begin(here, *arguments, options=("-X", "importtime") if word == "numpy" else ()) as process:
        wait_for(process, word)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=240)
    assert process.returncode == 130 and "Traceback" not in told
    assert [line.partition(". ")[0].rstrip(".") for line in told.splitlines() if line][-1] == "Interrupted"


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error(here):  # noqa: F811
    for arguments in (("models",), ("layers", "any.safetensors"), ("render", "--help")):
        with begin(here, *arguments) as process:
            process.stdout.close()
            told = process.stderr.read()
        assert process.returncode == 0 and told == ""


@pytest.fixture
def handled():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


MODEL = Model.from_function(
    lambda params, x: x.mean((1, 2)) * params, np.float32(1), name="mean", preprocess=Preprocess(), input_size=(4, 6)
)
QUICK = {"size": (4, 6), "steps": 12, "redirect_steps": 0, "transforms": [], "progress": False}


def press(info=None):
    signal.raise_signal(signal.SIGINT)


def at(step, action):
    return lambda info: action() if info.step == step else None


def test_a_handler_of_the_users_own_is_called_for_the_first_press(handled):
    calls = []
    signal.signal(signal.SIGINT, lambda *_: calls.append(1))
    result = render(MODEL, "logits:0", **QUICK, callback=at(3, press))
    assert calls == [1] and result.finished  # theirs decides


def test_a_handler_of_the_users_own_that_raises_ends_the_render(handled):
    def theirs(number, frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, theirs)
    result = render(MODEL, "logits:0", **QUICK, callback=at(3, press))
    assert not result.finished and np.isfinite(result.images).all()
    assert signal.getsignal(signal.SIGINT) is theirs


def test_a_handler_that_a_callback_sets_stays(handled):
    def theirs(number, frame):
        raise AssertionError("not pressed")

    render(MODEL, "logits:0", **QUICK, callback=at(3, lambda: signal.signal(signal.SIGINT, theirs)))
    assert signal.getsignal(signal.SIGINT) is theirs


@pytest.mark.parametrize("step", [1, 7, 12])
def test_a_press_is_never_lost(handled, step):
    """Not at the last step either, after which nothing looks again."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    result = render(MODEL, "logits:0", **QUICK, callback=at(step, press))
    assert not result.finished and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_press_that_nobody_asks_about_is_raised_at_the_end(handled):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():
        press()
    with deferred_interrupt() as outer:
        with deferred_interrupt() as inner:
            press()
            assert inner()
        assert outer()
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():
        press()
        press()


def test_an_interrupted_job_returns(handled, tmp_path, monkeypatch):
    from jaxlens import microscope
    from jaxlens.microscope import _render_layers

    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(_render_layers, "render", lambda *a, **k: render(*a, **k, callback=at(12, press)))
    job = microscope.render_layers(MODEL, ["logits"], tmp_path / "out", **QUICK | {"transforms": None})
    assert not job.finished and job.rendered == 0 and not (tmp_path / "out").exists()


def test_an_interrupted_dream_ends_at_its_octave(handled):
    from jaxlens import recipes

    signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.2, press)
    image = np.full((12, 18, 3), 0.5, np.float32)
    timer.start()
    result = recipes.deepdream(MODEL, image, "logits", octaves=3, steps=100_000, jitter=0, progress=False)
    timer.join()
    assert not result.finished and result.images.shape == (1, 1, 12, 18, 3)
