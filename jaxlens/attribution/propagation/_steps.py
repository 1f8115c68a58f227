"""How each step of a network hands a score back: what DeepLift and relevance propagation share."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxlens._program import Program, Step, Value, elementwise, evaluate, pointwise_of, way_back
from jaxlens.errors import UnsupportedError
from jaxlens.model._rules import relu_with, standard

Read = Callable[[Value], Any]


@dataclasses.dataclass(frozen=True)
class Way:
    """The rule by which a step hands back, and the values that receive; a `kind` of "" is unknown.

    `steps` are those of a function of one value, element by element, from that value on.
    """

    kind: str
    sources: Sequence[Value] = ()
    steps: tuple[Step, ...] = ()

    def function(self, read: Read) -> Callable[[Any], Any]:
        """Return the function of `sources[0]` that `steps` compute.

        `read` gives the values that do not depend on the image.
        """

        def run(x: Any) -> Any:
            made: dict[Step, list[Any]] = {}

            def get(value: Value) -> Any:
                if value is self.sources[0]:
                    return x
                return made[value.maker][value.index] if value.maker in made else read(value)

            for step in self.steps:
                operands = [get(value) for value in step.operands]
                made[step] = operands if step.name == "stop_gradient" else evaluate(step, operands)
            return made[self.steps[-1]][0]

        return run


def plain(step: Step, kind: str) -> Way:
    """Return a way to all operands that depend on the image and can carry something."""
    return Way(kind, [value for value in step.operands if value.depends and value.inexact])


def pointwise(step: Step) -> Way | None:
    """Return a way where the step and those before it are one function of one value, or None.

    Element by element: a leaky ReLU, `x * sigmoid(x)`.
    """
    found = pointwise_of(step.operands) if elementwise(step) else None
    return Way("pointwise", (found[0],), (*found[1], step)) if found else None


def ways(program: Program, judge: Callable[[Step], Way], message: str) -> dict[Step, Way]:
    """Return the way of every step through which something is handed back to the image.

    Raises:
        UnsupportedError: where `judge` does not know a step. The names of all such steps take the
            place of {} in the message.
    """
    found: dict[Step, Way] = {}

    def sources(step: Step) -> Sequence[Value]:
        found[step] = judge(step)
        return found[step].sources

    way_back(program.steps, program.outputs, sources)
    unknown = {step.name: step.where for step, way in found.items() if not way.kind}
    if unknown:
        names = (f"{name}{f' in {where}' if where else ''}" for name, where in reversed(unknown.items()))
        raise UnsupportedError(message.format(", ".join(names)))
    return found


def relu_of(step: Step, read: Read, y: Any) -> Any:
    """Return the output of a ReLU, however it is written, with the gradient of `jax.nn.relu`.

    That gradient is `1[x > 0]`.
    """
    assert step.relu is not None
    return relu_with(step.relu.kind, standard(), read(step.relu.source), jax.lax.stop_gradient(y))


@jax.custom_jvp
def with_slope(y: Any, x: Any, slope: Any) -> Any:
    """Return `y` with the derivative `slope` by `x`, element by element, and no other."""
    return y


@with_slope.defjvp
def _with_slope_jvp(primals: Any, tangents: Any) -> tuple[Any, Any]:
    y, _, slope = primals
    return y, (slope.astype(y.dtype) * tangents[1].astype(y.dtype))
