"""The numbers to reach, and what the records say. `reasons.toml` says why one falls short."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Records = Mapping[str, Mapping[str, Any]]
Found = tuple[str, bool]  # what was measured, in words, and whether that is enough
DEFAULTS = {"dtype": "float32"}  # of records from before there was another
PARITY = Path(__file__).parents[1] / "docs" / "parity.md"


@dataclasses.dataclass(frozen=True)
class Goal:
    """A row of the table; `found` gives None where nothing was measured.

    Attributes:
        key: its name in `reasons.toml`.
        what: is measured.
        against: whom.
        goal: in words.
        record: the record that holds it.
        found: reads it out of all records.
    """

    key: str
    what: str
    against: str
    goal: str
    record: str
    found: Callable[[Records], Found | None]


def rows(records: Records, name: str, **wanted: Any) -> list[dict[str, Any]]:
    """Return the rows with the values wanted of all records whose names match the pattern."""
    start, _, end = name.partition("*")
    match = [record for key, record in records.items() if key.startswith(start) and key.endswith(end)]
    found = [row for record in match for row in record["rows"]]
    return [row for row in found if all(row.get(key, DEFAULTS.get(key)) == value for key, value in wanted.items())]


def ratios(name: str, key: str, least: float, **wanted: Any) -> Callable[[Records], Found | None]:
    """Return the ratio of each network. All must reach `least`."""

    def found(records: Records) -> Found | None:
        here = {row["network"]: row[key] for row in rows(records, name, **wanted) if row.get(key)}
        return (", ".join(f"{network} {r:.2f}x" for network, r in here.items()), min(here.values()) >= least) if here else None

    return found


def gpu(key: str, least: float, best: Callable[..., float]) -> Callable[[Records], Found | None]:
    """Return a ratio on InceptionV1 in batches of 64 or more, by precision. One must reach `least`.

    Where several records measured it, `best` takes the one that counts: against the best PyTorch
    the smallest.
    """

    def found(records: Records) -> Found | None:
        here: dict[str, float] = {}
        for row in rows(records, "render_vs_torch*_gpu", network="inceptionv1", layer="mixed4a"):
            if row["batch"] >= 64 and row.get(key):
                here[row["dtype"]] = best(row[key], here.get(row["dtype"], row[key]))
        return (", ".join(f"{dtype} {r:.2f}x" for dtype, r in here.items()), max(here.values()) >= least) if here else None

    return found


def roofline(records: Records) -> Found | None:
    here = {row["dtype"]: row["fraction"] for row in rows(records, "roofline_gpu", network="inceptionv1")}
    return (", ".join(f"{dtype} {100 * x:.1f} %" for dtype, x in here.items()), max(here.values()) >= 0.35) if here else None


def first_picture(records: Records) -> Found | None:
    runs = {row["run"]: row for row in rows(records, "first_picture_cpu")}
    if not {"cold", "warm"} <= runs.keys():
        return None
    cold, warm = (runs[kind]["load_s"] + runs[kind]["render_s"] for kind in ("cold", "warm"))
    text = f"{cold:.1f} s; {warm:.1f} s with the cache; besides {runs['warm']['import_s']:.1f} s of imports"
    return text, cold <= 15 and warm <= 3


def parity(_: Records) -> Found | None:
    errors = [float(error) for error in re.findall(r"\| (\d\.\de-\d\d) \|", PARITY.read_text())] if PARITY.exists() else []
    return (f"{max(errors):.1e} at most, {len(errors)} networks", max(errors) <= 1e-4) if errors else None


def objective(records: Records) -> Found | None:
    record = records.get("activation_vs_lucent")
    median = record["settings"]["median_ratio"] if record else None
    return None if median is None else (f"{median:.2f}", median >= 1)


GPU, CPU = "render_vs_torch_gpu", "render_vs_torch_cpu"
SAME = "the same"
GOALS = (
    Goal(
        "gpu_lucent",
        "neurons per minute, one GPU, batch of 64+ (InceptionV1 mixed4a, 128 px shown at 224, 512 steps)",
        "Lucent",
        "≥ 100x",
        GPU,
        gpu("ratio", 100, max),
    ),
    Goal("gpu_torch", SAME, "the best PyTorch", "≥ 1.3x", GPU, gpu("torch_ratio", 1.3, min)),
    Goal("gpu_roofline", SAME, "the arithmetic limit", "≥ 35 %", "roofline_gpu", roofline),
    Goal("cpu_batch_1", "CPU, batch 1", "Lucent", "≥ 2x", CPU, ratios(CPU, "ratio", 2, batch=1, dtype="float32")),
    Goal(
        "cpu_batch_16", "CPU, batch 16, per neuron", "Lucent", "≥ 3x", CPU, ratios(CPU, "ratio", 3, batch=16, dtype="float32")
    ),
    Goal(
        "cpu_torch", "CPU, batch 16", "the best PyTorch", "≥ 1x", CPU, ratios(CPU, "torch_ratio", 1, batch=16, dtype="float32")
    ),
    Goal(
        "first_picture",
        "first picture of the bundled network, CPU, 128 px",
        "",
        "≤ 15 s; with the cache ≤ 3 s",
        "first_picture_cpu",
        first_picture,
    ),
    Goal(
        "parity",
        "conversion parity, every layer of every network",
        "torchvision",
        "relative error ≤ 1e-4",
        "docs/parity.md",
        parity,
    ),
    Goal("objective", "activation after as many steps, median ratio", "Lucent", "≥ 1", "activation_vs_lucent", objective),
)
