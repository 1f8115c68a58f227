"""Calls every public function with one argument at a time replaced by a bad value, and lists what
comes of it.

`python -m tests.bad_values [FACADE ...] [--share 0.1] [--only NAME]` prints the offenders: calls
that hang, results that are NaN, infinite, complex or empty without a word, and errors that are not
raised by jaxlens in words (raw), or do not name the argument (unnamed). FACADE is a part of a
façade's name, such as `attribution`. Without a share it makes every call.
"""

import argparse
import contextlib
import importlib
import inspect
import io
import linecache
import os
import random
import re
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxlens
from tests.bad_values_table import ELEMENTWISE, FACADES, RECORDS, VALUES, Setting, follow_up, good_arguments

os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # programs run once

LIMIT = 60  # seconds for one call
ALIASES = dict.fromkeys(("value", "toward", "rows", "columns"), "objective")  # what an argument is called where it is checked
ALIASES |= {"label": "channel_label", "target": "objective_channel_class_label", "wanted": "layer"}
MEMORY = 16 * 2**30  # bytes of address space: what asks for more fails, and nothing else on the machine does
OURS = tuple(str(Path(jaxlens.__file__).parents[1] / name) + os.sep for name in ("jaxlens", "converters"))


class TimeIsUp(BaseException):
    """A call took longer than `LIMIT`."""


def functions(facade):
    """The public callables of a façade by name, without records and modules."""
    if facade == "jaxlens.Model":  # PyTorch's has tests of its own, and is slow
        names = [name for name in dir(jaxlens.Model) if name.startswith("from_") and name != "from_torch"]
        return {name: getattr(jaxlens.Model, name) for name in names}
    module = importlib.import_module(facade)
    found = {}
    for name, value in sorted(vars(module).items()):
        if name.startswith("_") or inspect.ismodule(value) or not callable(value) or name in RECORDS.split():
            continue
        if isinstance(value, type) and issubclass(value, BaseException):
            continue
        if re.match(r"jaxlens(?!\._)", str(getattr(value, "__module__", ""))):
            found[name] = value
    return found


def arguments(function):
    """The names of the arguments one can give."""
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind not in kinds]


def bad_values(good):
    """The bad values for an argument, by a name to print: the same for all, and those made from its
    good value.
    """
    found = dict(VALUES)
    if isinstance(good, np.ndarray | jax.Array) and not jnp.issubdtype(good.dtype, jax.dtypes.prng_key):
        array = np.asarray(good)
        found |= {"of NaN": np.full(array.shape, np.nan, np.float32), "of inf": np.full(array.shape, np.inf, np.float32)}
        found |= {"one axis more": array[None], "of bool": array > 0, "complex": array.astype(np.complex64)}
        if array.ndim:
            found |= {"empty axis": array[:0], "one axis less": array[0], "too long": np.concatenate([array, array], -1)}
    return found


@contextlib.contextmanager
def time_limit(seconds):
    def stop(*_):
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def call(function, kwargs):
    """What a call does, its follow-up included: (kind, what to print)."""
    try:
        with time_limit(LIMIT), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return "done", follow_up(function(**kwargs))
    except TimeIsUp:
        return "hang", ""
    except (Exception, SystemExit) as error:
        return "error", error


def silent(results):
    """What is wrong with results, or ""."""
    for leaf in results:
        if isinstance(leaf, np.ndarray | jax.Array) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            array = np.asarray(leaf)
            if array.size == 0:
                return "empty"
            if array.dtype.kind == "c":
                return "complex"
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                return "NaN" if np.isnan(array).any() else "infinite"
        elif isinstance(leaf, float) and not np.isfinite(leaf):
            return "NaN" if np.isnan(leaf) else "infinite"
        elif isinstance(leaf, complex):
            return "complex"
    return ""


def fault(error, argument):
    """What is wrong with an error, or ""; errors that say which argument and are raised by a line
    of ours are right.
    """
    frames = traceback.extract_tb(error.__traceback__)
    last = next((f for f in reversed(frames) if "jaxtyping" not in f.filename and "contextlib" not in f.filename), frames[-1])
    raised = last.filename.startswith(OURS) and linecache.getline(last.filename, last.lineno).lstrip().startswith("raise")
    where = f"{last.filename.rpartition('/jaxlens/')[2]}:{last.lineno}"
    text = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:140]
    if not raised:
        return f"raw ({where}) {text}"
    argument = f"{argument}_{ALIASES.get(argument, '')}"
    stems = [re.sub(r"s?\d*$", "", part) for part in argument.split("_") if len(part) > 2] or [argument.rstrip("_")]
    stems.append(f"{argument.partition('_')[0]}=")
    if not re.search(rf"(?<![a-z])({'|'.join(map(re.escape, stems))})", str(error), re.IGNORECASE):
        return f"unnamed ({where}) {text}"
    return ""


def usual(function, good):
    """What is wrong with the results of the good call: some are infinite or empty by nature."""
    kind, outcome = call(function, good)
    return silent(outcome) if kind == "done" else ""


def run(facades, share, only=None, seed=0):
    """All offenders `(kind, call, what)` and how many calls were made."""
    offenders, count, draw = [], 0, random.Random(seed)
    for facade in facades:
        for name, function in functions(facade).items():
            if only and only != name:
                continue
            good = good_arguments(facade, function, arguments(function))
            if good is None:
                offenders.append(("untested", f"{facade}.{name}", "no good arguments in tests/bad_values_table.py"))
                continue
            if share in (0, 1) and (outcome := call(function, good))[0] != "done":
                offenders.append(("broken", f"{facade}.{name}", f"the good call: {outcome}"[:300]))
                continue
            for argument in arguments(function):
                default = inspect.signature(function).parameters[argument].default
                for label, value in bad_values(good.get(argument, default)).items():
                    if draw.random() >= share:
                        continue
                    count += 1
                    kind, outcome = call(function, good | {argument: value})
                    where = f"{facade}.{name}({argument}={label})"
                    what = silent(outcome) if kind == "done" else ""
                    if kind == "hang":
                        offenders.append(("hang", where, f"more than {LIMIT} s"))
                    elif kind == "done" and what == "empty" and name in ELEMENTWISE.split():
                        continue
                    elif kind == "done" and what and what != usual(function, good):
                        offenders.append(("silent", where, what))
                    elif kind == "error" and (what := fault(outcome, argument)):
                        offenders.append((what.split()[0], where, what))
    return offenders, count


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("facades", nargs="*")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    chosen = [f for f in FACADES if not options.facades or any(part in f for part in options.facades)]
    began = time.perf_counter()
    with Setting():
        offenders, count = run(chosen, options.share, options.only, options.seed)
    for kind, where, what in sorted(offenders):
        print(f"{kind:8} {where}: {what}")
    kinds = Counter(kind for kind, _, _ in offenders)
    print(f"{count} calls in {time.perf_counter() - began:.0f} s: {dict(kinds)}")
    wrong = kinds["raw"] + kinds["unnamed"]
    return 0 if not kinds["hang"] + kinds["silent"] + kinds["broken"] + kinds["untested"] and wrong <= 0.01 * count else 1


if __name__ == "__main__":
    sys.exit(main())
