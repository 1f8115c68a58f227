"""Files that are whole or not there: their permissions, what may lie in their place, temporary
files of others.
"""

import os
import stat
import subprocess
import sys
import time

import numpy as np
import pytest

from jaxlens import _files, modelzoo
from jaxlens.data import save_animation, save_image

PICTURES = np.linspace(0, 1, 2 * 8 * 9 * 3, dtype=np.float32).reshape(2, 8, 9, 3)


def write(path, text="new"):
    with _files.atomic(path) as part:
        part.write_text(text)


@pytest.fixture
def umask():
    old = os.umask(0o022)
    yield os.umask
    os.umask(old)


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
@pytest.mark.parametrize(
    "save",
    [
        lambda folder: save_image(folder / "a.png", PICTURES[0]),
        lambda folder: save_animation(folder / "a.gif", PICTURES),
        lambda folder: modelzoo.save(modelzoo.load("lensnet"), folder / "a.safetensors"),
        lambda folder: write(folder / "a") or folder / "a",
    ],
    ids=["picture", "animation", "weights", "text"],
)
def test_saved_files_have_the_mode_that_the_umask_gives(tmp_path, umask, mask, save):
    umask(mask)
    for _ in range(2):  # also where there is a file
        assert stat.S_IMODE(save(tmp_path).stat().st_mode) == 0o666 & ~mask


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    write(tmp_path / "link")
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "link").is_symlink() and (tmp_path / "link").read_text() == "new"


def test_folders_and_devices_are_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError, match="folder is a folder, so no file can take its place"):
        write(tmp_path / "folder")
    with pytest.raises(FileExistsError, match="pipe is a device or pipe"):
        write(tmp_path / "pipe")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_a_place_that_cannot_be_written_is_told_in_words(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/inner/a.txt cannot be written: Not a directory. Name a file in a folder"):
        write(tmp_path / "file" / "inner" / "a.txt")
    monkeypatch.setattr(_files.Path, "touch", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(PermissionError, match=r"b/a.txt cannot be written: Permission denied. Name a file in a folder"):
        write(tmp_path / "a" / "b" / "a.txt")
    assert not (tmp_path / "a").exists()


def test_a_failure_leaves_no_empty_folder_and_no_folder_of_others_goes(tmp_path):
    (tmp_path / "old").mkdir()
    for deep in ("old", "old/new", "fresh/deep"):
        with pytest.raises(ZeroDivisionError), _files.atomic(tmp_path / deep / "a") as part:
            part.write_text("half")
            raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]


@pytest.mark.parametrize("name", ["n" * 250, "é" * 120, "a[1]*?.png", ".hidden", "with space"])
def test_any_legal_name(tmp_path, name):
    (tmp_path / ".b[1]*?.png.part").write_text("")
    write(tmp_path / name)
    write(tmp_path / name, "newer")
    assert (tmp_path / name).read_text() == "newer" and len(list(tmp_path.iterdir())) == 2


CHILD = """
import pathlib, sys
from jaxlens import _files
with _files.atomic(pathlib.Path(sys.argv[1])) as part:
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_temporary_files_go_when_their_process_is_dead_and_not_by_the_clock(tmp_path, monkeypatch):
    now = time.time()
    monkeypatch.setattr(_files.time, "time", lambda: now + 3 * 24 * 3600)
    command = [sys.executable, "-c", CHILD, str(tmp_path / "a")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "writing\n"
        with _files.atomic(tmp_path / "a") as mine:
            write(tmp_path / "a")
            assert len(list(tmp_path.glob(".a.*.part"))) == 2 and mine.exists()
        child.kill()
    assert len(list(tmp_path.glob(".a.*.part"))) == 1
    write(tmp_path / "a", "newest")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
