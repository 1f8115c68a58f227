"""The weight cache: filled once, used without torch, rebuilt when damaged."""

import dataclasses
import os
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

from jaxlens import _params, modelzoo
from jaxlens.errors import WeightsError
from jaxlens.modelzoo import _registry

torch = pytest.importorskip("torch")

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["torchvision"] = None  # importing them fails
from jaxlens import modelzoo
model = modelzoo.load({name!r}, {weights!r})
assert "converters" not in sys.modules and "jaxlens.converters" not in sys.modules
from jaxlens import _params
print(float(sum(abs(leaf).sum() for _, leaf in _params.named(model.params))))
"""


@pytest.fixture
def state_dict():
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    return torchvision.models.squeezenet1_1(weights=None).state_dict()


@pytest.fixture
def published(server, state_dict, tmp_path, monkeypatch):
    """SqueezeNet's registry entry, with our server in the place of PyTorch's."""
    torch.save(state_dict, tmp_path / "source.pth")
    source = server.put("squeezenet1_1-local.pth", (tmp_path / "source.pth").read_bytes())
    network = dataclasses.replace(_registry.networks()["squeezenet1_1"], weights=(source,))
    monkeypatch.setitem(_registry.networks(), "squeezenet1_1", network)
    return server


def kernel(model):
    return np.asarray(dict(_params.named(model.params))["features.0.kernel"])


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)


def test_a_download_is_converted_cached_and_not_repeated(published, state_dict, tmp_path, capfd):
    assert modelzoo.info("squeezenet1_1").cached == ()
    first = modelzoo.load("squeezenet1_1")
    assert "squeezenet1_1-local.pth" in capfd.readouterr().err  # the progress bar
    np.testing.assert_array_equal(kernel(first), state_dict["features.0.weight"].numpy().transpose(2, 3, 1, 0))
    (entry,) = modelzoo.cache_dir().iterdir()  # the PyTorch file is gone
    assert modelzoo.cache_dir() == tmp_path / "cache"
    assert modelzoo.info("squeezenet1_1").cached == ("LOCAL",)
    metadata = _params.read(entry)[1]
    assert metadata["source"].startswith(published.url) and metadata["weights"] == "LOCAL"
    assert metadata["digest"].startswith(_registry.find("squeezenet1_1").weights[0].digest)
    second = modelzoo.load("squeezenet1_1", "LOCAL", progress=False)
    np.testing.assert_array_equal(kernel(first), kernel(second))
    assert len(published.requests) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "another network's"])
def test_a_damaged_entry_is_rebuilt(published, damage):
    good = kernel(modelzoo.load("squeezenet1_1", progress=False))
    (entry,) = modelzoo.cache_dir().iterdir()
    whole = entry.read_bytes()
    if damage == "another network's":
        modelzoo.save(modelzoo.load("squeezenet1_0", None), entry)
    else:
        entry.write_bytes({"cut": whole[:9999], "flipped": whole[:-1] + bytes([whole[-1] ^ 1]), "emptied": b""}[damage])
    with pytest.warns(RuntimeWarning, match="Removed a damaged cache entry"):
        again = modelzoo.load("squeezenet1_1", progress=False)
    np.testing.assert_array_equal(kernel(again), good)
    assert _params.read(entry)[1]["model"] == "squeezenet1_1" and len(published.requests) == 2


def test_a_damaged_entry_without_a_network(published):
    modelzoo.load("squeezenet1_1", progress=False)
    (entry,) = modelzoo.cache_dir().iterdir()
    entry.write_bytes(b"")
    published.answers.clear()
    with pytest.warns(RuntimeWarning), pytest.raises(WeightsError, match="answered 404"):
        modelzoo.load("squeezenet1_1", progress=False)
    assert list(modelzoo.cache_dir().iterdir()) == []


def test_a_published_file_that_is_not_a_state_dict(published, server, monkeypatch):
    network = dataclasses.replace(_registry.find("squeezenet1_1"), weights=(server.put("rubbish.pth", b"rubbish"),))
    monkeypatch.setitem(_registry.networks(), "squeezenet1_1", network)
    with pytest.raises(WeightsError, match="not a readable PyTorch state dict"):
        modelzoo.load("squeezenet1_1", progress=False)
    assert list(modelzoo.cache_dir().iterdir()) == []


def test_a_cache_that_cannot_be_written(published, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("JAXLENS_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"The cache .*file cannot be written .* Set JAXLENS_CACHE to another folder"):
        modelzoo.load("squeezenet1_1", progress=False)


def test_the_cache_is_the_users_by_default(monkeypatch):
    monkeypatch.delenv("JAXLENS_CACHE")
    assert modelzoo.cache_dir().name.lower() in ("jaxlens", "cache") and modelzoo.cache_dir().is_absolute()


@pytest.mark.slow
def test_without_torch_what_is_converted_loads_and_what_is_not_says_so(published, state_dict, tmp_path):
    path = modelzoo.save(modelzoo.load("squeezenet1_1", progress=False), tmp_path / "net.safetensors")
    result = run(WITHOUT_TORCH.format(name="squeezenet1_1", weights=str(path)))
    assert result.returncode == 0, result.stderr
    want = sum(float(np.abs(value.numpy()).sum()) for value in state_dict.values())
    assert float(result.stdout) == pytest.approx(want, rel=1e-4)

    result = run(WITHOUT_TORCH.format(name="squeezenet1_1", weights=str(tmp_path / "source.pth")))
    assert "ImportError" in result.stderr and "pip install 'jaxlens-vision[torch]'" in result.stderr
    assert "python -m jaxlens.converters NAME" in result.stderr


WITHOUT_TORCH_ARRAYS = """
import sys
sys.modules["torch"] = sys.modules["torchvision"] = None  # importing them fails
from jaxlens import modelzoo
from jaxlens import _params
for path in sys.argv[1:]:
    model = modelzoo.load("squeezenet1_1", path)
    print(float(sum(abs(leaf).sum() for _, leaf in _params.named(model.params))))
