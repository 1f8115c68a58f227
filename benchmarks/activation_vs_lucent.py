"""The activation that jaxlens and torch-lucent reach in the same steps, with SqueezeNet's weights.

`python -m benchmarks.activation_vs_lucent --weights squeezenet1_1.pth [--steps 128]`

Finished images of both are scored by one network without transforms, enlarged to 224 pixels. A
neuron that Lucent leaves dead counts as a ratio of infinity; the median does not care.
"""

import argparse

import numpy as np

from benchmarks import _lucent, harness
from jaxlens import modelzoo
from jaxlens.optvis import objectives
from jaxlens.optvis.render import evaluate, render

LAYERS = {
    "features.5": (3, 17, 40, 66, 90, 101),
    "features.9": (0, 31, 64, 127, 190, 255),
    "features.12": (2, 60, 133, 256, 301, 444),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", required=True)
    parser.add_argument("--steps", type=int, default=128)
    options = parser.parse_args()
    module = _lucent.network("squeezenet1_1", options.weights)
    model = modelzoo.load("squeezenet1_1", weights=options.weights)
    rows = []
    for layer, channels in LAYERS.items():
        objective = objectives.channel(layer, channels)
        ours = evaluate(model, objective, render(model, objective, steps=options.steps, progress=False).images)
        theirs = np.stack([_lucent.render_channel(module, layer, c, options.steps) for c in channels])
        theirs = evaluate(model, objective, theirs[:, None])
        for channel, a, b in zip(channels, ours.tolist(), theirs.tolist(), strict=True):
            rows.append({"layer": layer, "channel": channel, "jaxlens": a, "lucent": b, "ratio": a / b if b > 0 else None})
            print(
                f"{layer}:{channel}: jaxlens {a:.1f}, lucent {b:.1f}, ratio {a / b if b > 0 else float('inf'):.2f}", flush=True
            )
    ratios = [float("inf") if row["ratio"] is None else row["ratio"] for row in rows]
    print(f"median ratio {np.median(ratios):.2f} over {len(rows)} neurons")
    print(harness.record("activation_vs_lucent", rows, steps=options.steps, median_ratio=float(np.median(ratios))))


if __name__ == "__main__":
    main()
