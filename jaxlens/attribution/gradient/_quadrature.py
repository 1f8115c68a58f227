"""Points and weights on [0, 1], whose weights add up to 1."""

from typing import Literal

import numpy as np

Quadrature = Literal["gausslegendre", "trapezoid", "middle", "left", "right"]
MAX_GAUSS = 2000  # its points are eigenvalues of a matrix of that size
QUADRATURES = ("gausslegendre", "trapezoid", "middle", "left", "right")


def nodes(quadrature: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points and weights of `steps` evaluations, float32, padded to a power of two with 0.

    "gausslegendre" is exact for polynomials of degree `2 steps - 1`. "trapezoid" has both ends, at
    half the weight of the others; one step of it is the middle. (captum's weights of it add up to
    `(steps - 1) / steps`, and every attribution loses that share.) "left", "right" and "middle" are
    the Riemann sums.
    """
    if quadrature == "gausslegendre":
        if steps > MAX_GAUSS:
            raise ValueError(
                f"steps={steps}: quadrature='gausslegendre' has at most {MAX_GAUSS}. Take quadrature='middle' for more."
            )
        x, w = np.polynomial.legendre.leggauss(steps)
        points, weights = (x + 1) / 2, w / 2
    elif quadrature == "trapezoid" and steps > 1:
        points, weights = np.linspace(0, 1, steps), np.full(steps, 1 / (steps - 1))
        weights[[0, -1]] /= 2
    else:
        points = (np.arange(steps) + {"left": 0.0, "right": 1.0}.get(quadrature, 0.5)) / steps
        weights = np.full(steps, 1 / steps)
    # Padded, so that numbers of steps that are near each other share a compiled program.
    unused = (1 << (steps - 1).bit_length()) - steps
    return np.pad(points, (0, unused)).astype(np.float32), np.pad(weights, (0, unused)).astype(np.float32)
