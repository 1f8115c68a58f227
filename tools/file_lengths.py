"""A check that no file of code has more than 400 lines: `python -m tools.file_lengths`."""

import subprocess
import sys
from pathlib import Path

MOST = 400
SUFFIXES = (".py", ".sh", ".js", ".css")


def too_long(root: Path) -> list[str]:
    """Return the tracked files of code in a checkout that are longer, with their lengths."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True).stdout
    paths = [root / name for name in listed.split("\0") if name.endswith(SUFFIXES)]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths if path.is_file()}
    return [f"{path.relative_to(root)}: {lines} lines, {MOST} at most" for path, lines in lengths.items() if lines > MOST]


def main() -> int:
    """Print them, and return whether there are any."""
    found = too_long(Path(__file__).parents[1])
    print("\n".join(found) or f"no file is longer than {MOST} lines")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
