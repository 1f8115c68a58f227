"""A render job of 500 neurons that is killed 20 times.

`python -m benchmarks.killed_job [--neurons 500 --kills 20]`

Renders neurons of lensnet undisturbed; then again with one process at a time that is killed
(SIGKILL) at random moments and started anew; then with two at once on one folder, of which one or
the other is killed. Compares every file, and checks that no tile which was there when a process
died was ever written again.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks.harness import record

CHILD = """
import sys
from jaxlens import microscope, modelzoo
model = modelzoo.load("lensnet")
layers = [name for name in microscope.blocks(model) if name.startswith("mixed")]
count, chosen = int(sys.argv[2]), {}
for name in layers:
    chosen[name] = min(count - sum(chosen.values()), model.layers[name].channels)
for name in [name for name in chosen if chosen[name]]:
    microscope.render_layers(
        model, [name], sys.argv[1], channels=range(chosen[name]), size=(24, 32), fixed_image_size=(48, 64), steps=4,
        progress=False,
    )
"""


def tiles(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return contents and time of every tile."""
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.rglob("*.png"))}


def start(folder: Path, neurons: int, cache: str) -> subprocess.Popen[bytes]:
    """Start a process that renders into the folder."""
    env = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    return subprocess.Popen([sys.executable, "-c", CHILD, str(folder), str(neurons)], env=env)


def disturbed(folder: Path, neurons: int, kills: int, together: int, cache: str, chance: random.Random) -> int:
    """Kill processes, let the last ones finish, and return how many tiles were written twice.

    A process dies some time after the folder holds a random number of tiles, or at its start if the
    folder holds as many already.
    """
    running, seen = [start(folder, neurons, cache) for _ in range(together)], dict[str, int]()
    for kill, count in enumerate(sorted(chance.randrange(int(0.9 * neurons)) for _ in range(kills)), 1):
        number = chance.randrange(together)
        while sum(1 for _ in folder.rglob("*.png")) < count:
            if running[number].poll() is not None:
                raise click.ClickException("A process ended by itself before the job was done.")
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 1))
        running[number].kill()
        running[number].wait()
        seen |= {name: then for name, (_, then) in tiles(folder).items() if name not in seen}
        print(f"  kill {kill}: {len(seen)} tiles", flush=True)
        running[number] = start(folder, neurons, cache)
    if any(process.wait() for process in running):
        raise click.ClickException("A process failed.")
    after = tiles(folder)
    return sum(after[name][1] != then for name, then in seen.items())


@click.command()
@click.option("--neurons", default=500, show_default=True)
@click.option("--kills", default=20, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(neurons: int, kills: int, seed: int) -> None:
    """Run, compare, print and record."""
    chance, rows = random.Random(seed), []
    with tempfile.TemporaryDirectory() as root:
        cache = f"{root}/compiled"
        began = time.time()
        if start(Path(root) / "whole", neurons, cache).wait():
            raise click.ClickException("The undisturbed job failed.")
        whole = tiles(Path(root) / "whole")
        print(f"undisturbed: {len(whole)} tiles in {time.time() - began:.0f} s", flush=True)
        for together in (1, 2):
            folder, began = Path(root) / str(together), time.time()
            twice = disturbed(folder, neurons, kills, together, cache, chance)
            found = tiles(folder)
            same = sum(found.get(name, (b"",))[0] == content for name, (content, _) in whole.items())
            left = len(list(folder.rglob("*.part")))
            rows.append(
                {
                    "processes": together,
                    "kills": kills,
                    "tiles": len(found),
                    "identical": same,
                    "twice": twice,
                    "leftovers": left,
                }
            )
            print(f"{rows[-1]} in {time.time() - began:.0f} s", flush=True)
            if (len(found), same, twice) != (len(whole), len(whole), 0):
                raise click.ClickException("The job did not end as the undisturbed one.")
    print(record("killed_job_cpu", rows, neurons=neurons, seed=seed))


if __name__ == "__main__":
    main()
