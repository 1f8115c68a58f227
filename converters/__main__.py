"""`python -m converters NAME --weights FILE --out FILE.safetensors`."""

from pathlib import Path

import click
import jax

from jaxlens import modelzoo
from jaxlens.cli._options import Out, check_writable, refuse_inputs
from jaxlens.cli._output import Command, say


@click.command(cls=Command)
@click.argument("name")
@click.option(
    "--weights",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A PyTorch state dict (.pth, .pt, .safetensors, .npz, .h5).",
)
@click.option("--out", required=True, type=Out(), help="The file to write (.safetensors).")
def main(name: str, weights: Path, out: Path) -> None:
    """Convert a PyTorch state dict to the weights of NAME, for use without torch.

    `jaxlens models` lists the names. Every tensor on both sides must find its partner. Load the
    result with jaxlens.modelzoo.load(NAME, weights="FILE.safetensors").

    Example: python -m converters squeezenet1_1 --weights squeezenet1_1.pth
    --out squeezenet1_1.safetensors
    """
    if out.suffix != ".safetensors":
        raise click.UsageError(f"--out {str(out)!r} must end in .safetensors.")
    check_writable(out.parent)
    refuse_inputs(out, [weights])
    model = modelzoo.load(name, weights)
    modelzoo.save(model, out, source=weights.name)
    leaves = jax.tree.leaves(model.params)
    say(f"{out}: {name}, {len(leaves)} tensors, {sum(leaf.size for leaf in leaves):,} numbers")


if __name__ == "__main__":
    main(prog_name=f"python -m {__package__}")
