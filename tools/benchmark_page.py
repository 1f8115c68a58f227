"""`benchmarks/README.md`, written, and the tables of the README, printed.

`python -m tools.benchmark_page`
"""

import json
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.harness import RESULTS
from jaxlens import modelzoo


def lensnet() -> None:
    """Print what `python -m tools.train_lensnet` recorded."""
    record = json.loads((Path(modelzoo.__file__).parent / "weights" / "lensnet.json").read_text())
    trained, random = record["trained"], record["random weights"]
    print("| | trained | random weights |\n|---|---|---|")
    for title, key, show in (
        ("accuracy on fresh pictures, 40 of each of 71 classes", "accuracy", lambda x: f"{100 * x:.1f} %"),
        (
            "median error of curves' orientation, linear probe at mixed4a (chance 90°)",
            "curve_orientation_error",
            "{:.1f}°".format,
        ),
        ("the same for bars (chance 45°)", "bar_orientation_error", "{:.1f}°".format),
        ("curve units, whose tuning turns with the picture", "curve_units", len),
        ("high-low frequency units, whose response halves or more when the sides swap", "high_low_units", len),
    ):
        print(f"| {title} | {show(trained[key])} | {show(random[key])} |")
    parameters, minutes = modelzoo.info("lensnet").parameters, record["seconds"] / 60
    print(
        f"\n{parameters:,} parameters; {record['images']:,} pictures in "
        f"{minutes:.0f} minutes on two cores that other work shared.\n"
    )


def attribution() -> None:
    """Print what `benchmarks.attribution_vs_captum` recorded."""
    record = json.loads((RESULTS / "attribution_vs_captum_cpu.json").read_text())
    ran, needs = record["settings"], record["settings"]["memory"]
    print(
        f"Seconds for a batch of {ran['batch']} images of {ran['size']} px, SqueezeNet 1.1, medians of {ran['repeats']} runs; "
    )
    print("captum in its fastest setting with tensors as they come (contiguous), and with everything in channels-last.\n")
    print("| method | captum | captum, channels-last | jaxlens |\n|---|---|---|---|")
    for row in record["rows"]:
        times = {way: each["median"] for way, each in row["seconds"].items()}
        ours = times.pop("jaxlens")
        best = {
            layout: min(s for way, s in times.items() if way.startswith(layout)) for layout in ("contiguous", "channels_last")
        }
        cells = [f"{s:.1f} ({s / ours:.2f}x)" for s in best.values()]
        print(f"| {row['method']} | {' | '.join(cells)} | {ours:.1f} |")
    counts = ", ".join(needs)
    print(f"\nA step of 16 evaluations needs {max(needs.values()) / 2**20:.0f} MiB whether there are {counts} samples.\n")


def main() -> None:
    """Print what the README shows, and write the page of all records."""
    lensnet()
    attribution()
    speed()
    print(report.write(), file=sys.stderr)


def speed() -> None:
    """Print what `render_vs_torch`, `activation_vs_lucent` and `first_picture` recorded."""
    record = json.loads((RESULTS / "render_vs_torch_cpu.json").read_text())
    machine, versions, ran = record["machine"], record["versions"], record["settings"]
    print("Milliseconds per neuron and step; Lucent renders one neuron after another.")
    print(f"{machine['cores']} cores of {machine['cpu']}, jax {versions['jax']}, torch {versions['torch']},")
    print(f"{ran['size']} px shown at {ran['network_size']}, {ran['steps']} steps, medians of {ran['repeats']} runs.\n")
    print("| network, layer | neurons at once | Lucent | jaxlens | ratio | compilation |")
    print("|---|---|---|---|---|---|")
    for row in record["rows"]:
        if row.get("dtype", "float32") != "float32" or not row.get("ratio"):
            continue
        compiled = "the same program" if row["compile_s"] is None else f"{row['compile_s']:.1f} s"
        print(
            f"| {row['network']} {row['layer']} | {row['batch']} | {row['lucent_ms']:.1f} | {row['jaxlens_ms']:.1f} "
            f"| {row['ratio']:.2f}x | {compiled} |"
        )
    quality = json.loads((RESULTS / "activation_vs_lucent.json").read_text())
    rows, ran = quality["rows"], quality["settings"]
    dead = sum(row["ratio"] is None for row in rows)
    print(f"\nActivation after {ran['steps']} steps, {len(rows)} neurons in 3 layers of SqueezeNet 1.1:")
    print(f"median {ran['median_ratio']:.2f} times Lucent's; {dead} neurons that Lucent leaves dead wake up.")
    first = json.loads((RESULTS / "first_picture_cpu.json").read_text())
    cold, warm = first["rows"]
    print(
        f"\nFirst picture of lensnet ({first['settings']['neuron']}, 128 px, {first['settings']['steps']} steps), new process: "
        f"{cold['load_s'] + cold['render_s']:.1f} s with\ncompilation, {warm['load_s'] + warm['render_s']:.1f} s with JAX's "
        f"compilation cache, besides {warm['import_s']:.1f} s for imports."
    )


if __name__ == "__main__":
    main()
