"""Gradients where a function has several: at corners, bounds and ties, every operator's is
PyTorch's.
"""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.graph.test_ops import ORDERS, T, call, compare  # noqa: E402

F = torch.nn.functional


class At(T):
    """A tensor of given values, of a shape."""

    def __init__(self, values, *shape, name=""):
        self.values, self.name, self.kind, self.fixed = np.asarray(values, np.float32), name, "float", False
        self.shape = shape or self.values.shape

    def make(self, rng):
        return torch.from_numpy(np.resize(self.values, self.shape))

    def __repr__(self):
        return self.name


# Corners and bounds of all activations; 0 is what black pixels are.
NUMBERS = At([-7, -6, -3, -2, -1, -0.5, 0, 0.5, 1, 2, 3, 6, 7, 20, 21], name="numbers")
OTHERS = At(NUMBERS.values + np.arange(15) % 3 - 1, name="others")
POSITIVE = At([0, 0.5, 1, 2, 20], name="positive")
ZEROS = At([0.0], 2, 3, 4, name="zeros")
# Rows with one largest value, with several, and of zeros.
TIES = At([0, 0, 1, 2, 1, 1, 0, 0, 0, -1, -1, 0, 2, 2, 2, 0, 3, -3, 3, 0, 0, 0, 0, 0], 2, 3, 4, name="ties")
MAPS = At(np.random.default_rng(0).integers(0, 3, 300), 2, 2, 8, 9, name="maps")
LINES = At(np.random.default_rng(1).integers(-1, 2, 60), 2, 2, 12, name="lines")
VOLUMES = At(np.random.default_rng(2).integers(0, 2, 432), 1, 2, 6, 6, 6, name="volumes")
NEGATIVE = At(-MAPS.values, 2, 2, 8, 9, name="negative")
EMPTY = At([0.0], 1, 2, 6, 6, name="black")

UNARY = "abs exp sin cos tan tanh floor ceil sign expm1 atan sinh cosh square erf relu sigmoid trunc frac neg round nan_to_num"
ACTIVATIONS = """
    relu6 silu mish logsigmoid softsign selu hardswish hardsigmoid tanhshrink hardtanh elu celu leaky_relu softplus
    hardshrink softshrink gelu
"""
PAIRS = "maximum minimum max min atan2 fmod remainder mul sub"

