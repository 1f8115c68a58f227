"""Run a graph in JAX: its modules are sites, and its operators come from one table."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxlens.errors import ConversionError
from jaxlens.graph._ir import DType, FrozenDict, Graph, Module, Node, Op, Param, Ref, Slice
from jaxlens.graph._tensor import Tensor, maps, tensor
from jaxlens.graph.ops import OPS, shows_attention
from jaxlens.model._sites import site

Path = tuple[str | int, ...]  # the place of a tensor in nested tuples and dicts


class Frame:
    """The values of one run of a graph."""

    def __init__(self, params: Mapping[str, jax.Array], orders: Mapping[str, tuple[int, ...]], values: dict[str, Any]):
        self.params, self.orders, self.values = params, orders, values

    def execute(self, nodes: tuple[Node, ...], path: str, kind: str) -> None:
        for node in nodes:
            self.values[node.out] = self.operator(node, path, kind) if isinstance(node, Op) else self.module(node)

    def operator(self, node: Op, path: str, kind: str) -> Any:
        args = [self.value(arg) for arg in node.args]
        kwargs = {name: self.value(arg) for name, arg in node.kwargs}
        function = OPS[node.op]
        if shows_attention(function) and kind != "Softmax":  # a module, which has a name of its own
            kwargs["weights_site"] = functools.partial(_attention_site, path)
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if not getattr(error, "__notes__", None):  # the innermost place says most
                error.add_note(f"in operator {node.op!r} of module {path or 'the network itself'!r}")
            raise

    def module(self, node: Module) -> Any:
        given = [self.values[ref.name] for ref in node.inputs]
        shown = [x.surface if isinstance(x, Tensor) else x for x in given]
        whole: list[Any] = []

        def run(*args: Any) -> Any:
            """Run the body, with changed inputs where an interceptor gives them.

            Return what the body returns, as it is shown.
            """
            changed = {
                ref.name: old.from_surface(new)
                for ref, old, before, new in zip(node.inputs, given, shown, args, strict=True)
                if new is not before
            }
            kept = {name: self.values[name] for name in changed}
            self.values |= changed
            self.execute(node.body, node.path, node.kind)
            result = self.value(node.result)
            self.values |= kept
            tensors = [leaf for _, leaf in _leaves(result)]
            whole.append(result)
            return tensors[0].surface if len(tensors) == 1 else tuple(leaf.surface for leaf in tensors)

        shows = site(node.path, run, kind=node.kind)(*shown)
        if not whole:  # an interceptor replaced the module without running it; the structure is needed
            run(*shown)
        result = whole[-1]
        paths = [path for path, _ in _leaves(result)]
        if len(paths) == 1:
            return _exchanged(result, {paths[0]: shows})
        sites = [site(f"{node.path}{_named(path)}", _identity, kind=node.kind) for path in paths]
        return _exchanged(result, {path: each(x) for path, each, x in zip(paths, sites, shows, strict=True)})

    def value(self, tree: Any) -> Any:
        if isinstance(tree, Ref):
            return self.values[tree.name]
        if isinstance(tree, Param):
            data = self.params[tree.name]
            return Tensor(data, self.orders.get(tree.name) or tuple(range(data.ndim)))
        if isinstance(tree, tuple):
            return tuple(self.value(part) for part in tree)
        if isinstance(tree, Slice):
            return slice(*(self.value(part) for part in tree.parts))
        if isinstance(tree, FrozenDict):
            return {key: self.value(part) for key, part in tree.items}
        return jnp.dtype(tree.name) if isinstance(tree, DType) else tree


class GraphForward:
    """The forward function of an imported network, `(params, images) -> logits`.

    Two functions with equal graphs and outputs are equal, so they share compiled programs.

    Attributes:
        graph: the network.
        output: where the logits are in what the network returns: the key of a dict or the index of
            a tuple, or several of them for nested ones. The other parts are layers `output[...]`.

    Example:
        >>> import jax, torch
        >>> from jaxlens import Model
        >>> from jaxlens.model import IMAGENET
        >>> layers = torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten()
        >>> module = torch.nn.Sequential(*layers)
        >>> model = Model.from_torch(module, input_size=(6, 8), preprocess=IMAGENET)
        >>> images = jax.random.uniform(jax.random.key(0), (2, 6, 8, 3))
        >>> model.forward(model.params, model.preprocess(images)).shape
        (2, 96)
    """

    frame = Frame  # the class that holds the values of a run

    def __init__(self, graph: Graph, output: Path = ()):
        self.graph, self.output = graph, output
        self._orders = dict(graph.orders)
        self._hash = hash((graph, output))  # slow for a large graph, so computed once

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, GraphForward)
            and self._hash == other._hash
            and (self.graph, self.output) == (other.graph, other.output)
        )

    def __call__(self, params: Mapping[str, jax.Array], *inputs: jax.Array) -> jax.Array:
        """Return the logits.

        Inputs are channels last: `[B, H, W, C]` for PyTorch's `[B, C, H, W]`.
        """
        leaves = self.outputs(params, *inputs)
        if self.output not in leaves:
            found = ", ".join(f"output={path} {leaf.shape}" for path, leaf in leaves.items())
            raise ConversionError(
                f"output={self.output} is not a tensor that the network returns. There are: {found or 'none'}."
            )
        for path, leaf in leaves.items():
            if path != self.output:
                site(f"output{_named(path)}", _identity, kind="Output")(leaf.surface)
        return leaves[self.output].surface

    def outputs(self, params: Mapping[str, jax.Array], *inputs: jax.Array) -> dict[Path, Tensor]:
        """Return the tensors that the network returns, by their place in it."""
        return dict(_leaves(self.run(params, *inputs)))

    def parts(self, params: Mapping[str, Any], *inputs: Any) -> dict[Path, tuple[int, ...]]:
        """Return the shapes of what the network returns, by place; nothing is computed."""
        found: dict[Path, tuple[int, ...]] = {}

        def probe(params: Any, *inputs: jax.Array) -> None:
            found.update((path, leaf.shape) for path, leaf in self.outputs(params, *inputs).items())

        jax.eval_shape(probe, params, *inputs)
        return found

    def run(self, params: Mapping[str, jax.Array], *inputs: jax.Array) -> Any:
        """Return what the network returns, with `Tensor` for PyTorch's tensors."""
        if len(inputs) != len(self.graph.inputs):
            raise TypeError(
                f"The network takes {len(self.graph.inputs)} inputs, but got {len(inputs)}. A Model is of images alone: "
                "wrap the PyTorch module in one whose forward takes the images and closes over the others, and import that."
            )
        values = {name: _input(x) for name, x in zip(self.graph.inputs, inputs, strict=True)}
        frame = self.frame(params, self._orders, values)
        frame.execute(self.graph.nodes, "", "")
        return frame.value(self.graph.output)


