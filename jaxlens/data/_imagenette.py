"""ImageNette: ten easy classes of ImageNet, as a first dataset to train on."""

import dataclasses
import tarfile
from pathlib import Path

from jaxlens import _download
from jaxlens._checks import check_choice, check_int, check_path
from jaxlens._files import cache_dir, temporary
from jaxlens.data._loader import Loader, load_folder
from jaxlens.errors import DatasetError

# In the order of their folders, whose names are WordNet's ids.
IMAGENETTE_CLASSES = (
    "tench",
    "English springer",
    "cassette player",
    "chain saw",
    "church",
    "French horn",
    "garbage truck",
    "gas pump",
    "golf ball",
    "parachute",
)
_FOLDERS = [
    "n01440764",
    "n02102040",
    "n02979186",
    "n03000684",
    "n03028079",
    "n03394916",
    "n03417042",
    "n03425413",
    "n03445777",
    "n03888257",
]


@dataclasses.dataclass(frozen=True)
class _Archive:
    """One of the sizes that fast.ai publishes; MD5 sums as in torchvision 0.29's `Imagenette`."""

    url: str
    digest: str
    side: int | None  # pixels of its images' shorter sides; None: full size

    @property
    def sizes(self) -> tuple[int, int]:
        """Return the least and the most bytes; the digest tells the rest."""
        return 0, 1 << 31


_ARCHIVES = (
    _Archive("https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz", "md5:e793b78cc4c9e9a4ccc0c1155377a412", 160),
    _Archive("https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz", "md5:3df6f0d01a2c9592104656642f5e78a3", 320),
    _Archive("https://s3.amazonaws.com/fast-ai-imageclas/imagenette2.tgz", "md5:fe2fc210e6bb7c5664d602c3cd71e612", None),
)


def load_imagenette(
    split: str = "train",
    size: int = 128,
    batch_size: int = 32,
    *,
    folder: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Loader:
    """Return batches of ImageNette (Howard 2019, github.com/fastai/imagenette).

    The archive is downloaded on first use and checked against its published MD5 sum. fast.ai
    publishes three sizes. The smallest whose images need no enlarging is taken: 160 pixels up to
    `size` 128, 320 up to 256, else full size.

    Args:
        split: "train" (9469 images, shuffled and augmented, see `Loader`) or "val" (3925, in
            order).
        size: side of the images.
        batch_size: images per batch.
        folder: where the dataset lies or goes; by default jaxlens' cache folder (see
            `modelzoo.cache_dir`).
        seed: of order and augmentation.
        progress: show a bar while downloading.

    Returns: a `Loader` whose `classes` are `IMAGENETTE_CLASSES`.

    Raises:
        ValueError: for another split.
        DownloadError: if the archive cannot be had or is not the published one.
        DatasetError: if the folder there is not ImageNette's.

    Example:
        The first lines write one picture per class, in place of the download.

        >>> import numpy as np
        >>> from jaxlens import data
        >>> ids = "n01440764 n02102040 n02979186 n03000684 n03028079".split()
        >>> ids += "n03394916 n03417042 n03425413 n03445777 n03888257".split()
        >>> for name in ids:
        ...     path = data.save_image(f"imagenette2-160/val/{name}/0.png", np.zeros((16, 16, 3)))
        >>> loader = data.load_imagenette("val", 128, batch_size=4, folder=".")
        >>> len(loader), loader.classes[:2]
        (3, ('tench', 'English springer'))
    """
    check_choice(split, "split", ("train", "val"))
    check_int(size, "size", low=1)
    archive = next(each for each in _ARCHIVES if each.side is None or size * 1.25 <= each.side)
    root = cache_dir() if folder is None else check_path(folder, "folder")
    home = root / archive.url.rpartition("/")[2].removesuffix(".tgz")
    if not home.exists():
        _fetch(archive, home, progress)
    loader = load_folder(home / split, size, batch_size, train=split == "train", seed=seed)
    if list(loader.classes) != _FOLDERS:
        raise DatasetError(
            f"{home / split} has the folders {list(loader.classes)}, but ImageNette's are {_FOLDERS}. Delete {home}."
        )
    return dataclasses.replace(loader, classes=IMAGENETTE_CLASSES)


def _fetch(archive: _Archive, home: Path, progress: bool) -> None:
    """Download and unpack; the dataset's folder appears whole or not at all."""
    advice = f"Or unpack the archive by other means as {home}."
    with _download.fetched(archive, home, advice=advice, progress=progress) as (file, _), temporary(home) as part:
        with tarfile.open(file) as tar:
            tar.extractall(part, filter="data")
        (unpacked,) = part.iterdir()
        unpacked.rename(home)
