"""All benchmarks of a machine, one after another.

`python -m benchmarks.suite [cpu | gpu] [--quick] [--weights FILE]`

Each is a process with a time limit of its own. One that fails or takes too long does not stop the
others, and what it has recorded by then stays. The closing lines say which ran.
"""

import dataclasses
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import time

import click


@dataclasses.dataclass(frozen=True)
class Job:
    """A benchmark with its arguments.

    Attributes:
        name: of the module.
        args: of the command.
        limit: seconds after which it is stopped: a multiple of what it should take.
        quick: arguments of a trial, which shows that it runs; None leaves it out.
        instead: arguments of further runs if it fails.
    """

    name: str
    args: str
    limit: float
    quick: str | None
    instead: tuple[str, ...] = ()


TINY = "--size 48 --seen 64 --steps 4 --repeats 2"
CPU = (
    Job("render_vs_torch", "", 2400, f"lensnet:1,2 {TINY} --variant channels-last"),
    Job("roofline", "", 600, f"lensnet --batch 2 {TINY} --product 256"),
    Job(
        "scaling",
        "",
        900,
        "--network lensnet --layer mixed4a --deepest mixed4a --depths 2 --size 48 --most 2 --largest 96 --longest 16 "
        "--neuron-steps 8 --repeats 2",
    ),
    Job("devices", "", 900, "--devices 1,2 --processes '' --tasks 4 --size 48 --steps 2 --repeats 2"),
    Job("first_picture", "--neuron mixed3b:60 --steps 64", 300, "--neuron mixed3a:0 --steps 2 --repeats 1"),
    Job("kernels", "", 300, None),
    Job("transforms_share", "", 300, None),
    Job("memory", "", 600, "--help"),
)
# The most important first, because a loan of a GPU ends. What needs no compiler of PyTorch comes
# before what does. Later runs on the same network find jaxlens' programs compiled.
FIRST = "inceptionv1:64 --steps 512"
GPU = (
    Job(
        "render_vs_torch",
        f"{FIRST} --lucent-steps 24 --variant eager --variant graph --variant 'bfloat16 graph'",
        240,
        f"lensnet:2 {TINY} --dtype float32 --dtype bfloat16 --variant channels-last --variant bfloat16",
        (  # where JAX and PyTorch cannot share a process
            f"{FIRST} --who jaxlens",
            f"{FIRST} --who lucent --who torch --lucent-steps 24 --name render_vs_torch_theirs",
        ),
    ),
    Job("roofline", "inceptionv1", 90, f"lensnet --batch 2 {TINY} --dtype float32 --dtype bfloat16 --product 256"),
    Job(
        "render_vs_torch",
        f"{FIRST} --who torch --who jaxlens --variant 'compiled graph' --variant 'bfloat16 compiled graph' "
        "--variant reduce-overhead --name render_vs_torch_compiled",
        180,
        f"lensnet:2 {TINY} --who torch --who jaxlens --variant contiguous --name render_vs_torch_compiled",
    ),
    Job(
        "render_vs_torch",
        f"{FIRST} --who torch --who jaxlens --variant 'max-autotune graph' --variant 'bfloat16 max-autotune graph' "
        "--name render_vs_torch_autotune",
        180,
        f"lensnet:2 {TINY} --who torch --who jaxlens --variant contiguous --name render_vs_torch_autotune",
    ),
    Job(
        "scaling",
        "batch steps --network inceptionv1 --layer mixed4a --deepest mixed4a --repeats 3",
        120,
        "batch --network lensnet --layer mixed4a --deepest mixed4a --depths 2 --size 48 --most 2 --neuron-steps 8 --repeats 2",
    ),
    Job(
        "render_vs_torch",
        "squeezenet1_1:64 resnet50:64 vit_b_16:64 --steps 128 --lucent-steps 16 --variant graph --variant 'bfloat16 graph' "
        "--name render_vs_torch_networks",
        200,
        f"squeezenet1_1:2 {TINY} --variant channels-last --name render_vs_torch_networks",
    ),
)
SETS = {"cpu": CPU, "gpu": GPU}
LEAST = 15  # seconds: with less left, nothing is started


def run(name: str, args: str, limit: float) -> str:
    """Run a benchmark, and return "ran" or why not. Stop all its processes once the time is up."""
    command = [sys.executable, "-u", "-m", f"benchmarks.{name}", *shlex.split(args)]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        code = process.wait(limit)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            return f"stopped after {limit:.0f} s"
        raise
    return "ran" if code == 0 else f"failed with exit status {code}"


def weighed(weights: str) -> tuple[Job, ...]:
    """Return the benchmarks that need SqueezeNet's weights."""
    given = f"--weights {shlex.quote(weights)}"
    return (
        Job("activation_vs_lucent", given, 900, f"{given} --steps 2"),
        Job("attribution_vs_captum", given, 900, f"{given} --batch 1 --size 64 --steps 2 --samples 2 --repeats 1"),
    )


@click.command()
@click.argument("machine", default="cpu", type=click.Choice(list(SETS)))
@click.option("--quick", is_flag=True, help="Tiny trials, which show that everything runs.")
@click.option("--weights", type=click.Path(exists=True, dir_okay=False), help="A state dict of squeezenet1_1, for two more.")
@click.option("--budget", default=1e9, help="Seconds for all together.")
def main(machine: str, quick: bool, weights: str | None, budget: float) -> None:
    """Run the set, and exit with 1 if anything failed."""
    began, outcomes = time.monotonic(), []
    for job in SETS[machine] + (weighed(weights) if weights else ()):
        if importlib.util.find_spec(f"benchmarks.{job.name}") is None:
            outcomes.append((job.name, "", "is not there", 0.0))
            continue
        ways = [args for args in ((job.quick,) if quick else (job.args, *job.instead)) if args is not None]
        for number, args in enumerate(ways):
            left = budget - (time.monotonic() - began)
            if left < LEAST:
                outcomes.append((job.name, args, "no time was left", 0.0))
                break
            print(f"== {job.name} {args}", flush=True)
            start = time.monotonic()
            outcome = run(job.name, args, min(job.limit, left))
            outcomes.append((job.name, args, outcome, time.monotonic() - start))
            if number == 0 and outcome == "ran":
                break
    print("\n== closing lines")
    for name, args, outcome, seconds in outcomes:
        print(f"{outcome}, {seconds:.0f} s: {name} {args}")
    raise SystemExit(any(outcome not in ("ran", "is not there") for _, _, outcome, _ in outcomes))


if __name__ == "__main__":
    main()
