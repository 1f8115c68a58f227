"""Image folders and ImageNette, from files made here and a server on this machine."""

import dataclasses
import hashlib
import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from jaxlens import data
from jaxlens.data import _imagenette, load_folder, load_image, load_imagenette
from jaxlens.errors import DatasetError, DownloadError


def write_image(path, seed=0, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 5, size[0] // 5, 3), np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR).save(path)


@pytest.fixture
def folder(tmp_path):
    for i in range(7):
        write_image(tmp_path / "set" / ("cats" if i < 3 else "ants") / f"{i}.png", i, (40 + i, 30))
    return tmp_path / "set"


def epoch(loader, number=0):
    images, labels = zip(*loader.epoch(number), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_a_folder_in_order(folder):
    loader = load_folder(folder, 24, 3)
    assert loader.classes == ("ants", "cats") and len(loader) == 3
    batches = list(loader)
    assert [len(labels) for _, labels in batches] == [3, 3, 1]
    images, labels = epoch(loader)
    assert images.shape == (7, 24, 24, 3) and images.dtype == np.float32 and labels.dtype == np.int32
    assert labels.tolist() == [0] * 4 + [1] * 3
    # the middle square of the file, as `load_image` takes it but for the filter
    assert np.abs(images[4] - load_image(folder / "cats" / "0.png", 24)).mean() < 0.02
    assert np.abs(images[4] - load_image(folder / "cats" / "1.png", 24)).mean() > 0.1
    np.testing.assert_array_equal(images, epoch(loader, 5)[0])


def test_training_epochs_are_shuffled_augmented_and_reproducible(folder):
    loader = load_folder(folder, 24, 3, train=True)
    assert len(loader) == 2  # the seventh image is left out
    first, again, second = epoch(loader, 0), epoch(load_folder(folder, 24, 3, train=True, threads=0), 0), epoch(loader, 1)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(first[0], epoch(dataclasses.replace(loader, seed=1))[0])
    orders = {tuple(epoch(loader, i)[1]) for i in range(8)}
    assert len(orders) > 1


def test_crops_and_flips_are_of_the_image(tmp_path):
    # brightness rises to the right, the other colours with the height: a crop shows where it is and
    # whether it is flipped
    ramp = np.zeros((50, 70, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(70) * 3, (np.arange(50) * 5)[:, None]
    (tmp_path / "a").mkdir()
    Image.fromarray(ramp).save(tmp_path / "a" / "ramp.png")
    loader = load_folder(tmp_path, 40, 1, train=True)
    crops = np.concatenate([epoch(loader, i)[0] for i in range(24)])
    slopes = np.sign(np.diff(crops[..., 0], axis=2).mean((1, 2)))
    assert 4 <= (slopes > 0).sum() <= 20
    np.testing.assert_allclose(
        np.abs(np.diff(crops[..., 0], axis=2)).mean(), 3 / 255, atol=1e-3
    )  # the ratio stays: 50 = 1.25 * 40
    lefts = np.round(crops[..., 0].min((1, 2)) * 255 / 3)
    tops = np.round(crops[..., 1].min((1, 2)) * 255 / 5)
    assert lefts.min() >= 0 and lefts.max() <= 30 and len(set(lefts)) > 8 and tops.max() <= 10 and len(set(tops)) > 4


def test_what_is_no_image_is_passed_over(folder):
    (folder / "notes.txt").write_text("")
    (folder / ".hidden").mkdir()
    (folder / "cats" / ".thumbs.png").write_bytes(b"")
    (folder / "cats" / "readme.md").write_text("")
    write_image(folder / "cats" / "more" / "deep.JPG")
    assert len(load_folder(folder).files) == 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "is not a folder. It must hold one folder of images per class"),
        (lambda root: root.mkdir(), "has no subfolders, but nothing of use. It must hold one folder"),
        (lambda root: write_image(root / "a.png"), "has no subfolders, but 1 images that are in no folder"),
        (
            lambda root: (write_image(root / "a" / "a.png"), (root / "b").mkdir()),
            r"no images in the folders \['b'\]. Legal are",
        ),
    ],
    ids=["absent", "empty", "loose", "empty class"],
)
def test_malformed_folders(tmp_path, make, message):
    make(tmp_path / "set")
    with pytest.raises(DatasetError, match=message):
        load_folder(tmp_path / "set")


def test_a_broken_image_is_named(folder):
    (folder / "ants" / "3.png").write_bytes(b"rubbish")
    with pytest.raises(DatasetError, match=r"ants/3.png is not a readable image"):
        list(load_folder(folder))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 8, "train": True}, "more than the 7 images"),
    ],
)
def test_bad_options(folder, options, message):
    with pytest.raises(ValueError, match=message):
        load_folder(folder, **options)


