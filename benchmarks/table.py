"""The README's tables, from the records: `python -m benchmarks.table`."""

import json

from benchmarks.harness import RESULTS


def main() -> None:
    """Prints the tables as Markdown."""
    record = json.loads((RESULTS / "render_vs_lucent_cpu.json").read_text())
    machine, versions, ran = record["machine"], record["versions"], record["settings"]
    print("Milliseconds per neuron and step; Lucent renders one neuron after another.")
    print(f"{machine['cores']} cores of {machine['cpu']}, jax {versions['jax']}, torch {versions['torch']},")
    print(f"{ran['size']} px shown at {ran['network_size']}, {ran['steps']} steps, medians of {ran['repeats']} runs.\n")
    print("| network, layer | neurons at once | Lucent | jaxlens | ratio | compilation |")
    print("|---|---|---|---|---|---|")
    for row in record["rows"]:
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
