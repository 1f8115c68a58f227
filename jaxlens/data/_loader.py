"""Batches of labeled image files, read by several threads in a reproducible order."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from jaxlens._checks import SEEDS, check_flag, check_int, check_path
from jaxlens._package import optional
from jaxlens._types import Whole
from jaxlens.data._decode import open_picture, pixels, readable
from jaxlens.errors import DatasetError

# Before a random crop the shorter side is this much longer: 160 for crops of 128, as in the
# ImageNette tutorial.
MARGIN = 1.25


@dataclasses.dataclass(frozen=True)
class Loader:
    """Labeled image files in batches.

    Iterating gives `(images, labels)`: float32 `[B, size, size, 3]` in [0, 1] and int32 `[B]`. A
    training loader shuffles, crops at random and flips half of the images; it leaves out the last
    images where they do not fill a batch. Otherwise files come in order, the center square is
    taken, and the last batch may be short.

    Attributes:
        files: the images.
        labels: for each image its place in `classes`.
        classes: names.
        size: side of the images in pixels.
        batch_size: images per batch.
        train: shuffle and augment.
        seed: equal seeds give equal batches.
        threads: how many threads read ahead; with 0 the caller's thread reads.

    Example:
        >>> import numpy as np
        >>> from jaxlens import data
        >>> pictures = [np.full((24, 32, 3), i / 4) for i in range(5)]
        >>> files = tuple(data.save_image(f"{i}.png", x) for i, x in enumerate(pictures))
        >>> loader = data.Loader(files, (0, 0, 1, 1, 1), ("dark", "light"), 16, 2, train=True)
        >>> len(loader), loader.classes  # the fifth image fills no batch
        (2, ('dark', 'light'))
    """

    files: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    size: Whole
    batch_size: Whole
    train: bool = False
    seed: Whole = 0
    threads: Whole = 4

    def __post_init__(self) -> None:
        numbers = {
            "size": check_int(self.size, "size", low=1, high=1 << 14),
            "batch_size": check_int(self.batch_size, "batch_size", low=1, high=1 << 20),
            "seed": check_int(self.seed, "seed", low=0, high=SEEDS - 1),
            "threads": check_int(self.threads, "threads", low=0, high=1024),
        }
        object.__setattr__(self, "train", check_flag(self.train, "train"))
        for name, number in numbers.items():  # Python's, because NumPy's integers overflow
            object.__setattr__(self, name, number)
        if len(self.labels) != len(self.files):
            raise ValueError(f"labels has {len(self.labels)} entries for {len(self.files)} files.")
        for label in set(self.labels):
            check_int(label, "labels", low=0, high=len(self.classes) - 1)
        if self.train and self.batch_size > len(self.files):
            raise ValueError(f"batch_size={self.batch_size} is more than the {len(self.files)} images there are.")

    def __len__(self) -> int:
        """The number of batches."""
        full, rest = divmod(len(self.files), self.batch_size)
        return full + (rest > 0 and not self.train)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return self.epoch(0)

    def epoch(self, number: Whole) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Return the batches of one epoch: each epoch has its own order, crops and flips."""
        check_int(number, "number", low=0, high=SEEDS - 1)
        grain = optional("grain", "Reading batches of files needs grain", "train")
        data: Any = grain.MapDataset.source(range(len(self.files)))
        if self.train:
            data = data.seed((self.seed * 1_000_003 + number) % 2**31).shuffle().random_map(self._augmented)
        else:
            data = data.map(self._plain)
        data = data.batch(self.batch_size, drop_remainder=self.train)
        options = grain.ReadOptions(num_threads=self.threads, prefetch_buffer_size=4 * self.threads)
        return iter(data.to_iter_dataset(options))

    def _plain(self, index: int) -> tuple[np.ndarray, np.int32]:
        picture = _open(self.files[index])
        return pixels(ImageOps.fit(picture, (self.size, self.size), Image.Resampling.BILINEAR)), np.int32(self.labels[index])

    def _augmented(self, index: int, random: Any) -> tuple[np.ndarray, np.int32]:
        """Crop and flip at random; `random` is grain's generator for this image in this epoch."""
        picture = _open(self.files[index])
        scale = round(self.size * MARGIN) / min(picture.size)
        picture = picture.resize([max(self.size, round(side * scale)) for side in picture.size], Image.Resampling.BILINEAR)
        left, top = (int(random.integers(0, side - self.size + 1)) for side in picture.size)
        array = pixels(picture.crop((left, top, left + self.size, top + self.size)))
        return (array[:, ::-1] if random.random() < 0.5 else array), np.int32(self.labels[index])


def load_folder(
    path: str | Path, size: Whole = 128, batch_size: Whole = 32, *, train: bool = False, seed: Whole = 0, threads: Whole = 4
) -> Loader:
    """Return batches from a folder that holds one folder of images per class.

    Args:
        path: its subfolders, in alphabetical order, are the classes; images may lie at any depth in
            them. Hidden files and files whose ending is not that of an image are passed over.
        size, batch_size, train, seed, threads: see `Loader`.

    Raises:
        DatasetError: if there is no such folder, it has no subfolders, or some of these hold no
            images.

    Example:
        >>> import numpy as np
        >>> from jaxlens import data
        >>> for value, name in enumerate(["black", "white"]):
        ...     path = data.save_image(f"train/{name}/0.png", np.full((24, 32, 3), float(value)))
        >>> loader = data.load_folder("train", size=16, batch_size=2)
        >>> for images, labels in loader:
        ...     print(images.shape, [loader.classes[label] for label in labels])
        (2, 16, 16, 3) ['black', 'white']
    """
    root = check_path(path, "path")
    layout = "It must hold one folder of images per class: path/<class>/<image>."
    if not root.is_dir():
        raise DatasetError(f"path={str(path)!r} is not a folder. {layout}")
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        loose = sum(map(_is_image, root.iterdir()))
        found = f"{loose} images that are in no folder" if loose else "nothing of use"
        raise DatasetError(f"path={str(path)!r} has no subfolders, but {found}. {layout}")
    images = {folder.name: sorted(filter(_is_image, folder.rglob("*"))) for folder in folders}
    empty = [name for name, files in images.items() if not files]
    if empty:
        kinds = " ".join(sorted(_extensions() & {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif"}))
        raise DatasetError(
            f"path={str(path)!r}: no images in the folders {empty}. Legal are those that load_image reads ({kinds} ...)."
        )
    files = tuple(file for several in images.values() for file in several)
    labels = tuple(label for label, several in enumerate(images.values()) for _ in several)
    return Loader(files, labels, tuple(images), size, batch_size, train, seed, threads)


@functools.cache
def _extensions() -> frozenset[str]:
    kinds = readable()
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in kinds)


def _is_image(file: Path) -> bool:
    return file.is_file() and not file.name.startswith(".") and file.suffix.lower() in _extensions()


def _open(file: Path) -> Image.Image:
    try:
        return open_picture(file)
    except OSError as error:
        raise DatasetError(f"{error} Remove or replace it.") from error
