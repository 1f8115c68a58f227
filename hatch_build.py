"""A hook of hatch: source archives hold the files that git tracks, and no others."""

import subprocess
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    """Name the files of the source archive. A tree without git is taken whole."""

    def initialize(self, version, build_data):
        """Set the files. Hatch calls this before it writes the archive."""
        root = Path(self.root)
        if (root / ".git").exists():
            listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True).stdout.decode()
            files = [name for name in listed.split("\0") if name and (root / name).is_file()]
            self.build_config.target_config["only-include"] = files
