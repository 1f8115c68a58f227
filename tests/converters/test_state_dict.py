"""Reading state dicts: wrappers, prefixes, half precision; damaged, foreign and malicious files."""

import argparse
import pickle
import sys
from collections import OrderedDict

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from converters import read_state_dict
from jaxlens.errors import WeightsError

torch = pytest.importorskip("torch")

TENSORS = OrderedDict({"conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "bn.num_batches_tracked": torch.tensor(7)})


def saved(tmp_path, value, **options):
    torch.save(value, tmp_path / "net.pth", **options)
    return tmp_path / "net.pth"


@pytest.mark.parametrize("wrap", [dict, lambda t: {"state_dict": t, "epoch": 3}, lambda t: {"model": t}])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module."])
def test_wrappers_and_prefixes(tmp_path, wrap, prefix):
    path = saved(tmp_path, wrap({prefix + name: tensor for name, tensor in TENSORS.items()}))
    arrays = read_state_dict(path)
    assert list(arrays) == list(TENSORS)
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: {"net": t, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": []}},
        lambda t: {"params": t},
        lambda t: {"teacher": t, "student": {name: 0 * tensor for name, tensor in t.items()}},
        lambda t: {"ema": {"shadow": t, "decay": 0.99}},
        lambda t: {"model_ema": t, "epoch": 3},
        lambda t: {"my own name": t, "epoch": 3},
        lambda t: {"model": {"state_dict": t}, "model_ema": {name: 0 * tensor for name, tensor in t.items()}},
    ],
    ids=["net", "params", "teacher", "ema", "model_ema", "any one", "the weights before their average"],
)
def test_wrappers_of_training_scripts(tmp_path, wrap):
    arrays = read_state_dict(saved(tmp_path, wrap(dict(TENSORS))))
    assert list(arrays) == list(TENSORS)
    np.testing.assert_array_equal(arrays["conv.weight"], TENSORS["conv.weight"].numpy())


def test_two_state_dicts_of_unknown_names_are_asked_about(tmp_path):
    with pytest.raises(WeightsError, match=r"several state dicts \('first', 'second'\): save the one you want alone"):
        read_state_dict(saved(tmp_path, {"first": dict(TENSORS), "second": dict(TENSORS)}))


def test_settings_beside_the_weights(tmp_path):
    """torch refuses the class; its message is there whole, in one colour, with how to strip the
    file.
    """
    path = saved(tmp_path, {"state_dict": dict(TENSORS), "args": argparse.Namespace(lr=0.1)})
    with pytest.raises(WeightsError) as caught:
        read_state_dict(path)
    text = str(caught.value)
    assert "argparse.Namespace beside weights" in text and "torch.save(c['state_dict'], 'weights.pth')" in text
    assert "weights_only" in text and "\x1b" not in text


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "old format"])
@pytest.mark.parametrize("depth", [3, 60])
def test_a_tuple_that_takes_for_ever_to_read(tmp_path, depth, options):
    pair = ("a", "b")
    for _ in range(depth):
        pair = (pair, pair)
    path = saved(tmp_path, dict(TENSORS) | {"extra": [pair]}, **options)
    with pytest.raises(WeightsError, match="for ever" if depth == 60 else "'extra'"):
        read_state_dict(path)


def test_a_prefix_of_some_names_is_part_of_them(tmp_path):
    assert set(read_state_dict(saved(tmp_path, {"module.a": torch.ones(1), "b": torch.ones(1)}))) == {"module.a", "b"}


