"""`train_model` on small folders of images: accuracy, resumption, precision, bad data."""

import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jaxlens
from jaxlens import modelzoo
from jaxlens.data import load_folder, save_image, synthetic
from jaxlens.model import IMAGENET
from jaxlens.plot import training_curves
from jaxlens.training import History, evaluate, train_model

CLASSES = ("bar-0", "checker", "red-on-green")
SIZE = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes, a folder each, with 24 images to train on and 16 to validate on."""
    root = tmp_path_factory.mktemp("images")
    for split, seed, count in (("train", 0, 24), ("val", 1, 16)):
        pictures = synthetic.generate(seed, CLASSES * count, 40)
        for i, (image, label) in enumerate(zip(pictures.images, pictures.labels, strict=True)):
            save_image(root / split / synthetic.CLASSES[label] / f"{i:03}.png", image)
    return root


def loaders(folder):
    return load_folder(folder / "train", SIZE, 12, train=True), load_folder(folder / "val", SIZE, 16)


@pytest.fixture(scope="module")
def trained(folder):
    network = modelzoo.simple_cnn(3)
    return network, train_model(network, *loaders(folder), epochs=6, progress=False)


@pytest.mark.slow
def test_simple_cnn_learns(trained, folder):
    network, history = trained
    assert len(history) == 6 == len(history.val_loss) == len(history.seconds)
    assert history.val_accuracy[-1] >= 0.95
    assert history.train_loss[-1] < 0.5 * history.train_loss[0]
    loss, accuracy = evaluate(network, load_folder(folder / "val", SIZE, 7))  # other batches, the same images
    assert loss == pytest.approx(history.val_loss[-1], rel=1e-3) and accuracy == history.val_accuracy[-1]
    # the control: an untrained one knows nothing
    assert evaluate(modelzoo.simple_cnn(3, seed=5), load_folder(folder / "val", SIZE, 16))[1] < 0.8


@pytest.mark.slow
def test_one_can_look_into_it(trained, folder):
    network, history = trained
    model = jaxlens.Model.from_nnx(network, preprocess=IMAGENET, input_size=(SIZE, SIZE), labels=CLASSES)
    images, labels = next(iter(load_folder(folder / "val", SIZE, 48)))
    assert np.mean(np.asarray(model(images)).argmax(-1) == labels) == history.val_accuracy[-1]
    assert model.layers["conv3"].shape == (8, 8, 128) and model.layers["pool3"].shape == (4, 4, 128)


RUN = """
import sys, time
from jaxlens import modelzoo
from jaxlens.data import load_folder
from jaxlens.training import train_model
folder, state = sys.argv[1:]
train, val = load_folder(folder + "/train", 32, 12, train=True), load_folder(folder + "/val", 32, 16)
class Stuck:
    def epoch(self, number):
        for i, batch in enumerate(train.epoch(number)):
            if (number, i) == (3, 2):
                open(folder + "/stuck", "w").close()
                time.sleep(600)
            yield batch
    def __len__(self):
        return len(train)
