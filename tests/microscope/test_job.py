"""Render jobs: resumed, shared, killed, refused; on a full disk and in a read-only folder."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import filelock
import numpy as np
import pytest

from jaxlens import microscope
from jaxlens.microscope import _render_layers, _tile
from jaxlens.model import IMAGENET, Model, rules
from jaxlens.optvis import param, transform
from jaxlens.optvis.render import render
from tests.helpers import small_model

LAYER = "blocks.0.conv2"  # 8 channels
QUICK = {"size": (24, 28), "steps": 3, "batch_size": 2, "redirect_steps": 0, "progress": False}


@pytest.fixture(scope="module")
def model():
    return small_model(input_size=(24, 28))


def run(model, folder, **changes):
    return microscope.render_layers(model, [LAYER], folder, **QUICK | changes)


def pixels(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}


@pytest.fixture(scope="module")
def undisturbed(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    job = run(model, folder)
    assert job.finished and job.rendered == 8
    return pixels(folder)


@pytest.mark.slow
def test_tiles_are_what_render_gives(model, undisturbed, tmp_path):
    job = run(model, tmp_path, channels=[5, 2])
    assert [tile.channel for tile in job.tiles(LAYER)] == [2, 5] and job.rendered == 2
    alone = render(model, f"{LAYER}:2,5", **QUICK)
    for tile, image, score in zip(job.tiles(LAYER), alone.images, alone.final_scores(), strict=True):
        assert np.abs(tile.image / 255 - image[0]).max() < 1 / 255 + 1e-6
        assert tile.score == pytest.approx(score, rel=1e-5) and tile.failed_at == -1 and tile.layer == LAYER
    assert sorted(undisturbed) == [f"{LAYER}/{channel:04d}.png" for channel in range(8)]
    assert len(set(undisturbed.values())) == 8


def test_goes_on_where_it_was(model, undisturbed, tmp_path, monkeypatch):
    run(model, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    (tmp_path / LAYER / "0003.png").unlink()
    damaged = tmp_path / LAYER / "0006.png"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    (tmp_path / LAYER / ".0003.png.dead.part").write_bytes(b"half")
    rendered = []
    monkeypatch.setattr(
        _render_layers,
        "render",
        lambda model, wanted, **options: (rendered.append(wanted), render(model, wanted, **options))[1],
    )
    assert run(model, tmp_path).rendered == 2
    chunks = [(wanted.layer, np.asarray(wanted.index).tolist()) for wanted in rendered]
    assert chunks == [(LAYER, [2, 3]), (LAYER, [6, 7])]  # whole chunks, so the same pixels
    assert pixels(tmp_path) == undisturbed and not list(tmp_path.rglob("*.part"))
    again = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert sorted(path.name for path in times if times[path] != again[path]) == ["0003.png", "0006.png"]
    assert run(model, tmp_path).rendered == 0 and len(rendered) == 2


def test_ctrl_c(model, undisturbed, tmp_path, monkeypatch):
    calls = []

    def interrupted(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return render(*args, **options)

    monkeypatch.setattr(_render_layers, "render", interrupted)
    job = run(model, tmp_path)
    assert not job.finished and job.rendered == 4 == len(pixels(tmp_path))
    assert run(model, tmp_path).finished and pixels(tmp_path) == undisturbed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 4}, "steps: 3 there, 4 now"),
        ({"size": (28, 24)}, r"size: \[24, 28\] there, \[28, 24\] now"),
        ({"transforms": [transform.jitter(2)]}, "transforms: None there"),
        ({"param": param.image(28, 24, fft=False)}, "param: None there"),
        ({"compute_dtype": "bfloat16"}, "compute_dtype: None there, 'bfloat16' now"),
    ],
)
def test_other_settings_are_refused(model, undisturbed, tmp_path, changes, message):
    run(model, tmp_path, channels=[0, 1])
    before = pixels(tmp_path)
    with pytest.raises(ValueError, match=f"holds results of other settings.*{message}"):
        run(model, tmp_path, **changes)
    with pytest.raises(ValueError, match="gradient_rule: None there"):
        run(model.with_gradient_rule(rules.guided()), tmp_path)
    with pytest.raises(ValueError, match="weights: .* there"):
        microscope.render_layers(small_model(1, input_size=(24, 28)), [LAYER], tmp_path, **QUICK)
    assert pixels(tmp_path) == before


def test_a_tile_from_elsewhere_is_refused(model, tmp_path):
    run(model, tmp_path / "a", channels=[0, 1])
    run(model, tmp_path / "b", channels=[0, 1], seed=1)
    shutil.copy(tmp_path / "b" / LAYER / "0001.png", tmp_path / "a" / LAYER / "0001.png")
    with pytest.raises(ValueError, match=r"0001.png was rendered with other settings"):
        run(model, tmp_path / "a", channels=[0, 1])


def test_layers_may_be_added(model, tmp_path):
    run(model, tmp_path, channels=[0, 1])
    both = microscope.render_layers(model, [LAYER, "head"], tmp_path, **QUICK, channels=[0, 1, 7])
    assert both.layers == {LAYER: [0, 1, 7], "head": [0, 1]} and both.rendered == 3


def test_what_another_process_holds_is_left_to_it_until_it_lets_go(model, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxlens._jobs._run._PAUSE", 0.05)
    (tmp_path / ".claims").mkdir()
    with filelock.FileLock(tmp_path / ".claims" / f"{LAYER}-1.lock"):
        worker = threading.Thread(target=run, args=(model, tmp_path))
        worker.start()
        deadline = time.monotonic() + 60
        while len(pixels(tmp_path)) < 6 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        assert sorted({*undisturbed} - {*pixels(tmp_path)}) == [f"{LAYER}/0002.png", f"{LAYER}/0003.png"]
    worker.join(60)
    assert pixels(tmp_path) == undisturbed


KILLED = """
import sys
from pathlib import Path
from jaxlens import microscope
from tests.microscope.test_job import LAYER, QUICK
from tests.helpers import small_model
microscope.render_layers(small_model(input_size=(24, 28)), [LAYER], sys.argv[1], **QUICK | {"steps": 200, "batch_size": 1})
"""


@pytest.mark.slow
def test_killed_and_shared(tmp_path):
    """Two processes, one killed between tiles: all tiles come out, finished ones stay untouched."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "killed")]
    env = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    first, second = (subprocess.Popen(command, env=env) for _ in range(2))
    deadline = time.monotonic() + 240
    while not pixels(tmp_path / "killed") and time.monotonic() < deadline:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    there = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").rglob("*.png")}
    assert first.wait() == -signal.SIGKILL and second.wait(240) == 0
    assert 0 < len(there) < 8 and all(path.stat().st_mtime_ns == then for path, then in there.items())
    subprocess.run([*command[:-1], str(tmp_path / "whole")], env=env, check=True)
    assert len(pixels(tmp_path / "whole")) == 8 and pixels(tmp_path / "killed") == pixels(tmp_path / "whole")


