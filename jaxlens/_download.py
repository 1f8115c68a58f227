"""Downloads whose size and hash are checked."""

import contextlib
import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from tqdm import tqdm

from jaxlens._files import temporary
from jaxlens.errors import DownloadError

_CHUNK = 1 << 20


@runtime_checkable
class Remote(Protocol):
    """A published file: its address and its digest, "sha256:", "md5:" or "gitblob:" and the first digits."""

    @property
    def url(self) -> str: ...
    @property
    def digest(self) -> str: ...


@contextlib.contextmanager
def fetched(
    source: Remote, beside: Path, *, advice: str = "", progress: bool = True, timeout: float = 30.0
) -> Iterator[tuple[Path, str]]:
    """A downloaded and checked file, and its full digest, for the length of the `with` block.

    Args:
        source: the address, and the digest the file must have.
        beside: the file goes into the folder of this one, and is removed at the end, whatever happens.
        advice: what the error message says can be done instead.
        progress: show a progress bar on standard error.
        timeout: seconds without an answer before giving up.

    Raises:
        DownloadError: if it cannot be had, is cut short, or is not the file it claims to be.
    """

    def failed(reason: str) -> DownloadError:
        return DownloadError(f"Could not download {source.url}: {reason}. Try again. {advice}".strip())

    with temporary(beside) as part:
        try:
            expected, received = _stream(source, part, progress, timeout)
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            raise failed(f"the server answered {error.code} {error.reason}") from error
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise failed(f"no connection, or it broke ({error})") from error
        if expected not in (None, received):
            raise failed(f"it was cut short: expected {expected} bytes, got {received}")
        digest = digest_of(part, source.digest.partition(":")[0])
        if not digest.startswith(source.digest):
            raise failed(f"the file is not the published one: expected {source.digest}, got {digest}")
        yield part, digest


def _stream(source: Remote, path: Path, progress: bool, timeout: float) -> tuple[int | None, int]:
    """Promised and received bytes."""
    request = urllib.request.Request(source.url, headers={"User-Agent": "jaxlens"})
    with urllib.request.urlopen(request, timeout=timeout) as response, path.open("wb") as file:
        total = int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        with tqdm(total=total, unit="B", unit_scale=True, desc=source.url.rpartition("/")[2], disable=not progress) as bar:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        return total, file.tell()


def digest_of(path: Path, kind: str) -> str:
    """ "sha256:..." or "md5:..." of a file, or "gitblob:...", the id git gives its contents."""
    if kind == "gitblob":
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return f"{kind}:{digest.hexdigest()}"