train_model(modelzoo.simple_cnn(3), Stuck(), val, epochs=6, checkpoint=state, progress=False)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_history(trained, folder, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", RUN, str(folder), str(tmp_path / "state")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (folder / "stuck").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = 3  # it was killed in the middle of the fourth epoch
    network, seen = modelzoo.simple_cnn(3), []
    train, val = loaders(folder)

    class Watched:
        def __len__(self):
            return len(train)

        def epoch(self, number):
            seen.append(number)
            return train.epoch(number)

    history = train_model(network, Watched(), val, epochs=6, checkpoint=tmp_path / "state", progress=False)
    assert seen == list(range(done, 6))
    want = trained[1]
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(getattr(history, name), getattr(want, name), rtol=1e-4, atol=1e-6, err_msg=name)
    for a, b in zip(
        jax.tree.leaves(nnx.state(network, nnx.Param)), jax.tree.leaves(nnx.state(trained[0], nnx.Param)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    # a finished run returns at once, in any process
    fresh = modelzoo.simple_cnn(3)
    again = train_model(fresh, Watched(), val, epochs=6, checkpoint=tmp_path / "state", progress=False)
    assert again == history and seen == list(range(done, 6))
    assert evaluate(fresh, val) == evaluate(network, val)
    with pytest.raises(ValueError, match="holds another run"):
        train_model(modelzoo.simple_cnn(3), train, val, epochs=9, checkpoint=tmp_path / "state", progress=False)


class Tiny(nnx.Module):
    def __init__(self, classes=3, seed=0):
        rngs = nnx.Rngs(seed)
        self.conv = nnx.Conv(3, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.drop = nnx.Dropout(0.2, rngs=rngs)
        self.head = nnx.Linear(8, classes, rngs=rngs)

    def __call__(self, x):
        return self.head(self.drop(jax.nn.relu(self.norm(self.conv(x))).mean((1, 2))))


def batches(count=4, size=(12, 14), classes=3, seed=0):
    """Images whose colour is their class."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        labels = rng.integers(0, classes, 16)
        images = rng.uniform(0, 0.4, (16, *size, 3)).astype(np.float32)
        images[np.arange(16), :, :, labels % 3] += 0.5
        made.append((images, labels))
    return made


@pytest.mark.slow
def test_the_same_start_gives_the_same_run_and_another_does_not():
    runs = [train_model(Tiny(seed=seed), batches(), batches(1), 2, progress=False) for seed in (0, 0, 1)]
    assert runs[0].train_loss == runs[1].train_loss and runs[0].val_loss == runs[1].val_loss
    assert runs[0].train_loss != runs[2].train_loss


@pytest.mark.slow
def test_the_schedule_is_a_warm_up_and_a_cosine():
    """The same training with optax alone, step by step."""
    data, network, by_hand = batches(6), Tiny(), Tiny()
    history = train_model(network, data, None, 2, learning_rate=0.02, progress=False)
    schedule = optax.join_schedules([lambda n: 0.02 * n / 1, lambda n: 0.02 * 0.5 * (1 + jnp.cos(jnp.pi * n / 11))], [1])
    optimizer = nnx.Optimizer(by_hand, optax.adam(schedule), wrt=nnx.Param)
    by_hand.train()
    losses = []
    for _ in range(2):
        for images, labels in data:

            def loss_of(model, images=images, labels=labels):
                logits = model(IMAGENET(jnp.asarray(images)))
                return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(labels)).mean()

            loss, gradient = nnx.value_and_grad(loss_of)(by_hand)
            optimizer.update(by_hand, gradient)
            losses.append(float(loss))
    np.testing.assert_allclose(history.train_loss, np.reshape(losses, (2, 6)).mean(1), rtol=1e-4)
    assert history.val_loss == history.val_accuracy == []
    np.testing.assert_allclose(network.conv.kernel[...], by_hand.conv.kernel[...], atol=1e-5)
    np.testing.assert_allclose(network.norm.var[...], by_hand.norm.var[...], rtol=1e-3)


def test_mixed_precision_computes_low_and_keeps_high():
    networks = Tiny(), Tiny()
    full, mixed = (
        train_model(network, batches(), None, 6, learning_rate=0.03, mixed_precision=low, progress=False)
        for network, low in zip(networks, (False, True), strict=True)
    )
    assert mixed.train_loss != full.train_loss
    np.testing.assert_allclose(mixed.train_loss, full.train_loss, rtol=0.1)
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(networks[1], nnx.Param))} == {jnp.dtype("float32")}


def test_data_may_be_any_sized_iterable_and_labels_any_integers():
    data = [(images, labels.astype(np.uint8)) for images, labels in batches(2)]
    network = Tiny()
    assert len(train_model(network, data, data, 1, progress=False)) == 1
    assert network.norm.use_running_average and network.drop.deterministic  # left in evaluation mode


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        ([], {}, ValueError, "train has no batches"),
        (iter(batches(1)), {}, TypeError, "must have a length"),
        (batches(1, classes=4), {}, FloatingPointError, "a label is beyond the model's outputs"),
        ([(np.full((4, 8, 9, 3), np.nan, np.float32), np.zeros(4, int))], {}, ValueError, "images holds NaN"),
        ([(np.full((4, 8, 9, 3), 128.0, np.float32), np.zeros(4, int))], {}, ValueError, "Divide by 255"),
        ([(np.zeros((4, 8, 9, 3), np.uint8), np.zeros(4, int))], {}, TypeError, "images has dtype uint8"),
        ([(np.zeros((4, 8, 9, 3), np.float32), np.zeros(5, int))], {}, ValueError, "one per image"),
        ([(np.zeros((4, 8, 9, 3), np.float32), np.zeros(4))], {}, ValueError, "labels must be integers"),
        (batches(1), {"epochs": 0}, ValueError, "epochs=0 must be an integer >= 1"),
        (batches(1), {"val": []}, ValueError, "val has no batches"),
        (batches(1), {"val": batches(1, classes=4)}, FloatingPointError, "a label is beyond the model's outputs"),
    ],
    ids=["empty", "unsized", "label", "nan", "range", "uint8", "count", "float_labels", "epochs", "empty_val", "val_label"],
)
def test_bad_data(data, options, error, message):
    with pytest.raises(error, match=message):
        train_model(Tiny(), data, progress=False, **({"epochs": 1} | options))


def test_curves_are_drawn():
    history = History([2.0, 1.0], [0.3, 0.6], [2.1, 1.2], [0.2, 0.5], [1.0, 1.0])
    loss, accuracy = training_curves(history, title="a run").axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[2.0, 1.0], [2.1, 1.2]]
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [[0.3, 0.6], [0.2, 0.5]]
    assert len(training_curves(History([1.0], [0.5])).axes[0].lines) == 1
