"""The part of the difference in score that integrated gradients miss on photographs.

`python -m benchmarks.completeness --weights W.pth --photographs FOLDER`
"""

import warnings
from pathlib import Path

import click
import jax
import numpy as np

from benchmarks import harness
from benchmarks.faithfulness import photographs
from jaxlens import attribution, modelzoo


@click.command()
@click.option("--network", default="squeezenet1_1", show_default=True)
@click.option("--weights", default="DEFAULT", show_default=True, help="A file, or the name of published weights.")
@click.option("--photographs", "folder", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--count", default=177, show_default=True, help="Photographs.")
@click.option("--size", default=224, show_default=True, help="Their side in pixels.")
@click.option("--steps", default=50, show_default=True, help="Points of each path.")
@click.option("--batch", default=16, show_default=True, help="Photographs at once.")
def main(network: str, weights: str, folder: Path, count: int, size: int, steps: int, batch: int) -> None:
    """Print what integrated gradients and DeepLift miss, and the warnings; write a record."""
    model, images = modelzoo.load(network, weights), photographs(folder, count, size)
    missed: dict[str, list[np.ndarray]] = {"integrated gradients": [], "deep_lift": []}
    said: list[str] = []
    for start in range(0, len(images), batch):
        some = images[start : start + batch]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", attribution.IncompleteWarning)
            found = attribution.integrated_gradients(model, some, steps=steps, progress=False)
        said += [f"photographs {start}..: {w.message}" for w in caught if w.category is attribution.IncompleteWarning]
        for name, each in (("integrated gradients", found), ("deep_lift", attribution.deep_lift(model, some))):
            change = np.asarray(each.scores) - np.asarray(each.baseline_scores)
            missed[name].append(np.abs(np.asarray(each.delta) / change))
        print(f"{start + len(some)} of {len(images)} photographs", flush=True)
    rows = []
    for name, parts in missed.items():
        share = np.concatenate(parts)
        rows.append(
            {
                "method": name,
                "median": float(np.median(share)),
                "largest": float(share.max()),
                "within 1 %": int((share <= 0.01).sum()),
            }
        )
        print(f"{name}: missed share of the difference in score, median {np.median(share):.2g}, largest {share.max():.2g}; "
              f"within 1 % on {(share <= 0.01).sum()} of {len(share)}")  # fmt: skip
    print(*said, sep="\n")
    settings = {"network": network, "photographs": len(images), "size": size, "steps": steps, "warnings": said}
    print(harness.record(f"completeness_{jax.devices()[0].platform}", rows, **settings))


if __name__ == "__main__":
    main()
