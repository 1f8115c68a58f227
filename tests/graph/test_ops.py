"""Every operator of the table against PyTorch's, value and gradient, in several forms and orders of
storage.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens.graph import Tensor
from jaxlens.graph.ops import OPS, shows_attention

torch = pytest.importorskip("torch")

from converters._operators import operator_name  # noqa: E402

F = torch.nn.functional
aten = torch.ops.aten
DTYPES = {torch.float64: jnp.float32, torch.int64: jnp.int32}
MAPS, WIDE = (2, 6, 5, 7), (2, 3, 8, 11)


def call(target, *args, smooth=True, **kwargs):
    """One case: PyTorch's function, ATen operator or method (by name), and what it is called with.
    A shape stands for a
    tensor of random numbers. `smooth=False` where gradients
    follow another convention, or are none.
    """
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    shown = ",".join([*map(_shown, args), *(f"{key}={_shown(value)}" for key, value in kwargs.items())])
    return pytest.param(target, args, kwargs, smooth, id=f"{name}({shown})".replace(" ", "")[:110])


class T:
    """A tensor of a shape: normal numbers, `low <= x < high` for integers, bools."""

    def __init__(self, *shape, kind="float", low=-5, high=6, positive=False, fixed=False):
        self.shape, self.kind, self.low, self.high, self.positive, self.fixed = shape, kind, low, high, positive, fixed

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


def _leaves(tree):
    if isinstance(tree, tuple | list):
        return [leaf for part in tree for leaf in _leaves(part)]
    return [] if tree is None else [tree]


def compare(target, args, kwargs, smooth, orders=None):
    """One case, in all orders of storage or in these: one program for values and gradients, as
    compiling is what takes time.
    """
    rng = np.random.default_rng(7)
    made = []

    def make(value):
        if isinstance(value, list | tuple):
            return type(value)(make(part) for part in value)
        if not isinstance(value, T):
            return value
        x = value.make(rng)
        if not value.fixed:
            made.append(x)
        return x

    args, kwargs = make(args), {key: make(value) for key, value in kwargs.items()}
    floats = [x for x in made if x.is_floating_point()]
    for x in floats:
        x.requires_grad_(True)
    want = _leaves(getattr(args[0], target)(*args[1:], **kwargs) if isinstance(target, str) else target(*args, **kwargs))
    function, sizes = OPS[operator_name(target)], [x for x in want if not isinstance(x, torch.Tensor)]
    want = [x for x in want if isinstance(x, torch.Tensor)]
    options = {"weights_site": lambda f: f} if shows_attention(function) else {}

    def ours(arrays, order):
        given = {id(x): array for x, array in zip(floats, arrays, strict=True)}

        def tensor(value):
            if isinstance(value, list | tuple):
                return tuple(map(tensor, value))
            if isinstance(value, torch.dtype):
                return jnp.dtype(DTYPES.get(value, str(value).removeprefix("torch.")))
            if not isinstance(value, torch.Tensor):
                return value
            data, axes = given.get(id(value), jnp.asarray(_numpy(value))), order(value.ndim)
            return Tensor(data.transpose(axes), axes)

        out = _leaves(function(*map(tensor, args), **{key: tensor(value) for key, value in kwargs.items()}, **options))
        assert [x for x in out if not isinstance(x, Tensor)] == sizes
        return [x.logical for x in out if isinstance(x, Tensor)]

    moving = [x.requires_grad and smooth for x in want]
    weights = [rng.standard_normal(tuple(x.shape)).astype(np.float32) for x, moves in zip(want, moving, strict=True) if moves]

    def both(arrays, order):
        def total(arrays):
            out = ours(arrays, order)
            return sum(
                jnp.sum(x * w) for x, w in zip([x for x, m in zip(out, moving, strict=True) if m], weights, strict=True)
            ), out

        if not weights:
            return ours(arrays, order), ()
        (_, out), gradients = jax.value_and_grad(total, has_aux=True)(arrays)
        return out, gradients

    arrays = [jnp.asarray(x.detach().numpy()) for x in floats]
    results = jax.jit(lambda arrays: [both(arrays, order) for order in orders or ORDERS])(arrays)
    gradients = ()
    if weights:
        floating = [x for x, moves in zip(want, moving, strict=True) if moves]
        score = sum((x * torch.from_numpy(np.asarray(w))).sum() for x, w in zip(floating, weights, strict=True))
        gradients = torch.autograd.grad(score, floats, allow_unused=True)
    for got, mine in results:
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            assert a.shape == tuple(b.shape)
            assert a.dtype == _numpy(b).dtype, f"{a.dtype} for {b.dtype}"
            np.testing.assert_allclose(np.asarray(a), _numpy(b), rtol=1e-4, atol=2e-5)
        for a, b in zip(mine, gradients, strict=True):
            want_gradient = np.zeros(a.shape) if b is None else b.numpy()
            np.testing.assert_allclose(np.asarray(a), want_gradient, rtol=1e-3, atol=1e-4, err_msg="gradient")


def _numpy(x):
    x = x.detach()
    if x.dtype in (torch.float64, torch.int64):
        x = x.to({torch.float64: torch.float32, torch.int64: torch.int32}[x.dtype])
    return x.numpy()


ORDERS = (
    lambda n: tuple(range(n)),
    lambda n: (0, *range(2, n), 1) if n > 1 else tuple(range(n)),  # channels last
    lambda n: tuple(range(n))[::-1],
)
