"""What the importer knows of torchvision: which modules are its own, and the maps of its ViT."""

from typing import Any

from jaxlens.graph._ir import Ref, Slice

from ._graph import Builder


def is_from_torchvision(module: Any) -> bool:
    """Return whether torchvision defines the class of a module."""
    return type(module).__module__.startswith("torchvision.models.")


def is_vit_block(module: Any) -> bool:
    """Return whether a module is a block of torchvision's ViT; the zoo shows those as maps."""
    kind = type(module)
    return kind.__module__ == "torchvision.models.vision_transformer" and kind.__name__ == "EncoderBlock"


def with_grid(tokens: Any, builder: Builder) -> Ref:
    """Add a layer `.grid` to the open module, as in `jaxlens.modelzoo.vit`.

    Returns: the tokens, which have passed through the layer.
    """
    everything = Slice((None, None, None))
    first, patches = (builder.op("getitem", (tokens, (everything, Slice(ends)))) for ends in ((None, 1, None), (1, None, None)))
    square = builder.op("square_grid", (patches,))
    builder.enter(f"{builder.path}.grid", "Grid", [square])
    back = builder.op("flatten", (builder.leave(square), 1, 2))
    return builder.op("cat", ((first, back), 1))