def test_a_full_disk(model, undisturbed, tmp_path, monkeypatch):
    plain, written = _tile.Image.Image.save, []

    def full(self, path, **options):
        written.append(path)
        if len(written) == 4:
            path.write_bytes(b"a part")
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(self, path, **options)

    monkeypatch.setattr(_tile.Image.Image, "save", full)
    with pytest.raises(
        OSError, match=r"out=.* cannot be written to \(No space left on device\)\. 3 of 8 .*Make room"
    ) as caught:
        run(model, tmp_path)
    assert caught.value.errno == errno.ENOSPC and len(pixels(tmp_path)) == 3 and not list(tmp_path.rglob("*.part"))
    assert run(model, tmp_path).rendered == 5 and pixels(tmp_path) == undisturbed


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="Mounting a small disk takes root.")
@pytest.mark.parametrize("options", ["size=64k", "ro"])
def test_a_real_full_and_read_only_disk(model, tmp_path, options):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("This system lets nothing be mounted.")
    try:
        if options != "ro":
            (disk / "ballast").write_bytes(b"0" * 48 * 1024)
        with pytest.raises(OSError, match=r"cannot be written to \((No space left on device|Read-only file system)\)"):
            run(model, disk)
        if options == "ro":
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        (disk / "ballast").unlink(missing_ok=True)
        job = run(model, disk)
        assert job.finished and len(job.tiles(LAYER)) == 8
    finally:
        subprocess.run(["umount", disk], check=True)