CASES = [
    *(call(getattr(torch, name), NUMBERS) for name in UNARY.split()),
    *(call(getattr(F, name), NUMBERS) for name in ACTIVATIONS.split()),
    *(call(getattr(torch, name), POSITIVE) for name in ("sqrt", "log1p", "reciprocal", "log", "rsqrt")),
    *(call(getattr(torch, name), NUMBERS, other) for name in PAIRS.split() for other in (OTHERS, NUMBERS)),
    *(call(torch.pow, NUMBERS, power) for power in (0, 0.0, 1, 2, 2.0, 3, -1)),
    call(torch.pow, POSITIVE, 0.5),
    call(torch.pow, At([0, 0, 0, 1, 2], name="bases"), At([0, 1, 2, 0, 0], name="powers")),
    call(F.hardtanh, NUMBERS, 0.0, 1.0),
    call(F.hardtanh, NUMBERS, 0.0, 6.0),
    call(F.threshold, NUMBERS, 1.0, 20.0),
    call(F.threshold, NUMBERS, 0.0, 0.0),
    call(F.prelu, At(NUMBERS.values, 5, 3, name="numbers"), At([0.25, 0.5, 2], name="slopes")),
    call(torch.clamp, NUMBERS, 0.0, 1.0),
    call(torch.clamp, NUMBERS, -1, 1),
    call(torch.clamp, NUMBERS, 0, 6),
    call(torch.clamp, NUMBERS, min=0),
    call(torch.clamp, NUMBERS, max=0),
    call(torch.clamp, NUMBERS, 1.0, -1.0),
    call(torch.clamp, NUMBERS, OTHERS, At(OTHERS.values + np.arange(15) % 2, name="above")),
    call(torch.clamp, NUMBERS, NUMBERS, NUMBERS),
    call(torch.clamp_min, NUMBERS, 1.0),
    call(torch.clamp_max, NUMBERS, 1.0),
    call(torch.clamp_min, NUMBERS, OTHERS),
    *(call(getattr(torch, name), x, dim=dim) for name in ("amax", "amin") for x in (ZEROS, TIES) for dim in (1, (1, 2), ())),
    *(call(getattr(torch, name), x, *dim) for name in ("max", "min") for x in (ZEROS, TIES) for dim in ((1,), (-1, True), ())),
    *(call(getattr(torch, name), x, 1) for name in ("prod", "std", "var", "logsumexp", "cumsum") for x in (ZEROS, TIES)),
    *(call(torch.linalg.vector_norm, x, p, 1) for p in (1, 2, math.inf) for x in (ZEROS, TIES)),
    *(call(torch.norm, x, p) for p in (1, 2, "fro") for x in (ZEROS, TIES)),
    *(call(F.normalize, x, p, 1) for p in (1, 2) for x in (ZEROS, TIES)),
    call(F.cosine_similarity, ZEROS, TIES),
    call(F.max_pool2d, MAPS, 3, 2, 1),
    call(F.max_pool2d, MAPS, 3, 1, 1, 2),
    call(F.max_pool2d, MAPS, (2, 3), 2, 1, (2, 1)),
    call(F.max_pool2d, MAPS, 3, 2, 0, 1, True),
    call(F.max_pool1d, LINES, 3, 2, 1),
    call(F.max_pool1d, LINES, 3, 1, 1, 2),
    call(F.max_pool3d, VOLUMES, 3, 1, 1),
    call(F.max_pool3d, VOLUMES, 3, 1, 1, 2),
    *(call(F.adaptive_max_pool2d, MAPS, size) for size in (1, (3, 3), (5, 4), (None, 2), (10, 12))),
    call(F.adaptive_max_pool1d, LINES, 5),
    call(F.adaptive_max_pool3d, VOLUMES, (2, 3, 4)),
    *(call(F.lp_pool2d, x, p, 2) for p in (1, 2, 3, math.inf) for x in (MAPS, EMPTY)),
    call(F.lp_pool2d, NEGATIVE, 2, 3, 2, True),
    call(F.lp_pool1d, LINES, 2, 3, 2),
    call(F.rrelu, NUMBERS),
    call(F.rrelu, NUMBERS, 0.1, 0.5),
    *(call(each, NUMBERS, OTHERS) for each in (torch.fmax, torch.fmin, torch.logaddexp, torch.logaddexp2)),
    *(call(torch.norm, x, p, 1) for p in (1.5, 3) for x in (ZEROS, TIES)),
]  # fmt: skip
PLAIN = [
    call(torch.exp2, T(2, 3, 4, 5)),
    call(torch.addcdiv, T(2, 3, 4, 5), T(2, 3, 4, 5), T(3, 1, 5, positive=True), value=0.5),
    call(torch.tensordot, T(2, 3, 4, 5), T(5, 4, 6), ([3, 2], [0, 1])),
    call(torch.tensordot, T(2, 3, 4), T(4, 5), 1),
    *(call(each, (T(2, 3, 4, 5), T(2, 3, 4, 5))) for each in (torch.hstack, torch.vstack, torch.dstack, torch.column_stack)),
    *(call(each, (T(4), T(4))) for each in (torch.hstack, torch.vstack, torch.column_stack)),
]


@pytest.mark.parametrize(("target", "args", "kwargs", "smooth"), PLAIN)
def test_operators_are_pytorchs_in_any_order_of_storage(target, args, kwargs, smooth):
    compare(target, args, kwargs, smooth)


@pytest.mark.parametrize(("target", "args", "kwargs", "smooth"), CASES)
def test_gradient_at_kinks_is_pytorchs(target, args, kwargs, smooth):
    compare(target, args, kwargs, smooth, ORDERS[:1])


@pytest.mark.parametrize("name", [*UNARY.split()[:-1], *ACTIVATIONS.split(), "clamp", "threshold"])
def test_nan_is_what_pytorch_makes_of_it(name):
    function = getattr(torch, name, None) or getattr(F, name)
    bounds = (0.0, 1.0) if name in ("clamp", "threshold") else ()
    compare(function, (At([math.nan, 1]), *bounds), {}, False, ORDERS[:1])
