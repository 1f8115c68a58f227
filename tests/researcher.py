"""A researcher's day: a residual network of one's own, trained with NNX, looked into while it
trains, on devices, elsewhere.

`python -m tests.researcher` on four devices (XLA_FLAGS=--xla_force_host_platform_device_count=4)
asserts what it promises.
"""

import multiprocessing
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import PartitionSpec

import jaxlens
from jaxlens import attribution
from jaxlens.model import Preprocess
from jaxlens.optvis import objectives, render

SIZE = (20, 24)
CALLS = []  # one for each time that Python runs the network, that is, for each trace


class Block(nnx.Module):
    def __init__(self, width, rngs):
        self.conv1 = nnx.Conv(width, width, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.conv2 = nnx.Conv(width, width, (3, 3), rngs=rngs)

    def __call__(self, x):
        return nnx.relu(x + self.conv2(nnx.relu(self.norm(self.conv1(x)))))


class ResNet(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Conv(3, 8, (3, 3), strides=2, rngs=rngs)
        self.blocks = nnx.List([Block(8, rngs) for _ in range(2)])
        self.drop = nnx.Dropout(0.2, rngs=rngs)
        self.head = nnx.Linear(8, 2, rngs=rngs)

    def __call__(self, x):
        CALLS.append(x.shape)
        x = nnx.relu(self.stem(x))
        for block in self.blocks:
            x = nnx.remat(lambda module, y: module(y))(block, x)
        return self.head(self.drop(x.mean((1, 2))))


@nnx.jit
def train_step(net, optimizer, images, labels):
    def loss(net):
        return optax.softmax_cross_entropy_with_integer_labels(net(images), labels).mean()

    value, slopes = nnx.value_and_grad(loss)(net)
    optimizer.update(net, slopes)
    return value


def batch(seed):
    """Red images and blue ones."""
    rng = np.random.default_rng(seed)
    images = rng.random((16, *SIZE, 3), dtype=np.float32) * 0.5
    labels = rng.integers(0, 2, 16)
    images[np.arange(16), ..., labels * 2] += 0.5
    return jnp.asarray(images), jnp.asarray(labels)


def logits_elsewhere(pickled, images, queue):
    queue.put(np.asarray(pickle.loads(pickled)(images)))


def main():
    net = ResNet(nnx.Rngs(0))
    optimizer = nnx.Optimizer(net, optax.adam(1e-2), wrt=nnx.Param)
    images, _ = batch(99)
    x = images[:4]
    model = jaxlens.Model.from_nnx(net, preprocess=Preprocess(), input_size=SIZE, labels=["red", "blue"])
    neurons = objectives.channel("blocks.1.conv2", jnp.arange(3))
    traces, losses, pictures = [], [], []
    for epoch in range(3):
        for step in range(4):
            losses.append(float(train_step(net, optimizer, *batch(4 * epoch + step))))
        model = model.update(net)
        before = len(CALLS)
        pictures.append(render.render(model, neurons, size=SIZE, steps=2, progress=False).images)
        maps = attribution.integrated_gradients(model, x, "blue", steps=8, tolerance=None)
        traces.append(len(CALLS) - before)
    assert traces[0] > 0 and traces[1:] == [0, 0], traces
    assert losses[-1] < losses[0] and not np.array_equal(pictures[0], pictures[-1])
    net.eval()
    right = np.asarray(net(x))
    assert np.abs(np.asarray(model(x)) - right).max() < 1e-4
    assert float(np.abs(maps.delta).max()) < 0.05 * float(np.abs(maps.scores - maps.baseline_scores).max())

    def explain(each):
        return attribution.saliency(model, each, 1, layer="blocks.0", sign="all").values

    assert jax.device_count() == 4
    mesh = jax.make_mesh((4,), ("images",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.shard_map(explain, mesh=mesh, in_specs=PartitionSpec("images"), out_specs=PartitionSpec("images"))(x)
    alone = np.asarray(explain(x))
    assert np.abs(alone).max() > 0 and np.abs(np.asarray(spread) - alone).max() < 1e-5 * np.abs(alone).max()

    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    other = context.Process(target=logits_elsewhere, args=(pickle.dumps(model), np.asarray(x), queue))
    other.start()
    assert np.abs(queue.get(timeout=200) - right).max() < 1e-4
    other.join()
    print(f"traces per epoch {traces}, loss {losses[0]:.2f} to {losses[-1]:.2f}, layers {len(model.layers)}")


if __name__ == "__main__":
    main()
