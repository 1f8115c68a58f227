"""Downloads whose size and hash are checked."""

import contextlib
import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from jaxlens.errors import WeightsError
from jaxlens.modelzoo._cache import temporary
from jaxlens.modelzoo._registry import Weights

_CHUNK = 1 << 20


@contextlib.contextmanager
def fetched(source: Weights, beside: Path, *, progress: bool = True, timeout: float = 30.0) -> Iterator[tuple[Path, str]]:
    """A downloaded and checked weights file, and its full digest, for the length of the `with` block.

    Args:
        source: the address, and the digest the file must have.
        beside: the file goes into the folder of this one, and is removed at the end, whatever happens.
        progress: show a progress bar on standard error.
        timeout: seconds without an answer before giving up.

    Raises:
        WeightsError: if it cannot be had, is cut short, or is not the file it claims to be.
    """
    with temporary(beside) as part:
        try:
            _stream(source, part, progress, timeout)
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            raise _failed(source, f"the server answered {error.code} {error.reason}") from error
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise _failed(source, f"no connection, or it broke ({error})") from error
        digest = digest_of(part, source.digest.partition(":")[0])
        if not digest.startswith(source.digest):
            raise _failed(source, f"the file is not the published one: expected {source.digest}, got {digest}")
        yield part, digest


def _stream(source: Weights, path: Path, progress: bool, timeout: float) -> None:
    request = urllib.request.Request(source.url, headers={"User-Agent": "jaxlens"})
    with urllib.request.urlopen(request, timeout=timeout) as response, path.open("wb") as file:
        total = int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        with tqdm(total=total, unit="B", unit_scale=True, desc=source.file, disable=not progress) as bar:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        received = file.tell()
    if total is not None and received != total:
        raise _failed(source, f"it was cut short: expected {total} bytes, got {received}")


def digest_of(path: Path, kind: str) -> str:
    """ "sha256:..." of a file, or "gitblob:...", the id git gives its contents."""
    if kind == "gitblob":
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return f"{kind}:{digest.hexdigest()}"


def _failed(source: Weights, reason: str) -> WeightsError:
    return WeightsError(
        f"Could not download {source.url}: {reason}. Try again, or download it by other means and pass "
        f"weights='path/to/{source.file}'; weights=None gives random weights."
    )
