"""What a traced function is made of: values, and the steps that make them."""

import dataclasses
from typing import Any, Literal


@dataclasses.dataclass(eq=False, slots=True)
class Value:
    """A variable of the flat program: result number `index` of the step `maker`, or else an input or a constant."""

    depends: bool  # on the image
    inexact: bool  # float or complex: can carry a gradient
    maker: "Step | None" = None
    index: int = 0
    array: Any = None  # of literals and of constants the function closed over


@dataclasses.dataclass(frozen=True, eq=False)
class ReLU:
    """An output that is `kind(source)` elementwise, however it is written."""

    kind: Literal["relu", "relu6"]
    source: Value


@dataclasses.dataclass(frozen=True)
class Problem:
    """A primitive that is not understood: why ("" if its name says it) and in which layer; `pool` if it may be a max-pool."""

    primitive: str
    why: str
    where: str
    pool: bool = False


@dataclasses.dataclass(eq=False, slots=True)
class Step:
    """One equation of a (possibly inner) jaxpr, with the values it reads, literals included.

    It does not list the values it makes: values point to their maker and never the other way round, so that
    the program frees the arrays and tracers it holds without the garbage collector.
    """

    equation: Any
    jaxpr: Any
    operands: tuple[Value, ...]
    path: str  # of the calls it was inlined from
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
        """Layer scopes and jitted functions around the equation, outermost first."""
        return join_paths(self.path, _scope(self.equation))


def join_paths(*parts: str) -> str:
    """A path without the repeats that a jitted function inside a custom derivative of the same name makes."""
    names = [name for part in parts for name in part.split("/") if name]
    return "/".join(name for i, name in enumerate(names) if i == 0 or name != names[i - 1])


def _scope(equation: Any) -> str:
    return str(getattr(getattr(equation, "source_info", None), "name_stack", ""))