DISTRIBUTED = """
import sys
import jax
if len(sys.argv) > 2:
    jax.distributed.initialize(f"localhost:{sys.argv[2]}", 2, int(sys.argv[3]))
assert jax.local_device_count() == 4
from jaxlens import microscope
from tests.microscope.test_job import LAYER, QUICK
from tests.helpers import small_model
options = QUICK | {"batch_size": 2}
print("rendered", microscope.render_layers(small_model(input_size=(24, 28)), [LAYER], sys.argv[1], **options).rendered)
"""


@pytest.mark.slow
def test_two_processes_with_four_devices_each(model, undisturbed, tmp_path, free_port):
    """`jax.distributed`: each process renders its half, once, to the pictures of one process."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    env = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", DISTRIBUTED, str(tmp_path / "two"), str(free_port)]
    both = [subprocess.Popen([*command, str(i)], env=env, stdout=subprocess.PIPE, text=True) for i in range(2)]
    told = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0] and all("rendered 4" in text for text in told)
    tiles = {path.name: microscope.read_tile(path).image for path in (tmp_path / "two").rglob("*.png")}
    folder = tmp_path / "one"
    run(model, folder)
    assert len(tiles) == 8
    for path in folder.rglob("*.png"):
        assert np.abs(tiles[path.name].astype(int) - microscope.read_tile(path).image).max() <= 1


@pytest.fixture
def free_port():
    import socket

    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def test_a_neuron_that_becomes_nan_is_a_tile_that_says_so(tmp_path):
    def network(params, x):
        import jax.numpy as jnp

        maps = x[:, ::2, ::2, :2] * params
        return jnp.stack([maps[..., 0].sum((1, 2)), jnp.log(-1 - maps[..., 1].mean((1, 2)))], 1)

    model = Model.from_function(network, np.float32(1), preprocess=IMAGENET, input_size=(24, 28), name="nan")
    job = microscope.render_layers(model, ["logits"], tmp_path, **QUICK)
    fine, failed = job.tiles("logits")
    assert fine.failed_at == -1 and failed.failed_at == 0 and np.isnan(failed.score)
    assert microscope.render_layers(model, ["logits"], tmp_path, **QUICK).rendered == 0  # not tried for ever


def test_bad_arguments(model, tmp_path):
    with pytest.raises(LookupError, match="layer='blocks.0.conv9'"):
        microscope.render_layers(model, ["blocks.0.conv9"], tmp_path)
    with pytest.raises(ValueError, match=r"layers='mixed\*' matches no layer"):
        microscope.render_layers(model, ["mixed*"], tmp_path)
    with pytest.raises(ValueError, match="transforms=.*cannot remember it"):
        run(model, tmp_path, transforms=[lambda key, images: images])
    with pytest.raises(ValueError, match="is not a manifest of jaxlens"):
        (tmp_path / "manifest.json").write_text("{")
        run(model, tmp_path)
    assert not list(tmp_path.rglob("*.png"))


def test_layers_are_found(model):
    assert microscope.find_layers(model, ["blocks.*.conv2", "head", "blocks.0.conv2"]) == [
        "blocks.0.conv2",
        "blocks.1.conv2",
        "head",
    ]
    assert microscope.find_layers(model, None) == [*microscope.blocks(model), "logits"]
    assert microscope.blocks(model) == ["blocks.0", "blocks.1"]


def test_a_file_that_is_no_tile(tmp_path):
    path = tmp_path / "0001.png"
    path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"0001.png' is not a whole tile"):
        microscope.read_tile(path)
    with pytest.raises(FileNotFoundError):
        microscope.read_tile(tmp_path / "0002.png")
