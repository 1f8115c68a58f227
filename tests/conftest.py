"""Shared fixtures: strict JAX settings, small models, real data where it is."""

import os
from pathlib import Path

import jax
import pytest

from tests.server import server as server

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config):
    # Strict promotion catches float64 constants and implicit broadcasts before a user meets them.
    jax.config.update("jax_numpy_rank_promotion", "raise")
    # Programs of tests run once or twice: less optimised ones save more time than they cost. Workers and processes inherit it.
    if "xla_backend_optimization_level" not in (flags := os.environ.get("XLA_FLAGS", "")):
        os.environ["XLA_FLAGS"] = f"{flags} --xla_backend_optimization_level=1".strip()


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


@pytest.fixture(scope="module", autouse=True)
def _programs_of_one_file():
    """Compiled programs of a test file are dropped after it: a worker that keeps those of all files grows by gigabytes."""
    yield
    jax.clear_caches()