def test_the_old_format_of_torch_save(tmp_path):
    path = saved(tmp_path, TENSORS, _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(read_state_dict(path)["conv.weight"], TENSORS["conv.weight"].numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tmp_path, dtype):
    arrays = read_state_dict(saved(tmp_path, {name: t.to(dtype) if t.ndim else t for name, t in TENSORS.items()}))
    assert arrays["conv.weight"].dtype == np.float32 and arrays["bn.num_batches_tracked"].dtype == np.int64
    np.testing.assert_array_equal(arrays["conv.weight"], TENSORS["conv.weight"].numpy())


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_safetensors_in_pytorchs_layout(tmp_path, dtype):
    arrays = {f"module.{name}": tensor.numpy() for name, tensor in TENSORS.items()}
    arrays["module.conv.weight"] = arrays["module.conv.weight"].astype(dtype)
    safetensors.numpy.save_file(arrays, tmp_path / "net.safetensors", {"format": "pt"})
    found = read_state_dict(tmp_path / "net.safetensors")
    assert found["conv.weight"].dtype == np.float32
    np.testing.assert_array_equal(found["conv.weight"], TENSORS["conv.weight"].numpy())


def write(path, arrays):
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return path


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
@pytest.mark.parametrize("name", ["net.npz", "net.h5", "net.hdf5"])
def test_arrays_of_numpy_and_hdf5(tmp_path, name, prefix, dtype):
    arrays = {f"{prefix}{key}": tensor.numpy() for key, tensor in TENSORS.items()}
    arrays[f"{prefix}conv.weight"] = arrays[f"{prefix}conv.weight"].astype(dtype)
    found = read_state_dict(write(tmp_path / name, arrays))
    assert set(found) == set(TENSORS) and found["conv.weight"].dtype == np.float32
    assert found["bn.num_batches_tracked"].dtype == np.int64 and found["bn.num_batches_tracked"].shape == ()
    np.testing.assert_array_equal(found["conv.weight"], TENSORS["conv.weight"].numpy())


@pytest.mark.parametrize("name", ["net.npz", "net.h5"])
def test_groups_are_dotted_names(tmp_path, name):
    arrays = {"module/features/0/weight": np.ones(2, np.float32), "module/features/0.bias": np.zeros(2, bool)}
    found = read_state_dict(write(tmp_path / name, arrays))
    assert {key: array.dtype for key, array in found.items()} == {"features.0.weight": np.float32, "features.0.bias": bool}


def test_hdf5_needs_h5py(tmp_path, monkeypatch):
    path = write(tmp_path / "net.h5", {"conv.weight": np.ones(3)})
    monkeypatch.setitem(sys.modules, "h5py", None)  # importing it fails
    with pytest.raises(ImportError, match=r"net\.h5 needs h5py: pip install 'jaxlens-vision\[hdf5\]'"):
        read_state_dict(path)


@pytest.mark.parametrize("keep", [0, 10, 0.5, -1])
def test_a_truncated_file(tmp_path, keep):
    path = saved(tmp_path, TENSORS)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(WeightsError, match=r"net\.pth is not a readable PyTorch state dict: it is cut short") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"epoch": 3, "lr": 0.1}, r"2 of its 2 entries are not tensors: 'epoch' \(int\), 'lr' \(float\)"),
        ({}, "holds dict, where a state dict"),
        ([1, 2], "holds list, where a state dict"),
        (torch.ones(3), "holds Tensor, where a state dict"),
        (torch.nn.Linear(2, 3), r"holds more than tensors.*torch\.save\(model\.state_dict\(\), path\)"),
    ],
    ids=["numbers", "nothing", "a list", "a tensor", "a whole module"],
)
def test_a_file_that_holds_something_else(tmp_path, value, message):
    with pytest.raises(WeightsError, match=message):
        read_state_dict(saved(tmp_path, value))


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("writer", ["pickle", "torch", "torch, old format", "among tensors"])
def test_a_malicious_pickle_is_not_executed(tmp_path, writer):
    payload, path, sign = Payload(str(tmp_path / "executed")), tmp_path / "net.pth", tmp_path / "executed"
    if writer == "pickle":
        path.write_bytes(pickle.dumps(payload))
    else:
        value = {"a": torch.ones(1), "b": payload} if writer == "among tensors" else payload
        torch.save(value, path, _use_new_zipfile_serialization=writer != "torch, old format")
    with pytest.raises(WeightsError, match="Nothing in it was executed"):
        read_state_dict(path)
    assert not sign.exists()
    if writer == "pickle":  # the control: the payload does act where it is let
        pickle.loads(path.read_bytes()).close()
        assert sign.exists()


def test_a_text_file_and_no_file(tmp_path):
    (tmp_path / "net.pth").write_text("<html>404</html>")
    with pytest.raises(WeightsError, match="not a readable PyTorch state dict"):
        read_state_dict(tmp_path / "net.pth")
    with pytest.raises(FileNotFoundError, match=r"There is no weights file .*other\.pth"):
        read_state_dict(tmp_path / "other.pth")
