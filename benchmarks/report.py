"""`benchmarks/README.md` from all records. `python -m tools.benchmark_page` writes it."""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import goals, harness

FOLDER = Path(__file__).parent
HEAD = """# Benchmarks

`python -m tools.benchmark_page` writes this page from the records in `benchmarks/results`. Changes by
hand are lost.

`make bench` takes most records of a CPU and writes this page, in about half an hour on two cores that
do nothing else. `make bench WEIGHTS=squeezenet1_1.pth` takes two more, which need real weights.
`benchmarks/gpu.sh` takes those of a GPU, in nine minutes. Take the others one by one:
`python -m benchmarks.NAME --help`. `JAXLENS_BENCH_RESULTS=FOLDER` sends trial runs elsewhere.

Contestants run alternately in one process, after a first run of each that compiles. Times are
medians, with quartiles in brackets; compilation is apart. Ratios are the other's time over jaxlens':
above 1, jaxlens is faster.
"""
NO_GPU = "no GPU was available"
Line = Sequence[Any]


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Read all records, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def table(head: Sequence[str], lines: Iterable[Line]) -> str:
    """Return a Markdown table."""
    return (
        "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in (head, ["---"] * len(head), *lines)) + "\n"
    )


def number(value: Any) -> str:
    """Format a number with three significant digits, or a short list, or anything else."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list):
        return " x ".join(number(each) for each in value)
    return str(value).replace("|", "\\|").replace("\n", " ")


def spread(row: Mapping[str, Any], name: str) -> str:
    """Format `NAME_ms` with its quartiles."""
    if row.get(f"{name}_ms") is None:
        return "-"
    return f"{number(row[f'{name}_ms'])} ({number(row[f'{name}_low_ms'])} to {number(row[f'{name}_high_ms'])})"


def times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def reached(records: goals.Records, reasons: Mapping[str, str]) -> str:
    """Return the table of the numbers to reach."""
    lines = []
    for goal in goals.GOALS:
        found = goal.found(records)
        measured = NO_GPU if found is None and goal.key.startswith("gpu") else "not measured"
        text, enough = found or (measured, False)
        verdict = "" if found is None else "reached" if enough else "short"
        reason = reasons.get(goal.key, "") if verdict == "short" else ""
        lines.append((goal.what, goal.against, goal.goal, text, verdict, goal.record if found else "", reason))
    return table(("what", "against", "goal", "measured", "", "record", "reason"), lines)


def render_vs_torch(record: Mapping[str, Any]) -> str:
    """Return tables of milliseconds per neuron and step, and of neurons per minute."""
    lines, failed = [], set()
    for row in record["rows"]:
        variants = row.get("variants", {})
        others = ", ".join(
            f"{name} {number(each['median'])}" for name, each in variants.items() if name != row["torch_variant"]
        )
        per_minute = row.get("jaxlens_per_minute")
        lines.append(
            (
                f"{row['network']} {row['layer']}",
                row["batch"],
                row.get("dtype", "float32"),
                spread(row, "lucent"),
                spread(row, "torch") + (f", {row['torch_variant']}" if row.get("torch_variant") else ""),
                others or "-",
                spread(row, "jaxlens"),
                times(row.get("ratio")),
                times(row.get("torch_ratio")),
                number(per_minute),
                number(row["compile_s"]),
            )
        )
        failed |= {f"- {what} failed: {number(why)}\n" for what, why in row.get("failed", {}).items()}
    head = ("network, layer", "batch", "dtype", "Lucent", "best PyTorch", "other PyTorch", "jaxlens", "to Lucent", "to PyTorch")
    text = table((*head, "neurons per minute at 512 steps", "compilation, s"), lines)
    return "Milliseconds per neuron and step.\n\n" + text + ("\n" + "".join(sorted(failed)) if failed else "")


def scaling(record: Mapping[str, Any]) -> str:
    """Return tables of the laws and of the points."""
    settings = record["settings"]
    laws = {"batch": "power", "size": "power", "depth": "line", "steps": "line"}
    fits = []
    for part, fit in settings["fits"].items():
        law = f"seconds ∝ {part}^{fit['slope']:.2f}" if laws[part] == "power" else f"{fit['a']:.3g} ms + {fit['b']:.3g} ms * x"
        fits.append((part, law, number(fit["r2"])))
    points = [
        (row["part"], number(row["x"]), row.get("layer", settings["layer"]), spread(row | {"x_ms": row["median_ms"]}, "x"))
        for row in ({**row, "x_low_ms": row["low_ms"], "x_high_ms": row["high_ms"]} for row in record["rows"])
    ]
    head = ("varied", "x (neurons, pixels a side, GFLOP of a step, steps)", "layer", "ms per step; by steps: of the render")
    return table(("varied", "law", "R²"), fits) + "\n" + table(head, points)


def roofline(record: Mapping[str, Any]) -> str:
    """Return tables of the limits and of each network."""
    limits = record["settings"]["limits"]
    said = ", ".join(f"{kind} {each['median'] / 1e9:,.0f} GFLOP/s" for kind, each in limits.items())
    lines = [
        (
            f"{row['network']} {row['layer']}",
            row["batch"],
            row["dtype"],
            number(row["gflop"]),
            number(row["xla_gflop"]),
            f"{number(row['gflops'])} ({number(row['low_gflops'])} to {number(row['high_gflops'])})",
            f"{100 * row['fraction']:.1f} %",
        )
        for row in record["rows"]
    ]
    head = ("network, layer", "batch", "dtype", "GFLOP per neuron and step", "by XLA's count", "GFLOP/s", "of the limit")
    return f"Limit, by a product of matrices of side {record['settings']['product']}: {said}.\n\n" + table(head, lines)


def devices(record: Mapping[str, Any]) -> str:
    """Return tables of virtual devices and of processes."""
    virtual = [row for row in record["rows"] if "devices" in row]
    shared = [row for row in record["rows"] if "processes" in row]
    one = [
        (row["devices"], number(row["gflop_per_device"]), sum(row["collectives"].values()), number(row["seconds"]["median"]))
        for row in virtual
    ]
    two = [
        (row["processes"], number(row.get("by_process")), number(row.get("tiles")), number(row.get("seconds")))
        if "failed" not in row
        else (row["processes"], row["failed"], "-", "-")
        for row in shared
    ]
    text = table(("devices", "GFLOP of a step on each", "collectives", "seconds"), one)
    return text + "\n" + table(("processes", "tiles of each", "tiles in all", "seconds"), two) if two else text


def any_rows(record: Mapping[str, Any]) -> str:
    """Return rows as they stand: numbers, and the medians of timings inside them."""
    flat = []
    for row in record["rows"]:
        line: dict[str, str] = {}
        for key, value in row.items():
            if isinstance(value, dict):
                inner = {name: each.get("median") if isinstance(each, dict) else each for name, each in value.items()}
                line |= {f"{key}, {name}": number(each) for name, each in inner.items() if isinstance(each, int | float)}
            else:
                line[key] = number(value)
        flat.append(line)
    head = list(dict.fromkeys(key for line in flat for key in line))
    return table(head, [[line.get(key, "-") for key in head] for line in flat])


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "render_vs_torch": render_vs_torch,
    "scaling": scaling,
    "roofline": roofline,
    "devices": devices,
}


def section(name: str, record: Mapping[str, Any]) -> str:
    """Return the section of one record: how and where it was taken, and its table."""
    machine, versions = record["machine"], record["versions"]
    script = re.sub(r"^.*/benchmarks/(\w+)\.py$", r"python -m benchmarks.\1", record["argv"][0])
    device = "" if machine["device"] == "cpu" else f", {machine['device']}"
    others = "" if machine.get("others") is None else f", of which other work kept {machine['others']:.1f} busy at the end"
    where = f"{machine['cores']} cores of {machine['cpu']}{device}{others}"
    which = f"jax {versions['jax']}, torch {versions.get('torch', 'none')}, commit {record['git'][:9] or 'unknown'}"
    shown = [f"{key} {number(value)}" for key, value in record["settings"].items() if isinstance(value, int | float | str)]
    make = next((TABLES[start] for start in TABLES if name.startswith(start)), any_rows)
    command = " ".join([script, *record["argv"][1:]])
    taken = f"`{command}`, {record['date']}; {where}; {which}{'; ' if shown else ''}{', '.join(shown)}."
    return f"### {name}\n\n{taken}\n\n{make(record)}"


def page(records: Mapping[str, dict[str, Any]], reasons: Mapping[str, str]) -> str:
    """Return the whole page."""
    sections = "\n".join(section(name, record) for name, record in records.items())
    return f"{HEAD}\n## Numbers to reach\n\n{reached(records, reasons)}\n## Records\n\n{sections}"


def write() -> Path:
    """Write the page of the records in `harness.RESULTS`; beside them if that folder is unusual."""
    usual = harness.RESULTS == FOLDER / "results"
    path = (FOLDER if usual else harness.RESULTS) / "README.md"
    path.write_text(page(read(harness.RESULTS), tomllib.loads((FOLDER / "reasons.toml").read_text())))
    return path
