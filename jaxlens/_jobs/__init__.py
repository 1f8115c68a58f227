"""Long work in a folder, which survives interruption and which several processes may share.

A job makes *items*. Each item is one file and has a number in a named *group*: a channel of a
layer, a cell of an atlas, a part of a dataset. Items are claimed and made in *chunks*, always the
same ones. The folder's `manifest.json` holds the settings that all of them were made with.
"""

from jaxlens._jobs._chunks import Chunk as Chunk
from jaxlens._jobs._manifest import Manifest as Manifest
from jaxlens._jobs._run import Made as Made
from jaxlens._jobs._run import Maker as Maker
from jaxlens._jobs._run import run as run
