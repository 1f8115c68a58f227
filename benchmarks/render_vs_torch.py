"""Milliseconds per neuron and step of Lucent, the best PyTorch and jaxlens, at equal settings.

`python -m benchmarks.render_vs_torch [NETWORK[:BATCH,BATCH] ...] [--steps 48] [--repeats 3]`

Lucent renders one neuron after another, as its users do. PyTorch at its best
(`benchmarks.torch_best`) renders a batch at once, in several variants, of which the fastest counts;
what fails is recorded with its error. jaxlens renders as many neurons in one call, with its own
choice of batches. All draw 128-pixel Fourier images and move them by the standard transforms; the
network sees 224 pixels (lensnet 128). Compilation is reported apart.

On a CPU nothing else may run: PyTorch's threads spin while they wait for each other, and with one
core busy elsewhere its steps take ten times as long. `OMP_WAIT_POLICY=PASSIVE` makes them sleep,
for trials on a machine that is shared.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click
import torch

from benchmarks import _lucent, harness, torch_best
from jaxlens.model import Preprocess
from jaxlens.optvis import objectives
from jaxlens.optvis.render import render


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer, the image size of its network, and the rough cost of a step (SqueezeNet: 1)."""

    layer: str
    seen: int
    cost: int


CASES = {
    "lensnet": Case("mixed4a", 128, 1),
    "squeezenet1_1": Case("features.9", 224, 1),
    "inceptionv1": Case("mixed4a", 224, 3),
    "resnet50": Case("layer2.3", 224, 4),
    "vit_b_16": Case("encoder.layers.encoder_layer_5", 224, 16),
}
DEFAULT = {
    "cpu": ("lensnet:1,16", "squeezenet1_1:1,16", "inceptionv1:1,16", "resnet50:16", "vit_b_16:4"),
    "gpu": ("inceptionv1:64",),
}
VARIANTS = {  # all of `torch_best.VARIANTS` can be asked for
    "cpu": ("channels-last", "compiled", "bfloat16"),
    "gpu": ("graph", "compiled graph", "bfloat16 graph", "bfloat16 compiled graph"),
}
WHO = ("lucent", "torch", "jaxlens")
DTYPES = ("float32", "bfloat16")
PER_RUN = {"cpu": 512, "gpu": 10**6}  # neurons times steps times cost: seconds on a CPU
MINUTE = 512  # steps that a neuron takes, in `per_minute`


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A function that renders `neurons` neurons in `steps` steps."""

    run: Callable[[], Any]
    neurons: int
    steps: int

    def per_step(self, times: dict[str, float]) -> dict[str, float]:
        """Return milliseconds per neuron and step, and the extra seconds of the first run."""
        scaled = {key: 1e3 * times[key] / self.steps / self.neurons for key in ("median", "low", "high")}
        return scaled | {"steps": self.steps, "compile_s": times["first"] - times["median"]}


def contestants(name: str, batches: list[int], options: dict[str, Any]) -> dict[tuple[str, ...], Contestant]:
    """Return all that renders neurons of this network, by who, batch, dtype and variant."""
    module, model = _lucent.pair(name, options["weights"].get(name))
    case, size, preprocess = CASES[name], options["size"], cast(Preprocess, model.preprocess)
    seen, found = options["seen"] or case.seen, {}

    def steps_of(batch: int) -> int:
        return min(options["steps"], max(4, options["per_run"] // (batch * case.cost)))

    if "lucent" in options["who"]:
        steps = options["lucent_steps"] or steps_of(16)
        module.to(_lucent.DEVICE)
        run = functools.partial(_lucent.render_channel, module, case.layer, 1, steps, size, seen)
        found["lucent",] = Contestant(run, 1, steps)

    def torchs(variant: str, batch: int) -> torch_best.Renderer:
        return torch_best.Renderer(
            module,
            case.layer,
            batch,
            size=(size, size),
            seen=(seen, seen),
            preprocess=(preprocess.scale, preprocess.offset),
            variant=torch_best.VARIANTS[variant],
        )

    made = functools.cache(torchs)
    for batch in batches:
        steps, neurons = steps_of(batch), objectives.channel(case.layer, range(1, batch + 1))
        for variant in options["variants"] if "torch" in options["who"] else ():
            dtype = str(torch_best.VARIANTS[variant].dtype).removeprefix("torch.")
            run = lambda v=variant, b=batch, steps=steps: made(v, b)(range(1, b + 1), steps)  # noqa: E731
            if dtype in options["dtypes"]:
                found["torch", str(batch), dtype, variant] = Contestant(run, batch, steps)
        for dtype in options["dtypes"] if "jaxlens" in options["who"] else ():
            given: dict[str, Any] = {"size": size, "steps": steps, "fixed_image_size": seen, "progress": False}
            given |= {} if dtype == "float32" else {"compute_dtype": dtype}
            run = functools.partial(render, model, neurons, **given)
            found["jaxlens", str(batch), dtype] = Contestant(run, batch, steps)
    return found


def row(name: str, batch: int, dtype: str, times: dict[tuple[str, ...], Any], failed: dict[Any, str]) -> dict[str, Any]:
    """Return a row of the record: times, ratios, the PyTorch variant that won, and what failed."""
    here = {key: value for key, value in times.items() if key[1:3] in ((), (str(batch), dtype))}
    variants = {key[3]: value for key, value in here.items() if key[0] == "torch"}
    best = min(variants, key=lambda v: variants[v]["median"]) if variants else None
    chosen = {
        "lucent": here.get(("lucent",)),
        "torch": best and variants[best],
        "jaxlens": here.get(("jaxlens", str(batch), dtype)),
    }
    line: dict[str, Any] = {"network": name, "layer": CASES[name].layer, "batch": batch, "dtype": dtype}
    for who, found in chosen.items():
        for key, value in (found or {}).items():
            line[{"median": f"{who}_ms", "low": f"{who}_low_ms", "high": f"{who}_high_ms"}.get(key, f"{who}_{key}")] = value
        line[f"{who}_per_minute"] = 60e3 / found["median"] / MINUTE if found else None
    own = chosen["jaxlens"]
    line["compile_s"] = line.pop("jaxlens_compile_s", None)
    for who, key in (("lucent", "ratio"), ("torch", "torch_ratio")):
        other = chosen[who]
        line[key] = other["median"] / own["median"] if own and other else None
    errors = {" ".join(key): error for key, error in failed.items() if key[1:3] in ((), (str(batch), dtype))}
    return line | {"torch_variant": best, "variants": variants, "failed": errors}


def describe(line: dict[str, Any]) -> str:
    """Return a row in words."""
    parts = [f"{who} {line[f'{who}_ms']:.2f} ms" for who in WHO if f"{who}_ms" in line]
    ratios = [f"{line[key]:.2f}x {who}" for key, who in (("ratio", "Lucent"), ("torch_ratio", "PyTorch")) if line[key]]
    won = f" (PyTorch: {line['torch_variant']})" if line["torch_variant"] else ""
    failed = "".join(f"\n  {what} failed: {why}" for what, why in line["failed"].items())
    return f"{line['network']} batch {line['batch']} {line['dtype']}: {', '.join(parts + ratios)}{won}{failed}"


def measure(name: str, batches: list[int], options: dict[str, Any]) -> list[dict[str, Any]]:
    """Measure the rows of one network."""
    torch.compiler.reset()  # it stops compiling a function that it has seen in too many networks
    found, failed = contestants(name, batches, options), {}
    seconds = harness.compare({key: each.run for key, each in found.items()}, options["repeats"], failed)
    times = {key: found[key].per_step(value) for key, value in seconds.items()}
    rows = [row(name, batch, dtype, times, failed) for batch in batches for dtype in options["dtypes"]]
    for line in rows:
        if harness.backend() == "cpu" and line["batch"] != batches[0]:
            line["compile_s"] = None  # one program serves all batches: it renders a neuron or two at a time
    return rows


def _weights(_context: click.Context, _option: click.Option, values: tuple[str, ...]) -> dict[str, Path]:
    return {name: Path(path) for name, _, path in (value.partition("=") for value in values)}


@click.command()
@click.argument("cases", nargs=-1, metavar="[NETWORK[:BATCH,BATCH]]...")
@click.option("--size", default=128, show_default=True, help="Side of the images.")
@click.option("--seen", type=int, help="Side at which the network sees them.  [default: 224, lensnet 128]")
@click.option("--steps", default=48, show_default=True)
@click.option("--lucent-steps", type=int, help="Of Lucent, which takes longest.  [default: as for a batch of 16]")
@click.option(
    "--per-run", type=int, help="Fewer steps for many neurons: at most so many steps in all.  [default: 512 on a CPU]"
)
@click.option("--repeats", default=3, show_default=True)
@click.option("--dtype", "dtypes", multiple=True, type=click.Choice(DTYPES), help="[default: float32; on a GPU both]")
@click.option("--variant", "variants", multiple=True, type=click.Choice(list(torch_best.VARIANTS)), help="Of PyTorch.")
@click.option("--who", multiple=True, type=click.Choice(WHO), default=WHO)
@click.option("--weights", multiple=True, callback=_weights, metavar="NETWORK=FILE", help="Random weights otherwise.")
@click.option("--name", default="render_vs_torch", show_default=True, help="Of the record.")
def main(cases: tuple[str, ...], name: str, **options: Any) -> None:
    """Measure each network with its batches in turn, and write the record after each."""
    on = harness.backend()
    options["per_run"] = options["per_run"] or PER_RUN[on]
    options["dtypes"] = options["dtypes"] or (DTYPES if on == "gpu" else DTYPES[:1])
    options["variants"] = options["variants"] or VARIANTS["gpu" if torch_best.VARIANTS is torch_best.GPU else "cpu"]
    settings = {key: options[key] for key in ("steps", "repeats", "size", "seen", "who")}
    rows: list[dict[str, Any]] = []
    for case in cases or DEFAULT[on]:
        network, _, batches = case.partition(":")
        for line in measure(network, [int(batch) for batch in (batches or "1").split(",")], options):
            rows.append(line)
            print(describe(line), flush=True)
        settings["network_size"] = options["seen"] or max(CASES[each["network"]].seen for each in rows)
        print(harness.record(f"{name}_{on}", rows, **settings))


if __name__ == "__main__":
    main()
