"""Bad arguments of loaders, animations, synthetic pictures and training: refused in words, before
anything is made.
"""

import copy
import dataclasses
import multiprocessing
import pickle

import numpy as np
import pytest
from flax import nnx

from jaxlens import modelzoo
from jaxlens.data import Loader, load_folder, save_animation, save_image, synthetic
from jaxlens.training import evaluate, train_model

FRAMES = np.zeros((2, 8, 8, 3), np.float32)


@pytest.fixture
def folder(tmp_path):
    for i in range(3):
        save_image(tmp_path / "set" / "ab"[i % 2] / f"{i}.png", np.full((20, 24, 3), i / 4, np.float32))
    return tmp_path / "set"


@pytest.mark.parametrize("name", ["size", "batch_size", "seed", "threads"])
@pytest.mark.parametrize("value", [float("nan"), -1, 1.5, True, None, "4", 2**70, float("inf")])
def test_numbers_of_a_loader(folder, name, value):
    with pytest.raises((TypeError, ValueError), match=f"{name}="):
        load_folder(folder, **({"size": 16, "batch_size": 1} | {name: value}))


def test_numpy_integers_in_a_loader(folder):
    loader = load_folder(folder, np.int64(16), np.int32(2), seed=np.uint8(3), threads=np.int64(0))
    assert next(iter(loader))[0].shape == (2, 16, 16, 3)
    with pytest.raises(TypeError, match="number=1.5 must be an integer"):
        loader.epoch(1.5)


@pytest.mark.parametrize(
    ("labels", "message"),
    [((0,), "labels has 1 entries for 2 files"), ((0, 2), "labels=2 must be an integer in 0..1"), ((0, -1), "labels=-1 must")],
)
def test_labels_of_another_number_or_place(folder, labels, message):
    files = tuple(sorted(folder.rglob("*.png")))[:2]
    with pytest.raises(ValueError, match=message):
        Loader(files, labels, ("a", "b"), 16, 1)


def _first(loader, queue):
    queue.put(next(iter(loader)))


@pytest.mark.slow
def test_a_loader_is_copied_pickled_and_sent_to_a_spawned_process(folder):
    loader = load_folder(folder, 16, 2, train=True, threads=0)
    want = next(iter(loader))  # also after use
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_first, args=(loader, queue))
    process.start()
    made = [next(iter(each)) for each in (pickle.loads(pickle.dumps(loader)), copy.copy(loader), copy.deepcopy(loader))]
    for images, labels in [*made, queue.get(timeout=200)]:
        np.testing.assert_array_equal(images, want[0])
        np.testing.assert_array_equal(labels, want[1])
    process.join()
    assert dataclasses.replace(loader, seed=1) != loader


def test_pictures_are_pickled():
    pictures = synthetic.generate(0, ["circle"], 16)
    again = pickle.loads(pickle.dumps(pictures))
    np.testing.assert_array_equal(again.images, pictures.images)
    assert again.params.keys() == pictures.params.keys()


@pytest.mark.parametrize("fps", [0, -3, float("nan"), float("inf"), 1e-9, 1e9, 2**70, None, "20", True, [20]])
@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_speeds_that_no_format_has(tmp_path, fps, suffix):
    with pytest.raises((TypeError, ValueError), match="fps="):
        save_animation(tmp_path / f"a{suffix}", FRAMES, fps)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("frames", [None, 3, "frames", b"x", {}, object(), [None], [3], np.zeros((0,), np.float32)])
def test_frames_that_are_none(tmp_path, frames):
    with pytest.raises((TypeError, ValueError), match="frames"):
        save_animation(tmp_path / "a.gif", frames)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"orientation": []}, r"orientation=\[\] must be finite numbers"),
        ({"orientation": np.inf}, "orientation=inf must be finite"),
        ({"orientation": 2**70}, "orientation=1180591620717411303424 must be"),
        ({"orientation": 1e9}, "orientation=1000000000.0 must be finite numbers of at most 1e"),
        ({"orientation": "up"}, "orientation='up' must be"),
        ({"orientation": 3j}, "orientation=3j must be"),
        ({"orientation": True}, "orientation=True must be"),
        ({"orientation": [[1], [2, 3]]}, "orientation=.* must be"),
        ({"orientation": np.zeros((2, 2))}, "orientation=.* must be"),
        ({"width": 0}, "width=0 must be finite numbers of at most 1e.06, above 0"),
        ({"width": -2}, "width=-2 must be"),
        ({"background": "abc"}, "background='abc' must be three numbers"),
        ({"foreground": [[1], [2, 3]]}, "foreground=.* must be three numbers"),
        ({"size": (32, 32, 3)}, r"size=\(32, 32, 3\) must be an integer or"),
        ({"size": 2**70}, "size=1180591620717411303424 must be of at most 8192"),
        ({"seed": 2**32 + 1}, "seed=4294967297 must be"),
        ({"seed": "a"}, "seed='a' must be"),
    ],
)
def test_stimuli_of_what_is_no_number(params, message):
    with pytest.raises((TypeError, ValueError), match=message):
        synthetic.stimuli("bar", **({"size": 16} | params))


@pytest.mark.parametrize("labels", [[], "circle", None, 3, {}, np.zeros((2, 2), int), [None], [1.5], [71], [-1], ["square"]])
def test_labels_that_are_none(labels):
    with pytest.raises((TypeError, ValueError, LookupError), match="labels"):
        synthetic.generate(0, labels, 16)


class Net(nnx.Module):
    def __init__(self):
        self.head = nnx.Linear(3, 2, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.head(x.mean((1, 2)))


BATCHES = [(FRAMES, np.zeros(2, int))]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": None}, "model=NoneType must be a flax.nnx.Module"),
        ({"model": lambda x: x}, "model=function must be a flax.nnx.Module"),
        ({"epochs": 2**70}, "epochs=1180591620717411303424 would never end"),
        ({"epochs": 1.5}, "epochs=1.5 must be an integer"),
        ({"learning_rate": float("nan")}, "learning_rate=nan must be a finite number > 0"),
        ({"learning_rate": -1}, "learning_rate=-1 must be"),
        ({"learning_rate": "fast"}, "learning_rate='fast' must be"),
        ({"optimizer": "adam"}, "optimizer='adam' must be an optax transformation"),
        ({"preprocess": 3}, "preprocess=3 must be a function"),
        ({"train": 3}, "train=int must have a length"),
        ({"train": "ab"}, "train=str must be batches"),
        ({"train": [None]}, r"must be a pair \(images, labels\), but one is NoneType"),
        ({"val": 3}, "val=3 must be batches"),
        ({"checkpoint": 3}, "checkpoint=3 must be a path"),
        ({"checkpoint": ""}, "checkpoint='' must be a path"),
    ],
)
def test_training_of_what_cannot_be_trained(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        train_model(**({"model": Net(), "train": BATCHES, "epochs": 1, "progress": False} | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"model": 3}, "model=int must be"), ({"batches": 3}, "batches=3 must be"), ({"preprocess": "x"}, "preprocess='x' must")],
)
def test_evaluation_of_what_cannot_be_evaluated(options, message):
    with pytest.raises(TypeError, match=message):
        evaluate(**({"model": Net(), "batches": BATCHES} | options))


@pytest.mark.parametrize(
    "options", [{"num_classes": 0}, {"num_classes": 2**70}, {"num_classes": "3"}, {"seed": 2**32}, {"seed": None}]
)
def test_numbers_of_the_simple_cnn(options):
    (name,) = options
    with pytest.raises((TypeError, ValueError), match=f"{name}="):
        modelzoo.simple_cnn(**options)
