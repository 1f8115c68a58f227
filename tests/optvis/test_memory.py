"""Automatic batches, half precision, and Ctrl-C at any moment."""

import os
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens import modelzoo
from jaxlens.model import activations
from jaxlens.optvis import objectives
from jaxlens.optvis.render import _batch_size, _loop, _tasks, render
from tests.helpers import images, relative_error, small_model

LAYER = "blocks.0.conv2"
QUICK = {"size": (24, 28), "steps": 3, "redirect_steps": 0, "progress": False}


@pytest.fixture(scope="module")
def model():
    return small_model(input_size=(24, 28))


def sizes_of(monkeypatch):
    """The batches that are run, as they are run."""
    plain, sizes = _tasks.run_batch, []
    monkeypatch.setattr(_tasks, "run_batch", lambda *args: (sizes.append(len(args[3])), plain(*args))[1])
    return sizes


@pytest.mark.slow
def test_memory_grows_with_the_batch_and_not_with_steps(model, monkeypatch):
    seen = {}
    plain = _tasks._step.memory
    monkeypatch.setattr(_tasks._step, "memory", lambda *args: seen.setdefault(args[-1].keys.shape[0], plain(*args)))
    for batch in (2, 4, 8):
        for steps in (1, 3):
            render(model, objectives.channel(LAYER, range(8)), **QUICK | {"steps": steps}, batch_size=batch)
    assert list(seen) == [2, 4, 8]
    assert (seen[8] - seen[4]) / (seen[4] - seen[2]) == pytest.approx(2, rel=0.1)


@pytest.mark.slow
def test_a_batch_fits_the_limit(model, monkeypatch):
    """What is independent of the batch is counted for every task, so that one guess does and errs
    towards less.
    """
    monkeypatch.setattr(_batch_size, "_resident", lambda: 0)
    sizes = sizes_of(monkeypatch)
    wanted = objectives.channel(LAYER, range(8))
    whole = render(model, wanted, **QUICK, batch_size=8)
    need = {}
    plain = _tasks._step.memory
    monkeypatch.setattr(_tasks._step, "memory", lambda *args: need.setdefault(args[-1].keys.shape[0], plain(*args)))
    for fits, expected in ((8, [8]), (4, [3, 3, 3]), (3, [2] * 4), (1, [1] * 8)):
        render(model, wanted, **QUICK, batch_size=fits)  # tells what a batch of this size needs
        sizes.clear()
        found = render(model, wanted, **QUICK, batch_size=8, memory_limit=int(need[fits] * 1.25 / 0.78) + 3)
        assert sizes == expected
        assert np.abs(found.images - whole.images).max() < 1e-4
    with pytest.raises(MemoryError, match="One task for each device needs .* MiB, but memory_limit"):
        render(model, wanted, **QUICK, batch_size=8, memory_limit=int(need[1] * 1.25 / 0.78) - 3)
    for bad in (0, "1 GB"):
        with pytest.raises((ValueError, TypeError), match="memory_limit="):
            render(model, wanted, **QUICK, memory_limit=bad)


def test_what_is_taken_already_counts(monkeypatch):
    devices = jax.devices()[:1]
    monkeypatch.setattr(_batch_size, "_resident", lambda: 300)
    assert _batch_size.room(1000, devices) == pytest.approx(480 / 1.25)
    assert _batch_size.room(1000, devices * 2) == pytest.approx(240 / 1.25)  # devices of one process share its memory

    class Card:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_limit": 2000, "bytes_in_use": 100}

    assert _batch_size.room(None, [Card(), Card()]) == pytest.approx(1460 / 1.25)
    assert _batch_size.room(1000, [Card()]) == pytest.approx(680 / 1.25)


@pytest.mark.slow
def test_out_of_memory_halves_the_batch(model, monkeypatch):
    plain, sizes = _tasks.run_batch, []

    def scarce(*args):
        sizes.append(len(args[3]))
        if len(args[3]) > 3:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 123 bytes.")
        return plain(*args)

    whole = render(model, objectives.channel(LAYER, range(7)), **QUICK, batch_size=7)
    monkeypatch.setattr(_tasks, "run_batch", scarce)
    found = render(model, objectives.channel(LAYER, range(7)), **QUICK, batch_size=7)
    assert sizes == [7, 3, 3, 3] and found.names == whole.names
    assert np.abs(found.images - whole.images).max() < 1e-4
    monkeypatch.setattr(
        _tasks, "run_batch", lambda *args: (_ for _ in ()).throw(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: x"))
    )
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        render(model, objectives.channel(LAYER, [0]), **QUICK)


def test_other_errors_are_not_taken_for_memory(model, monkeypatch):
    monkeypatch.setattr(_tasks, "run_batch", lambda *args: (_ for _ in ()).throw(ValueError("no")))
    with pytest.raises(ValueError, match="no"):
        render(model, objectives.channel(LAYER, range(4)), **QUICK, batch_size=4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("squeezenet1_1", "features.12"),
        ("resnet18", "fc"),
        ("vit_b_32", "heads.head"),
        ("swin_t", "head"),
        ("inceptionv1", "mixed4a"),
        ("convnext_tiny", "classifier.2"),
        ("lensnet", "mixed5b"),
    ],
)
def test_half_precision_is_close(name, layer):
    """Every float operation of every family runs in bfloat16, and loses about its 8 bits."""
    model = modelzoo.load(name, weights="DEFAULT" if name == "lensnet" else None, progress=False)
    x = images(1, model.input_size if name.startswith(("vit", "swin")) else (72, 88))
    exact, half = (activations(m, x, [layer])[layer] for m in (model, model.astype("bfloat16")))
    assert half.dtype == jnp.bfloat16 and exact.dtype == jnp.float32
    distance = np.linalg.norm(np.asarray(half, np.float32) - exact) / np.linalg.norm(exact)
    assert 1e-4 < distance < 0.06


@pytest.mark.slow
def test_half_precision_render(model):
    wanted = objectives.channel(LAYER, range(2))
    exact, half = (render(model, wanted, **QUICK, compute_dtype=dtype) for dtype in (None, "bfloat16"))
    assert half.images.dtype == half.scores.dtype == np.float32
    assert all(leaf.dtype != jnp.bfloat16 for leaf in jax.tree.leaves(half.theta))
    assert 1e-6 < relative_error(half.scores[:, 0], exact.scores[:, 0]) < 0.05
    with pytest.raises(TypeError, match="dtype='int32' must be a floating-point type"):
        render(model, wanted, **QUICK, compute_dtype="int32")


def test_ctrl_c_within_a_step_waits_for_its_end(model, monkeypatch):
    """A signal that arrives while the step has taken the old state's memory."""
    plain, steps = _loop._step.step, []

    def step(*args):
        after = plain(*args)
        steps.append(1)
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return after

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(_loop._step, "step", step)
    result = render(model, objectives.channel(LAYER, [0]), **QUICK | {"steps": 9})
    assert len(steps) == 2 and not result.finished and result.scores.shape == (1, 2)
    assert np.isfinite(result.images).all() and signal.getsignal(signal.SIGINT) is before


def test_renders_in_another_thread(model):
    found = []
    thread = threading.Thread(target=lambda: found.append(render(model, objectives.channel(LAYER, [0]), **QUICK)))
    thread.start()
    thread.join(120)
    assert found and found[0].finished
