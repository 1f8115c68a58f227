"""Which networks there are, and where their published weights come from."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

from flax import nnx

from jaxlens._checks import suggest
from jaxlens.model import IMAGENET, INCEPTION, Preprocess
from jaxlens.modelzoo.alexnet import AlexNet
from jaxlens.modelzoo.inceptionv1 import InceptionV1
from jaxlens.modelzoo.lensnet import CLASSES, PREPROCESS, LensNet
from jaxlens.modelzoo.resnet import ResNet
from jaxlens.modelzoo.squeezenet import SqueezeNet
from jaxlens.modelzoo.vgg import VGG


@dataclasses.dataclass(frozen=True)
class Weights:
    """One published weights file: a torch state dict, or a file of ours that comes with the package.

    `url` is its address, or the name of the package's file. `digest` is "sha256:" and the first digits of the file's
    SHA-256 (torchvision puts them in the file name), or "gitblob:" and the git blob id of a file in a git repository.
    """

    name: str
    url: str
    digest: str
    preprocess: Preprocess = IMAGENET
    labels: str | None = "imagenet"

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def bundled(self) -> Path | None:
        """The file, if it comes with the package."""
        return None if "/" in self.url else Path(__file__).parent / "weights" / self.url


@dataclasses.dataclass(frozen=True)
class Network:
    """One network; the first of its weights is the default."""

    name: str
    build: Callable[[], nnx.Module]
    parameters: int
    weights: tuple[Weights, ...]
    source: str
    outputs: int = 1000
    input_size: tuple[int, int] = (224, 224)
    show: tuple[str, ...] = ()  # neurons worth seeing first

    def find(self, weights: str | Path | None) -> Weights | Path | None:
        """What `modelzoo.load` takes: a published file, a path, or None."""
        if weights is None:
            return None
        if isinstance(weights, Path):
            return weights.expanduser()
        if not isinstance(weights, str):
            raise TypeError(f"weights={weights!r} must be a name ({_listed(self.weights)}), a path, or None.")
        if weights == "DEFAULT":
            return self.weights[0]
        for known in self.weights:
            if known.name == weights:
                return known
        path = Path(weights).expanduser()
        if path.suffix or path.exists() or path.name != weights:
            return path
        near = suggest(weights, [known.name for known in self.weights])[0]
        raise LookupError(
            f"weights={weights!r} is not a set of weights of {self.name}. Closest: {near!r}. There are: 'DEFAULT', "
            f"{_listed(self.weights)}; or pass a path (.pth, .pt, .safetensors), or None for random weights."
        )


# Normalize(mean=(0.48235, 0.45882, 0.40784), std=1/255): torchvision's VGG16_Weights.IMAGENET1K_FEATURES, from Caffe.
CAFFE = Preprocess.mean_std((0.48235, 0.45882, 0.40784), (1 / 255,) * 3)


def _torchvision(name: str, build: Callable[[], nnx.Module], parameters: int, **files: str) -> Network:
    """torchvision 0.29: `get_model_weights(name)` gives the names, URLs and parameter counts below."""
    weights = []
    for key, stem in files.items():
        options = {"preprocess": CAFFE, "labels": None} if key == "IMAGENET1K_FEATURES" else {}
        digest = "sha256:" + stem.rpartition("-")[2]
        weights.append(Weights(key, f"https://download.pytorch.org/models/{stem}.pth", digest, **options))
    source = "torchvision (BSD-3-Clause); weights trained on ImageNet, whose terms apply to them"
    return Network(name, build, parameters, tuple(weights), source)


def _of(family: Callable[..., nnx.Module], *args: object, **kwargs: object) -> Callable[[], nnx.Module]:
    return functools.partial(family, *args, **kwargs)


_GOOGLE = "Google's inception5h (Apache-2.0), as a PyTorch file by ProGamerGov; trained on ImageNet"
_INCEPTION5H = Weights(
    "INCEPTION5H",
    # The address in lucent/modelzoo/inceptionv1; the blob id is git's for this file.
    "https://github.com/ProGamerGov/pytorch-old-tensorflow-models/raw/master/inception5h.pth",
    "gitblob:119f77db85c8352960933e025312b507d9a96ed7",
    preprocess=INCEPTION,
    labels="inceptionv1",
)

_LENSNET = Network(
    "lensnet",
    LensNet,
    936_919,
    (Weights("SYNTHETIC", "lensnet.safetensors", "", PREPROCESS, "lensnet"),),
    "jaxlens (Apache-2.0), trained by `python -m jaxlens.training.lensnet` on generated images; comes with the package",
    outputs=CLASSES,
    input_size=(64, 64),
    # edges and colours; stripes, dots and a boundary; rings, cells, opponent colours; an arch, a corner, a spiral, the letter A
    show=("conv2d2:2-5", "mixed3b:60,75,119,130", "mixed4b:5,65,100,137", "logits:10,24,32,65"),
)

NETWORKS = {
    network.name: network
    for network in (
        _LENSNET,
        _torchvision("alexnet", AlexNet, 61_100_840, IMAGENET1K_V1="alexnet-owt-7be5be79"),
        Network("inceptionv1", InceptionV1, 7_066_380, (_INCEPTION5H,), _GOOGLE, outputs=1008),
        _torchvision("resnet18", _of(ResNet, 18), 11_689_512, IMAGENET1K_V1="resnet18-f37072fd"),
        _torchvision("resnet34", _of(ResNet, 34), 21_797_672, IMAGENET1K_V1="resnet34-b627a593"),
        _torchvision(
            "resnet50", _of(ResNet, 50), 25_557_032, IMAGENET1K_V2="resnet50-11ad3fa6", IMAGENET1K_V1="resnet50-0676ba61"
        ),
        _torchvision(
            "resnet101", _of(ResNet, 101), 44_549_160, IMAGENET1K_V2="resnet101-cd907fc2", IMAGENET1K_V1="resnet101-63fe2227"
        ),
        _torchvision(
            "resnet152", _of(ResNet, 152), 60_192_808, IMAGENET1K_V2="resnet152-f82ba261", IMAGENET1K_V1="resnet152-394f9c45"
        ),
        _torchvision("squeezenet1_0", _of(SqueezeNet, "1_0"), 1_248_424, IMAGENET1K_V1="squeezenet1_0-b66bff10"),
        _torchvision("squeezenet1_1", _of(SqueezeNet, "1_1"), 1_235_496, IMAGENET1K_V1="squeezenet1_1-b8a52dc0"),
        _torchvision("vgg11", _of(VGG, 11), 132_863_336, IMAGENET1K_V1="vgg11-8a719046"),
        _torchvision("vgg11_bn", _of(VGG, 11, batch_norm=True), 132_868_840, IMAGENET1K_V1="vgg11_bn-6002323d"),
        _torchvision("vgg13", _of(VGG, 13), 133_047_848, IMAGENET1K_V1="vgg13-19584684"),
        _torchvision("vgg13_bn", _of(VGG, 13, batch_norm=True), 133_053_736, IMAGENET1K_V1="vgg13_bn-abd245e5"),
        _torchvision(
            "vgg16",
            _of(VGG, 16),
            138_357_544,
            IMAGENET1K_V1="vgg16-397923af",
            IMAGENET1K_FEATURES="vgg16_features-amdegroot-88682ab5",
        ),
        _torchvision("vgg16_bn", _of(VGG, 16, batch_norm=True), 138_365_992, IMAGENET1K_V1="vgg16_bn-6c64b313"),
        _torchvision("vgg19", _of(VGG, 19), 143_667_240, IMAGENET1K_V1="vgg19-dcbb9e9d"),
        _torchvision("vgg19_bn", _of(VGG, 19, batch_norm=True), 143_678_248, IMAGENET1K_V1="vgg19_bn-c79401a0"),
    )
}


def find(name: str) -> Network:
    """The network of that name, or an error that lists them."""
    if name not in NETWORKS:
        closest, all_names = suggest(str(name), NETWORKS), ", ".join(NETWORKS)
        raise LookupError(f"name={name!r} is not in the model zoo. Closest: {closest}. There are: {all_names}.")
    return NETWORKS[name]


def names() -> tuple[str, ...]:
    """The names of all networks that `modelzoo.load` knows."""
    return tuple(NETWORKS)


def weights(name: str) -> tuple[str, ...]:
    """The names of the published weights of a network, the default first."""
    return tuple(known.name for known in find(name).weights)


def _listed(weights: tuple[Weights, ...]) -> str:
    return ", ".join(repr(known.name) for known in weights)
