"""Objectives from strings, functions and lists."""

import re
from collections.abc import Sequence
from typing import Any

from jaxlens.optvis.objectives._base import Objective
from jaxlens.optvis.objectives._channel import channel
from jaxlens.optvis.objectives._classes import class_logit
from jaxlens.optvis.objectives._function import Constantly, Function
from jaxlens.optvis.objectives._lucent import lucent
from jaxlens.optvis.objectives._types import ObjectiveLike

SYNTAX = '"layer:3", "layer:3,7,12", "layer:0-15" (both ends included), "layer:all" or "logits:label"'


def as_objective(value: ObjectiveLike, model: Any = None) -> Any:
    """Return an `Objective`, or a list of them, from any of its spellings.

    Args:
        value: an objective; a string such as "mixed4a:3", "mixed4a:3,7,12", "mixed4a:0-15" (both
            ends included), "mixed4a:all", "logits:tabby"; a list of those, which gives a list; a
            function `T -> score`, of activations `[B, H, W, C]` and to be maximized; or an
            `Objective` of Lucent's, see `lucent`.
        model: needed for "all" only; labels wait for `bind`.

    Example:
        >>> from jaxlens.optvis import objectives
        >>> objectives.as_objective("mixed4a:0-2,7").describe(task=3)
        'mixed4a:7'
        >>> bright = objectives.as_objective(lambda T: T("input").mean())
    """
    if isinstance(value, Objective):
        return value
    if isinstance(value, str):
        return parse(value, model)
    if isinstance(value, Sequence):
        if not value:
            raise ValueError("objective is an empty list: give at least one objective.")
        return [as_objective(item, model) for item in value]
    if callable(value):
        if type(value).__module__.startswith("lucent."):
            return lucent(value)
        if isinstance(value, type):
            raise TypeError(f"objective={value!r} is a class: give an objective, a string ({SYNTAX}) or a function T -> score.")
        return Function(build=Constantly(value), label=getattr(value, "__name__", "objective"))
    raise TypeError(
        f"objective={value!r} must be an objective, a string ({SYNTAX}), a function T -> score, or a list of these."
    )


def parse(text: str, model: Any = None) -> Objective:
    """Return an objective from a string; see `as_objective`."""
    layer, colon, rest = text.partition(":")
    layer, rest = layer.strip(), rest.strip()
    if not (colon and layer and rest):
        raise ValueError(f"objective={text!r} must read {SYNTAX}.")
    if rest == "all":
        if model is None:
            raise ValueError(f"objective={text!r}: pass channels here, or the string to `render`, which knows the model.")
        return channel(layer, range(model.layers[model.resolve(layer)].channels))
    if re.fullmatch(r"[0-9\s,-]+", rest) is None:
        return class_logit(layer, rest)
    numbers: list[int] = []
    for part in rest.split(","):
        match = re.fullmatch(r"\s*([0-9]+)\s*(?:-\s*([0-9]+)\s*)?", part)
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            raise ValueError(f"objective={text!r}: {part!r} is neither a channel nor an ascending range; write {SYNTAX}.")
        numbers += range(int(match[1]), int(match[2] or match[1]) + 1)
    return channel(layer, numbers[0] if (rest.isascii() and rest.isdecimal()) else numbers)
