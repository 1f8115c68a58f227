"""Every operator of the table against PyTorch's, value and gradient, in several forms and orders of storage."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens.graph import Tensor
from jaxlens.graph.ops import OPS, shows_attention

torch = pytest.importorskip("torch")

from converters._names import operator_name  # noqa: E402

F = torch.nn.functional
aten = torch.ops.aten
DTYPES = {torch.float64: jnp.float32, torch.int64: jnp.int32}
MAPS, WIDE = (2, 6, 5, 7), (2, 3, 8, 11)


def call(target, *args, smooth=True, **kwargs):
    """One case: PyTorch's function, ATen operator or method (by name), and what it is called with. A shape stands for a
    tensor of random numbers. `smooth=False` where gradients follow another convention, or are none."""
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    shown = ",".join([*map(_shown, args), *(f"{key}={_shown(value)}" for key, value in kwargs.items())])
    return pytest.param(target, args, kwargs, smooth, id=f"{name}({shown})".replace(" ", "")[:110])


class T:
    """A tensor of a shape: normal numbers, `low <= x < high` for integers, bools."""

    def __init__(self, *shape, kind="float", low=-5, high=6, positive=False):
        self.shape, self.kind, self.low, self.high, self.positive = shape, kind, low, high, positive

    def make(self, rng):
        if self.kind == "float":
            x = rng.standard_normal(self.shape).astype(np.float32)
            return torch.from_numpy(np.asarray(np.abs(x) + 0.1 if self.positive else x, np.float32))
        if self.kind == "bool":
            return torch.from_numpy(np.asarray(rng.random(self.shape) < 0.5))
        return torch.from_numpy(np.asarray(rng.integers(self.low, self.high, self.shape)))

    def __repr__(self):
        return f"{self.kind[0]}{'x'.join(map(str, self.shape))}"


def I(*shape, low=-5, high=6):  # noqa: E743
    return T(*shape, kind="int", low=low, high=high)


def B(*shape):
    return T(*shape, kind="bool")


def _shown(value):
    if isinstance(value, list | tuple):
        return "[" + ";".join(map(_shown, value)) + "]"
    if isinstance(value, slice):
        return f"{value.start}:{value.stop}:{value.step}"
    return str(value).removeprefix("torch.")


def _map(value, leaf):
    if isinstance(value, list | tuple):
        return tuple(_map(part, leaf) for part in value)
    if isinstance(value, slice):
        return value
    return leaf(value)


def _lists(value):
    """PyTorch's, which tells lists from tuples in an index."""
    return [_lists(part) for part in value] if isinstance(value, list) else value


def _run_torch(target, args, kwargs):
    return getattr(args[0], target)(*args[1:], **kwargs) if isinstance(target, str) else target(*args, **kwargs)


def _leaves(tree):
    if isinstance(tree, tuple | list):
        return [leaf for part in tree for leaf in _leaves(part)]
    return [] if tree is None else [tree]


def compare(target, args, kwargs, smooth, order):
    rng = np.random.default_rng(zlib.crc32(repr((target, args, kwargs)).encode()) if isinstance(target, str) else 7)
    made = []

    def make(value):
        if not isinstance(value, T):
            return value
        made.append(value.make(rng))
        return made[-1]

    def rebuilt(value):
        if isinstance(value, list):
            return [rebuilt(part) for part in value]
        if isinstance(value, tuple):
            return tuple(rebuilt(part) for part in value)
        return make(value)

    theirs_args, theirs_kwargs = rebuilt(list(args)), {key: rebuilt(value) for key, value in kwargs.items()}
    floats = [x for x in made if x.is_floating_point()]
    for x in floats:
        x.requires_grad_(True)
    want = _leaves(_run_torch(target, theirs_args, theirs_kwargs))
    function = OPS[operator_name(target)]
    options = {"weights_site": lambda f: f} if shows_attention(function) else {}

    def ours(arrays):
        given = {id(x): array for x, array in zip(floats, arrays, strict=True)}

        def tensor(value):
            if isinstance(value, torch.Tensor):
                data = given[id(value)] if id(value) in given else jnp.asarray(_numpy(value))
                axes = order(data.ndim)
                return Tensor(data.transpose(axes), axes)
            return jnp.dtype(DTYPES.get(value, str(value).removeprefix("torch."))) if isinstance(value, torch.dtype) else value

        converted = [_map(arg, tensor) for arg in theirs_args]
        named = {key: _map(value, tensor) for key, value in theirs_kwargs.items()}
        out = _leaves(function(*converted, **named, **options))
        return [x.logical if isinstance(x, Tensor) else x for x in out]

    arrays = [jnp.asarray(x.detach().numpy()) for x in floats]
    got = ours(arrays)
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        if not isinstance(b, torch.Tensor):
            assert a == b
            continue
        assert a.shape == tuple(b.shape)
        assert a.dtype == _numpy(b).dtype, f"{a.dtype} for {b.dtype}"
        np.testing.assert_allclose(np.asarray(a), _numpy(b), rtol=1e-4, atol=2e-5)
    moving = [i for i, x in enumerate(want) if isinstance(x, torch.Tensor) and x.requires_grad]
    if not moving or not smooth:
        return
    weights = [rng.standard_normal(tuple(want[i].shape)).astype(np.float32) for i in moving]
    total = sum((want[i] * torch.from_numpy(np.asarray(w))).sum() for i, w in zip(moving, weights, strict=True))
    gradients = torch.autograd.grad(total, floats, allow_unused=True)
    mine = jax.grad(lambda arrays: sum(jnp.sum(ours(arrays)[i] * w) for i, w in zip(moving, weights, strict=True)))(arrays)
    for a, b, x in zip(mine, gradients, floats, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.zeros(x.shape) if b is None else b.numpy(), rtol=1e-3, atol=1e-4)


def _numpy(x):
    x = x.detach()
    if x.dtype in (torch.float64, torch.int64):
        x = x.to({torch.float64: torch.float32, torch.int64: torch.int32}[x.dtype])
    return x.numpy()


ORDERS = {
    "plain": lambda n: tuple(range(n)),
    "last": lambda n: (0, *range(2, n), 1) if n > 1 else tuple(range(n)),
    "reversed": lambda n: tuple(range(n))[::-1],
}