@pytest.fixture
def archive(server, tmp_path, monkeypatch):
    """ImageNette of two images a class and split, on our server."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for split in ("train", "val"):
            for i, name in enumerate(_imagenette._FOLDERS):
                for k in range(2):
                    write_image(tmp_path / "one.jpg", 10 * i + k, (64, 48))
                    tar.add(tmp_path / "one.jpg", f"imagenette2-160/{split}/{name}/{k}.JPEG")
    body = buffer.getvalue()
    server.put("imagenette2-160.tgz", body)
    small = dataclasses.replace(
        _imagenette._ARCHIVES[0], url=f"{server.url}/imagenette2-160.tgz", digest=f"md5:{hashlib.md5(body).hexdigest()}"
    )
    monkeypatch.setattr(_imagenette, "_ARCHIVES", (small, *_imagenette._ARCHIVES[1:]))
    return server


def test_imagenette(archive, tmp_path):
    train = load_imagenette("train", 32, 4, folder=tmp_path / "data", progress=False)
    val = load_imagenette("val", 32, 4, folder=tmp_path / "data", progress=False)
    assert archive.requests == ["/imagenette2-160.tgz"]  # once
    assert train.classes == val.classes == data.IMAGENETTE_CLASSES and len(data.IMAGENETTE_CLASSES) == 10
    assert train.train and not val.train and len(train) == len(val) == 5
    assert epoch(val)[1].tolist() == [i for i in range(10) for _ in range(2)]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["imagenette2-160"]


def test_imagenette_goes_to_the_cache_and_sizes_have_their_archives(archive, monkeypatch):
    from jaxlens.modelzoo import cache_dir

    load_imagenette("val", 128, progress=False)
    assert (cache_dir() / "imagenette2-160" / "val").is_dir()
    asked = []
    monkeypatch.setattr(_imagenette, "_fetch", lambda archive, home, progress: asked.append(home.name) or 1 / 0)
    for size in (129, 256, 257):
        with pytest.raises(ZeroDivisionError):
            load_imagenette("val", size)
    assert asked == ["imagenette2-320", "imagenette2-320", "imagenette2"]


def test_imagenette_that_is_tampered_with_or_cut_short(archive, tmp_path):
    body = archive.answers["/imagenette2-160.tgz"].body
    for answer, message in ((body[:-7], "the file is not the published one: expected md5:"), (None, "cut short|broke")):
        archive.put("imagenette2-160.tgz", answer or body, promised=None if answer else len(body) + 9)
        with pytest.raises(DownloadError, match=message) as caught:
            load_imagenette("train", 32, folder=tmp_path / "data", progress=False)
        assert "unpack the archive by other means" in str(caught.value)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_folder_that_is_not_imagenette(tmp_path):
    write_image(tmp_path / "imagenette2-160" / "train" / "cats" / "a.png")
    with pytest.raises(DatasetError, match=r"has the folders \['cats'\], but ImageNette's are"):
        load_imagenette("train", 32, 1, folder=tmp_path)
    with pytest.raises(ValueError, match="split='test' must be one of train, val"):
        load_imagenette("test")


def test_the_archives_are_torchvisions():
    theirs = pytest.importorskip("torchvision.datasets").Imagenette._ARCHIVES
    ours = [(each.url, each.digest) for each in _imagenette._ARCHIVES]
    assert ours == [(url, f"md5:{md5}") for url, md5 in (theirs[name] for name in ("160px", "320px", "full"))]
