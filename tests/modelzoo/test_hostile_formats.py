"""Files that lie in the way of their format (safetensors, npz, PyTorch's, HDF5): refused, and no
other file is read.
"""

import io
import json
import struct
import zipfile

import h5py
import numpy as np
import pytest

from jaxlens import _params, modelzoo
from jaxlens.errors import WeightsError
from tests.modelzoo.weight_files import load, ours, refused, write

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.timeout(120)  # for all that a hang would look like


# What a safetensors file may say of itself: its header, or the bytes before it.
LENGTHS = [0, 1, 7, 1 << 20, 99_999_999, 1 << 31, 1 << 60, (1 << 63) - 1, (1 << 64) - 1]
HEADERS = {
    "no JSON": lambda h: b"not JSON",
    "no JSON, but almost": lambda h: json.dumps(h).encode()[:-1] + b",",
    "bytes": lambda h: b"\xff" * 99,
    "a list": lambda h: b"[]",
    "deep lists": lambda h: b"[" * 100_000,
    "deep dicts": lambda h: b'{"a":' * 100_000,
    "nothing": lambda h: b"{}",
    "metadata that is a list": lambda h: {**h, "__metadata__": [1]},
    "metadata that is no text": lambda h: {**h, "__metadata__": {"graph": {"a": 1}}},
    "an entry twice": lambda h: json.dumps(h).encode()[:-1] + b"," + json.dumps(twice(h)).encode()[1:],
}
ENTRIES = {
    "beyond the end": {"data_offsets": [0, 1 << 40]},
    "from beyond the end": {"data_offsets": [1 << 40, (1 << 40) + 256]},
    "backwards": {"data_offsets": [256, 0]},
    "negative": {"data_offsets": [-256, 0]},
    "overlapping": {"data_offsets": [128, 384]},
    "one offset": {"data_offsets": [0]},
    "no offsets": {"data_offsets": None},
    "large offsets": {"data_offsets": [0, 1 << 70]},
    "another shape": {"shape": [8, 8]},
    "no axes": {"shape": []},
    "a negative shape": {"shape": [-64]},
    "a huge shape": {"shape": [1 << 40, 1 << 40]},
    "an overflowing shape": {"shape": [1 << 63, 2]},
    "an empty huge shape": {"shape": [0, 1 << 62], "data_offsets": [0, 0]},
    "a hundred axes": {"shape": [64, *[1] * 99]},
    "no number": {"shape": [float("nan")]},
    "a fraction": {"shape": [64.5]},
    "a text": {"shape": "64"},
    "integers": {"dtype": "I32"},
    "complex": {"dtype": "C64", "shape": [32]},
    "halves": {"dtype": "F16"},
    "eighths": {"dtype": "F8_E4M3", "shape": [256]},
    "an unknown dtype": {"dtype": "O"},
}


def twice(header):
    """An entry of the header, with the place of another."""
    one, other = [key for key in header if key != "__metadata__"][:2]
    return {one: {**header[one], "data_offsets": header[other]["data_offsets"]}}


