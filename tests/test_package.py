"""The distribution: its name, its extras, its version and what its archives hold."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import jaxlens
from jaxlens import modelzoo
from jaxlens._package import DISTRIBUTION, VERSION, install_hint, optional

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TEXTS = [
    "README.md",
    "CONTRIBUTING.md",
    "pyproject.toml",
    "Makefile",
    "jaxlens",
    "converters",
    "notebooks",
    "benchmarks",
    "tools",
    "docs",
]
SUFFIXES = {".py", ".md", ".toml", ".ipynb", ".sh", ""}


def texts():
    paths = [path for name in TEXTS for path in [ROOT / name, *(ROOT / name).rglob("*")]]
    return {path: path.read_text() for path in paths if path.is_file() and path.suffix in SUFFIXES}


def test_the_distribution_is_jaxlens_vision():
    assert PROJECT["name"] == DISTRIBUTION == "jaxlens-vision"
    assert jaxlens.__version__ == VERSION and re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


def test_extras_are_asked_of_jaxlens_vision_everywhere_and_exist():
    text = "\n".join(texts().values())
    named = {extra for extras in re.findall(r"jaxlens-vision\[([\w,]+)\]", text) for extra in extras.split(",")}
    named |= {*re.findall(r'optional\(.*, "(\w+)"\)', text), *re.findall(r"install_hint\([\"'](\w+)[\"']\)", text)}
    assert {"torch", "train", "video", "hdf5"} <= named <= set(PROJECT["optional-dependencies"])
    assert not [path for path, text in texts().items() if re.search(r"\bjaxlens\[[a-z]", text)]


def test_a_missing_extra_is_named_with_its_command():
    with pytest.raises(ImportError, match=r"Films need it: pip install 'jaxlens-vision\[video\]'\."):
        optional("jaxlens_is_not_there", "Films need it", "video")
    assert optional("os.path", "Paths need it", "video").join("a", "b")
    assert install_hint("train") == "pip install 'jaxlens-vision[train]'"


DECOY = """
import sys
{first}
import numpy as np
from jaxlens import converters, modelzoo
assert converters.convert is not None and "decoy" not in converters.__file__
import converters as theirs
assert ("decoy" in theirs.__file__) == {decoyed}, theirs.__file__
assert (theirs is converters) == (not {decoyed})
model = modelzoo.load("lensnet", weights=sys.argv[1])
print(model.name)
"""


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "import converters"])
@pytest.mark.parametrize("decoyed", [True, False])
def test_a_users_own_folder_called_converters_is_never_taken_for_ours(tmp_path, first, decoyed):
    (tmp_path / "decoy" / "converters").mkdir(parents=True)
    (tmp_path / "decoy" / "converters" / "__init__.py").write_text("")
    weights = tmp_path / "lensnet.safetensors"
    modelzoo.save(modelzoo.load("lensnet"), weights)
    np.savez(tmp_path / "lensnet.npz", **_as_torch(safetensors.numpy.load_file(weights)))
    path = os.pathsep.join([str(tmp_path / "decoy")] * decoyed + [str(ROOT)])
    script = DECOY.format(first=first, decoyed=decoyed)
    command = [sys.executable, "-c", script, str(tmp_path / "lensnet.npz")]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert done.stdout.strip() == "lensnet", done.stderr


def _as_torch(arrays):
    """Tensors of convolutions and linear layers under PyTorch's names and in its layout."""
    found = {}
    for name, array in arrays.items():
        path, _, leaf = name.rpartition(".")
        axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim, (0,))
        found[f"{path}.{'weight' if leaf == 'kernel' else leaf}"] = np.ascontiguousarray(array.transpose(axes))
    return found


def test_the_source_archive_holds_tracked_files_only(tmp_path):
    pytest.importorskip("hatchling", reason="hatchling builds the archive")
    files = ["pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "jaxlens/_package.py", "jaxlens/__init__.py"]
    for name in [*files, "jaxlens/notes.txt", "photo.jpg"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes() if name in files else b"untracked")
    for command in (["init", "-q"], ["add", *files]):
        try:
            subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("git is absent.")
    build = "import hatchling.build; print(hatchling.build.build_sdist('dist'))"
    built = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True, check=True)
    with tarfile.open(tmp_path / "dist" / built.stdout.split()[-1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names == {*files, "PKG-INFO"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, unpacked as an installer does, and how to run Python with it elsewhere.

    Without `site` no editable install is on the path. A user's own `converters` lies in the working
    folder, and torch cannot be imported unless it is asked for.
    """
    pytest.importorskip("hatchling", reason="hatchling builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    build = "import hatchling.build, sys; hatchling.build.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=ROOT, capture_output=True, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    for name in ("torch", "torchvision"):
        (folder / "without").mkdir(exist_ok=True)
        (folder / "without" / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}', name='{name}')")
    (folder / "work" / "converters").mkdir(parents=True)
    (folder / "work" / "converters" / "__init__.py").write_text("raise RuntimeError('the wrong converters')")

    def run(*arguments, torch=False):
        without = [] if torch else [folder / "without"]
        path = [*without, folder / "installed", *{sysconfig.get_path(kind) for kind in ("purelib", "platlib")}]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path)), "JAXLENS_CACHE": str(folder / "cache")}
        command = [sys.executable, "-S", *arguments]
        done = subprocess.run(command, cwd=folder / "work", env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return folder, run


@pytest.mark.slow
def test_the_wheel_holds_the_package_alone(installed):
    folder, run = installed
    names = {path.relative_to(folder / "installed").as_posix() for path in (folder / "installed").rglob("*") if path.is_file()}
    info = f"jaxlens_vision-{VERSION}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"jaxlens", info}
    assert {"jaxlens/converters/__init__.py", "jaxlens/converters/__main__.py", "jaxlens/py.typed"} <= names
    assert not {"jaxlens/converters.py", "jaxlens/training/lensnet.py"} & names
    metadata = (folder / "installed" / info / "METADATA").read_text()
    assert "Description-Content-Type: text/markdown" in metadata and "Project-URL: Homepage, https://" in metadata
    assert "lensnet " in run("-m", "jaxlens", "models")


@pytest.mark.slow
def test_the_wheel_renders_without_torch_beside_a_users_converters(installed):
    folder, run = installed
    where = "import jaxlens, jaxlens.converters as ours; print(jaxlens.__file__, ours.__file__)"
    assert all(str(folder / "installed") in path for path in run("-c", where).split())
    said = run("-m", "jaxlens", "render", "lensnet", "mixed3a:1,7", "--size", "32", "--steps", "8", "--out", "pictures")
    assert "2 neurons in" in said
    written = sorted(path.name for path in (folder / "work" / "pictures").iterdir())
    assert written == ["contact-sheet.png", "mixed3a-1.png", "mixed3a-7.png"]
    assert "[OPTIONS] NAME" in run("-m", "jaxlens.converters", "--help")


@pytest.mark.slow
def test_the_wheel_imports_a_module_of_torch(installed):
    pytest.importorskip("torch")
    script = (
        "import torch, jaxlens\n"
        "network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())\n"
        "options = {'preprocess': lambda images: images, 'input_size': (8, 10)}\n"
        "print(jaxlens.Model.from_torch(network, **options).layers['1'].shape)\n"
    )
    assert installed[1]("-c", script, torch=True).split("\n")[-2] == "(6, 8, 4)"
