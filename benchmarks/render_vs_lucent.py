"""Seconds per neuron and step: jaxlens against torch-lucent, the same network, weights, sizes and steps.

`python -m benchmarks.render_vs_lucent [--steps 48] [--repeats 3] [--squeezenet-weights FILE.pth]`

Lucent renders one neuron after another, as its users do; jaxlens 1 or 16 in one
call, with its own choice of batches. Both draw a 128-pixel Fourier image,
apply the standard transforms and show the network 224 pixels. Compilation is reported apart.
"""

import argparse

import jax

from benchmarks import _lucent, harness
from converters import convert
from jaxlens import modelzoo
from jaxlens.optvis import objectives
from jaxlens.optvis.render import render

CASES = (("squeezenet1_1", "features.9"), ("inceptionv1", "mixed4a"))
BATCHES = (1, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--squeezenet-weights", help="a state dict; random weights otherwise")
    options = parser.parse_args()
    rows = []
    for name, layer in CASES:
        module = _lucent.network(name, options.squeezenet_weights if name == "squeezenet1_1" else None)
        model = modelzoo.load(name, weights=None)
        model = model.replace(params=convert(module.state_dict(), name))
        contestants = {"lucent": lambda module=module, layer=layer: _lucent.render_channel(module, layer, 1, options.steps)}
        for batch in BATCHES:
            contestants[f"jaxlens x{batch}"] = lambda model=model, layer=layer, batch=batch: render(
                model, objectives.channel(layer, range(1, batch + 1)), steps=options.steps, progress=False
            )
        times = harness.compare(contestants, options.repeats)
        lucent = times["lucent"]["median"] / options.steps
        for batch in BATCHES:
            ours = times[f"jaxlens x{batch}"]
            mine = ours["median"] / options.steps / batch
            rows.append(
                {
                    "network": name,
                    "layer": layer,
                    "batch": batch,
                    "lucent_ms": 1e3 * lucent,
                    "jaxlens_ms": 1e3 * mine,
                    "ratio": lucent / mine,
                    "jaxlens_low_ms": 1e3 * ours["low"] / options.steps / batch,
                    "jaxlens_high_ms": 1e3 * ours["high"] / options.steps / batch,
                    "lucent_low_ms": 1e3 * times["lucent"]["low"] / options.steps,
                    "lucent_high_ms": 1e3 * times["lucent"]["high"] / options.steps,
                    "compile_s": ours["first"] - ours["median"] if batch == 1 else None,  # one program serves both
                }
            )
            row = rows[-1]
            compiled = "" if row["compile_s"] is None else f"; compilation {row['compile_s']:.1f} s"
            print(
                f"{name} {layer} batch {batch}: lucent {row['lucent_ms']:.1f} ms, jaxlens {row['jaxlens_ms']:.1f} ms "
                f"per neuron and step, {row['ratio']:.2f}x{compiled}",
                flush=True,
            )
    device = jax.devices()[0].platform
    print(
        harness.record(
            f"render_vs_lucent_{device}", rows, steps=options.steps, repeats=options.repeats, size=128, network_size=224
        )
    )


if __name__ == "__main__":
    main()
