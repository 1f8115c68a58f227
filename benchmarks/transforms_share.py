"""The share of a step that the standard transforms take: `python -m benchmarks.transforms_share`.

Renders with them and without, alternately. The share is the extra time of a step with them.
"""

from typing import Any

import click
import jax

from benchmarks import harness
from jaxlens import modelzoo
from jaxlens.optvis import objectives
from jaxlens.optvis.render import render

CASES = (("squeezenet1_1", "features.9"), ("inceptionv1", "mixed4a"), ("resnet50", "layer2.3"))


@click.command()
@click.option("--batches", default="1,4", show_default=True)
@click.option("--steps", default=20, show_default=True)
@click.option("--repeats", default=7, show_default=True)
def main(batches: str, steps: int, repeats: int) -> None:
    """Measure, print and record."""
    rows = []
    for name, layer in CASES:
        model = modelzoo.load(name, weights=None)
        for batch in map(int, batches.split(",")):

            def run(transforms: list | None, model: Any = model, layer: str = layer, batch: int = batch) -> None:
                wanted = objectives.channel(layer, range(batch))
                options: dict[str, Any] = {"steps": steps, "batch_size": batch, "redirect_steps": 0, "progress": False}
                render(model, wanted, transforms=transforms, **options)

            times = harness.compare({"with": lambda run=run: run(None), "without": lambda run=run: run([])}, repeats)
            ms = {kind: 1e3 * times[kind]["median"] / steps / batch for kind in times}
            share = 1 - ms["without"] / ms["with"]
            rows.append(
                {
                    "network": name,
                    "layer": layer,
                    "batch": batch,
                    "with_ms": ms["with"],
                    "without_ms": ms["without"],
                    "share": share,
                }
            )
            print(f"{name} batch {batch}: {ms['with']:.1f} ms with, {ms['without']:.1f} without: {share:.0%}", flush=True)
        print(harness.record(f"transforms_share_{jax.devices()[0].platform}", rows, steps=steps, repeats=repeats))


if __name__ == "__main__":
    main()