def header_of(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write_safetensors(path, header, data, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


@pytest.mark.parametrize("name", ["theirs.safetensors", "ours.safetensors", "graph.safetensors"])
def test_a_safetensors_file_that_lies(folder, tmp_path, name):
    header, data = header_of(folder / name)
    path = tmp_path / name
    assert load(write_safetensors(path, header, data))  # the control
    for length in LENGTHS:
        refused(write_safetensors(path, header, data, length))
    for change in HEADERS.values():
        refused(write_safetensors(path, change(header), data))
    key = next(key for key, entry in header.items() if entry.get("shape") in ([64], [4]) and "bias" in key)
    for change in ENTRIES.values():
        refused(write_safetensors(path, {**header, key: {**header[key], **change}}, data))
    refused(write_safetensors(path, header, data + b"more"))
    refused(write_safetensors(path, {**header, key + "\x00": header[key]}, data))


def test_our_files_of_later_versions_and_other_networks(folder, tmp_path):
    arrays, metadata = _params.read(folder / "ours.safetensors")
    path = tmp_path / "ours.safetensors"
    refused(ours(path, arrays, {**metadata, "format_version": "2"}), "has format version 2; this jaxlens reads 1")
    refused(ours(path, arrays, {**metadata, "format": "another"}), "does not fit squeezenet1_1")
    refused(ours(path, {**arrays, "features.0.bias": np.zeros(63, np.float32)}, metadata), "1 misshapen")
    refused(ours(path, arrays, {**metadata, "checksum": "0"}, sign=False), "do not match its checksum")
    for model in ("resnet18", "no such network", "x" * 10_000, "", "../../x", "\x1b[2J"):
        with pytest.raises(WeightsError) as caught:
            modelzoo.load(ours(path, arrays, {**metadata, "model": model}))
        assert len(str(caught.value)) < 3000 and path.name in str(caught.value)


@pytest.mark.parametrize("name", ["net.npz", "net.pth"])
def test_a_zip_bomb(tmp_path, name):
    """A gigabyte of zeros in a megabyte."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 28,)})
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file, file.open("a.npy", "w") as entry:
        entry.write(header.getvalue())
        for _ in range(16):
            entry.write(bytes(1 << 24))
    refused(tmp_path / name, "claims to hold 268,")


def test_an_npz_of_other_things(tensors, tmp_path):
    path = tmp_path / "net.npz"
    for more in (np.array(["text"]), np.array([b"bytes"]), np.array(["2020-01-01"], "M8[D]"), np.zeros(2, [("a", "f4")])):
        np.savez(path, **tensors, more=more)
        refused(path, "'more' holds no real numbers")
    with zipfile.ZipFile(write(path, tensors), "a") as file:
        file.writestr("notes.txt", "text")
    refused(path, "'notes.txt' holds no real numbers")
    for header in (b"(" * 5000, b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }", b"open('x')"):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n")
        refused(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/b.npy", "")
        file.writestr("a.b.npy", "")
    refused(path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_tensor_that_shows_one_number_many_times(tmp_path, dtype):
    torch.save({"a": torch.zeros(1, dtype=dtype).expand(10**12)}, tmp_path / "net.pth")
    refused(tmp_path / "net.pth", "claims to hold 4,000,000,000,000 bytes")


@pytest.mark.parametrize(
    "value",
    [
        {1: torch.ones(1)},
        {"a": torch.ones(2).to_sparse()},
        {"a": torch.ones(2, device="meta")},
        {"a": torch.ones(2, dtype=torch.complex64)},
        {"state_dict": {"state_dict": {}}},
        {"x" * 10_000: 1},
    ],
    ids=["numbers as names", "sparse", "without data", "complex", "wrapped twice", "long"],
)
def test_a_torch_file_of_other_tensors(tmp_path, value):
    torch.save(value, tmp_path / "net.pth")
    refused(tmp_path / "net.pth")


def _link(file, target):
    file["more"] = target


def _outside(folder):
    """Another file with numbers: what a link must not reach."""
    (folder / "raw").write_bytes(b"secret numbers.." * 4)
    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.ones(64, np.float32)


HDF5 = {
    "an external link": lambda f, d: _link(f, h5py.ExternalLink("other.h5", "/secret")),
    "an external link to a folder": lambda f, d: _link(f, h5py.ExternalLink("other.h5", "/")),
    "a link to nothing": lambda f, d: _link(f, h5py.SoftLink("/nothing")),
    "a link to itself": lambda f, d: _link(f, h5py.SoftLink("/more")),
    "a link through an external link": lambda f, d: (f.create_group("g"), _link(f["g"], h5py.ExternalLink("other.h5", "/"))),
    "data of another file": lambda f, d: f.create_dataset("more", (16,), "f4", external=[(str(d / "raw"), 0, 64)]),
    "a virtual dataset": lambda f, d: f.create_virtual_dataset("more", _virtual(d)),
    "a group in itself": lambda f, d: f.__setitem__("features/more", f["/"]),
    "a group twice": lambda f, d: f.__setitem__("more", f["features"]),
    "texts": lambda f, d: f.__setitem__("more", ["a", "b"]),
    "bytes": lambda f, d: f.__setitem__("more", np.array([b"a"])),
    "rows of any length": lambda f, d: f.create_dataset("more", (2,), h5py.vlen_dtype(np.float32)),
    "references": lambda f, d: f.create_dataset("more", data=[f["features"].ref], dtype=h5py.ref_dtype),
    "records": lambda f, d: f.__setitem__("more", np.zeros(2, [("a", "f4"), ("b", "i4")])),
    "nothing": lambda f, d: f.__setitem__("more", h5py.Empty("f4")),
    "a dtype": lambda f, d: f.__setitem__("more", np.dtype("f4")),
    "a terabyte of nothing": lambda f, d: f.create_dataset("more", (1 << 38,), "f4"),
    "a bomb": lambda f, d: f.create_dataset("more", (1 << 28,), "f4", chunks=(1 << 20,), compression="gzip"),
    "a name twice": lambda f, d: f.__setitem__("features.0.bias", np.zeros(64, np.float32)),
}  # fmt: skip


def _virtual(folder):
    layout = h5py.VirtualLayout((64,), "f4")
    layout[:] = h5py.VirtualSource(folder / "other.h5", "secret", (64,))
    return layout


@pytest.mark.parametrize("what", HDF5)
def test_an_hdf5_file_of_other_things(tensors, tmp_path, what):
    _outside(tmp_path)
    path = write(tmp_path / "net.h5", tensors)
    assert load(path)
    with h5py.File(path, "a") as file:
        HDF5[what](file, tmp_path)
    if what in ("an external link", "data of another file", "a virtual dataset"):
        with h5py.File(path) as file:  # the control: followed, it does reach the other file
            assert file["more"][()].any()
    refused(path)
