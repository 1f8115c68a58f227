"""Pretrained image networks in Flax NNX, under PyTorch's names."""

from jaxlens._files import cache_dir as cache_dir
from jaxlens.modelzoo._load import Info as Info
from jaxlens.modelzoo._load import architecture as architecture
from jaxlens.modelzoo._load import info as info
from jaxlens.modelzoo._load import load as load
from jaxlens.modelzoo._load import save as save
from jaxlens.modelzoo._registry import names as names
from jaxlens.modelzoo._registry import weights as weights
from jaxlens.modelzoo.simplecnn import simple_cnn as simple_cnn