def _input(x: jax.Array) -> Tensor:
    return maps(x) if x.ndim == 4 else tensor(x)


def _attention_site(path: str, weights: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Make the attention weights a site, under the zoo's name for them."""
    return site(f"{path}.attention_weights".lstrip("."), weights, kind="AttentionWeights")


def _identity(x: jax.Array) -> jax.Array:
    return x


def _leaves(tree: Any, path: Path = ()) -> list[tuple[Path, Tensor]]:
    """Return the tensors in nested tuples and dicts, with their places."""
    if isinstance(tree, Tensor):
        return [(path, tree)]
    if isinstance(tree, dict):
        parts = tree.items()
    else:
        parts = enumerate(tree) if isinstance(tree, tuple) else ()
    return [leaf for key, part in parts for leaf in _leaves(part, (*path, key))]


def _named(path: Path) -> str:
    return "".join(f"[{key}]" for key in path)


def _exchanged(tree: Any, shown: Mapping[Path, jax.Array], path: Path = ()) -> Any:
    """Put the shown arrays into a tree, in the places of its tensors.

    A tensor that no interceptor changed keeps its order of axes.
    """
    if isinstance(tree, Tensor):
        return tree if shown[path] is tree.surface else tree.from_surface(shown[path])
    if isinstance(tree, dict):
        return {key: _exchanged(part, shown, (*path, key)) for key, part in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_exchanged(part, shown, (*path, key)) for key, part in enumerate(tree))
    return tree
