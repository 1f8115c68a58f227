"""Milliseconds per neuron and step by batch size: `python -m benchmarks.batch_size [--network N --layer L]`."""

import argparse

import jax

from benchmarks import harness
from jaxlens import modelzoo
from jaxlens.optvis import objectives
from jaxlens.optvis.render import render


def main() -> None:
    """Times 16 neuron-steps or more at each batch size, in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="squeezenet1_1")
    parser.add_argument("--layer", default="features.9")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    options = parser.parse_args()
    model = modelzoo.load(options.network, weights=None)

    def steps(batch: int) -> int:
        return max(4, 32 // batch)

    def run(batch: int) -> None:
        objective = objectives.channel(options.layer, range(batch))
        render(model, objective, steps=steps(batch), batch=batch, progress=False, redirect_steps=0)

    times = harness.compare({str(b): lambda b=b: run(b) for b in options.batches}, 5)
    rows = []
    for batch in options.batches:
        row = {"batch": batch} | {k: 1e3 * v / steps(batch) / batch for k, v in times[str(batch)].items() if k != "first"}
        rows.append(row)
        print(f"batch {batch}: {row['median']:.1f} ms per neuron and step ({row['low']:.1f} to {row['high']:.1f})")
    name = f"batch_size_{options.network}_{jax.devices()[0].platform}"
    print(harness.record(name, rows, network=options.network, layer=options.layer))


if __name__ == "__main__":
    main()
