"""Lists of transforms of known systems, by name."""

from collections.abc import Callable

from jaxlens._checks import SIDE, check_int, suggest
from jaxlens._types import Text, Whole
from jaxlens.optvis.transform._affine import random_rotate, random_scale
from jaxlens.optvis.transform._base import Transform
from jaxlens.optvis.transform._boxes import random_boxes
from jaxlens.optvis.transform._crop import jitter
from jaxlens.optvis.transform._draw import uniform
from jaxlens.optvis.transform._pad import pad
from jaxlens.optvis.transform._pixel import blur, flip, noise
from jaxlens.optvis.transform._standard import standard_transforms

Preset = Callable[[int], list[Transform]]

_ATLAS_ANGLES = [*range(-20, 20), *range(-10, 10), *range(-5, 5), *5 * [0]]


def _xplique(size: int) -> list[Transform]:
    unit = max(1, size // 16)
    return [
        pad(4 * unit, "constant", 0),
        *(jitter(n * unit) for n in (2, 2, 4, 4, 4)),
        random_scale(uniform(0.92, 0.96)),
        blur(uniform(1.0, 1.1)),
        jitter(unit),
        jitter(unit),
        flip(),
    ]


# The draws of each system, in the order of its source. The operations are jaxlens' own: jitter
# crops, and scale keeps the canvas.
PRESETS: dict[str, Preset] = {
    "lucid": lambda _: list(standard_transforms),
    "lucid-tutorial": lambda _: [
        pad(16),
        jitter(8),
        random_scale([n / 100 for n in range(80, 120)]),
        random_rotate([*range(-10, 10), *range(-5, 5), *10 * [-2, -1, 0, 1]]),
        jitter(2),
    ],
    "lucid-regularization": lambda _: [
        pad(2),
        jitter(1),
        random_scale([1.1 ** (n / 10) for n in range(-10, 11)]),
        random_rotate(range(-5, 6)),
    ],
    "lucid-caricature": lambda _: [
        pad(8, "constant", 0.5),
        jitter(8),
        random_scale([0.9, 0.95, 1.05, 1.1, *4 * [1]]),
        random_rotate([*range(-5, 5), *5 * [0]]),
        jitter(2),
    ],
    "lucid-atlas": lambda _: [
        pad(16, "constant"),
        *(jitter(n) for n in (4, 4, 8, 8, 8)),
        random_scale([0.998**n for n in range(20, 40)]),
        random_rotate(_ATLAS_ANGLES),
        jitter(2),
    ],
    "lucent": lambda _: list(standard_transforms),
    "captum": lambda _: [random_scale([1, 0.975, 1.025, 0.95, 1.05]), pad(16), jitter(32)],
    "captum-robustness": lambda _: [
        pad(2, "constant", 0.5),
        *10 * [jitter(4)],
        random_scale([*(0.995**n for n in range(-5, 80)), *2 * [0.998**n for n in range(20, 40)]]),
        random_rotate(_ATLAS_ANGLES),
        jitter(2),
    ],
    "netlens": lambda _: [
        pad(6, "constant", 0.5),
        jitter(8),
        random_scale([1 + (i - 5) / 50 for i in range(11)]),
        random_rotate([*range(-10, 11), *5 * [0]]),
        jitter(4),
    ],
    "torch-dreams": lambda _: [random_rotate(uniform(-15, 15)), random_scale(uniform(0.5, 1.2))],
    "xplique": _xplique,
    "faccent": lambda size: [random_boxes(16, size, (0.05, 0.99), None), noise(0.02)],
    "horama": lambda size: [random_boxes(6, size, (0.25, 0.30)), noise(0.05, 0.025)],
    "maco": lambda size: [random_boxes(32, size, (0.05, 0.5)), noise(0.08, 0.04)],
}


def preset(name: Text, size: Whole = 224) -> list[Transform]:
    """Return the list of transforms of a known system, to pass as `transforms` or to change.

    They draw what those systems draw. Where operations differ (a jitter that shifts, corners
    filled with black, crops that shrink over time), the operation here is jaxlens' own: see each
    transform.

    Args:
        name: one of "lucid", "lucid-tutorial", "lucid-regularization", "lucid-caricature",
            "lucid-atlas", "lucent", "captum", "captum-robustness", "netlens", "torch-dreams",
            "xplique", "faccent", "horama", "maco".
        size: the size of the images ("xplique", whose jitter follows it) or of the crops
            ("faccent", "horama", "maco"); the others ignore it.

    Example:
        >>> from jaxlens.optvis import transform
        >>> [type(each).__name__ for each in transform.preset("captum")]
        ['RandomScale', 'Pad', 'Jitter']
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"name={name!r} is not a preset. Closest: {', '.join(suggest(name, PRESETS))}.")
    return PRESETS[name](check_int(size, "size", low=1, high=SIDE))
