"""The parts of a traced function: values, and the steps that make them."""

import dataclasses
from typing import Any, Literal


@dataclasses.dataclass(eq=False, slots=True)
class Value:
    """A variable of the flat program: result `index` of step `maker`, or an input or constant."""

    depends: bool  # on the image
    inexact: bool  # float or complex: can carry a gradient
    maker: "Step | None" = None
    index: int = 0
    array: Any = None  # of literals and of constants the function closed over


@dataclasses.dataclass(frozen=True, eq=False)
class ReLU:
    """The fact that an output is `kind(source)` elementwise, however it is written."""

    kind: Literal["relu", "relu6"]
    source: Value


@dataclasses.dataclass(frozen=True)
class Problem:
    """A primitive that a gradient rule does not understand.

    Attributes:
        primitive: its name.
        why: the reason, "" if the name is reason enough.
        where: the layer.
        pool: whether it may be a max-pool.
    """

    primitive: str
    why: str
    where: str
    pool: bool = False


@dataclasses.dataclass(eq=False, slots=True)
class Step:
    """One equation of a (possibly inner) jaxpr, with the values it reads, literals included.

    A step does not list the values it makes: values point to their maker and never the other way
    round, so that the program frees its arrays and tracers without the garbage collector.
    """

    equation: Any
    jaxpr: Any
    operands: tuple[Value, ...]
    path: str  # of the calls that it was inlined from
    depth: int = 0  # the number of steps on the longest way to it
    relu: ReLU | None = None
    pool: bool = False  # a max-pool that the rule is to replace
    pointwise: bool = False  # a custom derivative of an elementwise function, which is left closed
    problems: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        self.depth = 1 + max((value.maker.depth for value in self.operands if value.maker), default=0)

    @property
    def name(self) -> str:
        return self.equation.primitive.name

    @property
    def where(self) -> str:
        """The layer scopes and jitted functions around the equation, outermost first."""
        return join_paths(self.path, _scope(self.equation))


def join_paths(*parts: str) -> str:
    """Join paths, without the repeats of a jitted function in a custom derivative of its name."""
    names = [name for part in parts for name in part.split("/") if name]
    return "/".join(name for i, name in enumerate(names) if i == 0 or name != names[i - 1])


def _scope(equation: Any) -> str:
    return str(getattr(getattr(equation, "source_info", None), "name_stack", ""))
