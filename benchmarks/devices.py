"""Whether rendering spreads over devices and processes.

`python -m benchmarks.devices [--devices 1,2,4,8] [--processes 1,2]`

Devices are virtual ones of a CPU, a new process for each number: a fixed number of neurons over 1,
2, 4 and 8 of them. The operations of the compiled step on each device must fall as the number
rises, and the step must hold no operation that exchanges anything. Seconds say little, for all
devices share this machine's cores.

Processes render one folder of pictures together with `jaxlens render --all-channels`: tiles by
process, tiles in all, seconds.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
import jax
from jax.sharding import Mesh, PartitionSpec

from benchmarks import flops, harness
from jaxlens import modelzoo
from jaxlens.optvis import objectives
from jaxlens.optvis.render import render

CLI = [sys.executable, "-m", "jaxlens.cli", "render"]
COLLECTIVE = re.compile(r"\b(all-reduce|all-gather|collective-permute|all-to-all|reduce-scatter)(-start)?\(")


def collectives(hlo: str | None) -> dict[str, int]:
    """Count the operations of an optimized program that exchange data between devices, by kind."""
    return dict(Counter(match[1] for match in COLLECTIVE.finditer(hlo or "")))


def control(devices: list[Any]) -> dict[str, int]:
    """Return what `collectives` finds in a program that exchanges data. It must not be empty."""
    mesh = Mesh(devices, ("tasks",))
    total = jax.shard_map(
        lambda x: jax.lax.psum(x, "tasks"), mesh=mesh, in_specs=PartitionSpec("tasks"), out_specs=PartitionSpec()
    )
    return collectives(jax.jit(total).lower(jax.numpy.ones(len(devices))).compile().as_text())


def child(network: str, layer: str, tasks: int, size: int, steps: int, repeats: int) -> dict[str, Any]:
    """Measure the row for the devices of this process."""
    model, neurons = modelzoo.load(network, weights=None), objectives.channel(layer, range(tasks))

    def run(steps: int) -> None:
        render(model, neurons, size=size, steps=steps, batch_size=tasks, redirect_steps=0, progress=False)

    step, devices = flops.lowered(lambda: run(1)).compile(), jax.local_devices()
    times = harness.compare({"render": lambda: run(steps)}, repeats)["render"]
    return {
        "devices": len(devices),
        "gflop_per_device": (flops.counted(step) or 0) / 1e9,
        "collectives": collectives(step.as_text()),
        "control": control(devices) if len(devices) > 1 else None,
        "seconds": times,
    }


def on_devices(count: int, settings: list[Any]) -> dict[str, Any]:
    """Run `child` in a process with `count` virtual devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}".strip()
    code = f"import json; from benchmarks import devices; print(json.dumps(devices.child(*{settings!r})))"
    return json.loads(_run([sys.executable, "-c", code], XLA_FLAGS=flags).splitlines()[-1])


def on_processes(count: int, network: str, layer: str, size: int, steps: int) -> dict[str, Any]:
    """Start `count` processes on one folder at once. Their compilation cache starts empty."""
    row: dict[str, Any] = {"processes": count}
    if "--all-channels" not in _run([*CLI, "--help"]):
        return row | {"failed": "this jaxlens has no `jaxlens render --all-channels`"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [
            *CLI,
            network,
            "--layer",
            layer,
            "--all-channels",
            "--steps",
            str(steps),
            "--size",
            str(size),
            "--out",
            str(out),
        ]
        env = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(Path(folder) / "cache")}
        began = time.perf_counter()
        running = [
            subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(count)
        ]
        said = [process.communicate()[0] for process in running]
        row["seconds"] = time.perf_counter() - began
        bad = [text for process, text in zip(running, said, strict=True) if process.returncode]
        if bad:
            return row | {"failed": bad[0][-500:]}
        row["by_process"] = [tiles_said(text) for text in said]
        row["tiles"] = sum(1 for _ in out.glob("*/*.png"))
    return row


def tiles_said(text: str) -> int | None:
    """Return the number of tiles that a process says it rendered itself."""
    found = re.findall(r"(\d+) of \d+ neurons rendered", text)
    return int(found[-1]) if found else None


def _run(command: list[str], **env: str) -> str:
    done = subprocess.run(command, env=os.environ | {"JAX_PLATFORMS": "cpu"} | env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def _numbers(_context: click.Context, _option: click.Option, text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


@click.command()
@click.option("--devices", default="1,2,4,8", show_default=True, callback=_numbers)
@click.option("--processes", default="1,2", show_default=True, callback=_numbers)
@click.option("--network", default="lensnet", show_default=True)
@click.option("--layer", default="mixed4a", show_default=True)
@click.option("--tasks", default=16, show_default=True, help="Neurons in all, over the devices.")
@click.option("--size", default=64, show_default=True)
@click.option("--steps", default=16, show_default=True)
@click.option("--repeats", default=3, show_default=True)
def main(
    devices: list[int], processes: list[int], network: str, layer: str, tasks: int, size: int, steps: int, repeats: int
) -> None:
    """Measure each number of devices, then of processes, and write the record after each."""
    rows: list[dict[str, Any]] = []
    settings = {"network": network, "layer": layer, "tasks": tasks, "size": size, "steps": steps, "repeats": repeats}
    for count in devices:
        rows.append(on_devices(count, [network, layer, tasks, size, steps, repeats]))
        row, median = rows[-1], rows[-1]["seconds"]["median"]
        held = ", ".join(f"{n} {kind}" for kind, n in row["collectives"].items()) or "no collectives"
        print(f"{count} devices: {row['gflop_per_device']:.2f} GFLOP on each, {held}, {median:.2f} s", flush=True)
        harness.record("devices_cpu", rows, **settings)
    for count in processes:
        rows.append(on_processes(count, network, layer, size, steps))
        row = rows[-1]
        if "failed" in row:
            print(f"{count} processes: {row['failed']}", flush=True)
        else:
            print(f"{count} processes: {row['by_process']} tiles, {row['tiles']} in all, {row['seconds']:.1f} s", flush=True)
        print(harness.record("devices_cpu", rows, **settings))


if __name__ == "__main__":
    main()
