"""Shared fixtures: strict JAX settings, small models, real data where it is."""

import contextlib
import ctypes
import gc
import os
from pathlib import Path

import jax
import pytest

from tests.server import server as server

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config):
    _keep_compiled_programs(config)
    # Strict promotion catches float64 constants and implicit broadcasts before a user meets them.
    jax.config.update("jax_numpy_rank_promotion", "raise")
    # Programs of tests run once or twice: less optimised ones save more time than they cost.
    # Workers and processes inherit it.
    if "xla_backend_optimization_level" not in (flags := os.environ.get("XLA_FLAGS", "")):
        os.environ["XLA_FLAGS"] = f"{flags} --xla_backend_optimization_level=1".strip()


def _keep_compiled_programs(config):
    """Let the workers, the processes they start and later runs share what they compiled."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        if not hasattr(config, "cache"):  # with -p no:cacheprovider
            return
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(config.cache.mkdir("compiled"))
    folder = os.environ["JAX_COMPILATION_CACHE_DIR"]
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(1 << 30))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
    jax.config.update("jax_compilation_cache_dir", folder)  # JAX has read the environment before
    jax.config.update("jax_compilation_cache_max_size", int(os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"]))
    jax.config.update(
        "jax_persistent_cache_min_compile_time_secs", float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"])
    )


@pytest.fixture
def shared_data():
    """Real weights and photographs, which users of the project do not have."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: real weights and photographs are needed.")
    return SHARED


@pytest.fixture(autouse=True)
def _private_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's weight cache."""
    monkeypatch.setenv("JAXLENS_CACHE", str(tmp_path / "cache"))


GROWTH = 1 << 30  # bytes by which a worker may grow before it drops its programs
_resident_before = [0]


def _resident():
    """Bytes of memory that this process holds; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


@pytest.fixture(scope="module", autouse=True)
def _programs_are_dropped():
    """A worker that kept the compiled programs of all test files would grow to ten gigabytes."""
    yield
    if _resident() - _resident_before[0] > GROWTH:
        jax.clear_caches()
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # what is free goes back to the system
        _resident_before[0] = _resident()