"""


@pytest.mark.slow
def test_numpy_and_hdf5_files_load_without_torch(state_dict, tmp_path):
    arrays = {name: value.numpy() for name, value in state_dict.items()}
    np.savez(tmp_path / "net.npz", **arrays)
    with h5py.File(tmp_path / "net.h5", "w") as file:
        for name, value in arrays.items():
            file[name.replace(".", "/")] = value
    command = [sys.executable, "-c", WITHOUT_TORCH_ARRAYS, str(tmp_path / "net.npz"), str(tmp_path / "net.h5")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    want = sum(float(np.abs(value).sum()) for value in arrays.values())
    assert [float(line) for line in result.stdout.split()] == pytest.approx([want, want], rel=1e-4)


# Fills its cache from a server, or saves a file again and again, in twenty pieces; after so many it
# waits for its end.
WRITER = """
import dataclasses, sys, time
import safetensors.numpy
from jaxlens import modelzoo
from jaxlens.modelzoo import _registry

name, pieces, *source = sys.argv[1:]
left = iter(range(int(pieces)))

def slowly(arrays, path, metadata):
    whole = safetensors.numpy.save(arrays, metadata)
    with open(path, "wb") as file:
        for piece in range(20):
            file.write(whole[len(whole) * piece // 20 : len(whole) * (piece + 1) // 20])
            file.flush()
            if next(left, "last") == "last":
                print("waiting", flush=True)
                time.sleep(600)

safetensors.numpy.save_file = slowly
if source:
    known = _registry.networks()
    known[name] = dataclasses.replace(known[name], weights=(_registry.Weights("LOCAL", *source),))
model = modelzoo.load(name, progress=False)
while True:
    modelzoo.save(model, modelzoo.cache_dir() / "saved.safetensors")
"""
# What is written, after how many pieces the process is killed, and the whole files there are by
# then.
MOMENTS = [
    ("squeezenet1_1", 9, 0),  # while it puts published weights into the cache
    ("lensnet", 19, 0),  # all is written, but has no name
    ("lensnet", 53, 1),  # while one file is to replace another
]


@pytest.mark.slow
def test_a_killed_process_leaves_no_partial_file(published, state_dict, tmp_path, monkeypatch):
    source = _registry.find("squeezenet1_1").weights[0]
    caches = [tmp_path / f"cache{number}" for number in range(len(MOMENTS))]
    writers = []
    try:
        for cache, (name, pieces, _) in zip(caches, MOMENTS, strict=True):
            where = [source.url, source.digest] if name == "squeezenet1_1" else []
            command = [sys.executable, "-c", WRITER, name, str(pieces), *where]
            environment = {**os.environ, "JAXLENS_CACHE": str(cache)}
            writers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
        assert [writer.stdout.readline() for writer in writers] == ["waiting\n"] * len(MOMENTS)
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert {writer.returncode for writer in writers} == {-signal.SIGKILL}
    for cache, (name, pieces, count) in zip(caches, MOMENTS, strict=True):
        whole = list(cache.glob("*.safetensors"))
        assert len(whole) == count
        for path in whole:
            modelzoo.load(path)
        if pieces != 19:  # the control: it died while it wrote
            assert any(cut(path) for path in cache.glob(".*.part"))
        monkeypatch.setenv("JAXLENS_CACHE", str(cache))
        again = modelzoo.load(name, progress=False)
        assert modelzoo.load(modelzoo.save(again, cache / "saved.safetensors")).name == name
        if name == "squeezenet1_1":
            np.testing.assert_array_equal(kernel(again), state_dict["features.0.weight"].numpy().transpose(2, 3, 1, 0))


def cut(path):
    """Whether it is the beginning of a safetensors file, and no more."""
    with pytest.raises(WeightsError):
        _params.read(path)
    return b"kernel" in path.read_bytes()
