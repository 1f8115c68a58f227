"""Download files, and check their size and hash."""

import contextlib
import hashlib
import http.client
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tqdm import tqdm

from jaxlens._checks import one_line
from jaxlens._files import temporary
from jaxlens.errors import DownloadError

_CHUNK = 1 << 20
_SLOWEST = 1024  # bytes per second: less is a stalled connection


@runtime_checkable
class Remote(Protocol):
    """A published file.

    Attributes:
        url: its address.
        digest: "sha256:", "md5:" or "gitblob:" and the first digits.
        sizes: the least and the most bytes it may have. With few digits, a file of any size could
            easily be made to match.
    """

    @property
    def url(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def sizes(self) -> tuple[int, int]: ...


@contextlib.contextmanager
def fetched(
    source: Remote, beside: Path, *, advice: str = "", progress: bool = True, timeout: float = 30.0
) -> Iterator[tuple[Path, str]]:
    """Yield a downloaded and checked file and its digest; delete it after the `with` block.

    Args:
        source: the address, and the digest that the file must have.
        beside: the file goes into the folder of this path.
        advice: what the user can do instead, for the error.
        progress: show a progress bar on standard error.
        timeout: give up after so many seconds without an answer, or with less than 1024 bytes in
            each.

    Raises:
        DownloadError: if the file cannot be downloaded, is cut short, or is not the published one;
            nothing beyond its size is read.
    """

    def failed(reason: str) -> DownloadError:
        return DownloadError(f"Could not download {source.url}: {reason}. Try again. {advice}".strip())

    with temporary(beside) as part:
        try:
            expected, received = _stream(source, part, progress, timeout)
        except _Refused as error:
            raise failed(str(error)) from error
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            raise failed(f"the server answered {error.code} {one_line(error.reason)}") from error
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise failed(f"no connection, or it broke ({one_line(error)})") from error
        if expected not in (None, received):
            raise failed(f"it was cut short: expected {expected} bytes, got {received}")
        digest = digest_of(part, source.digest.partition(":")[0])
        if not digest.startswith(source.digest):
            raise failed(f"the file is not the published one: expected {source.digest}, got {digest}")
        yield part, digest


class _Refused(Exception):
    """The server answers, but not with the file."""


def _stream(source: Remote, path: Path, progress: bool, timeout: float) -> tuple[int | None, int]:
    """Download to `path`; return how many bytes were promised and received."""
    with _opened(source, timeout) as response, path.open("wb") as file:
        if (total := _promised(response.headers["Content-Length"])) is not None:
            _check_size(source, total)
        began, got = time.monotonic(), 0  # of the last few seconds
        with tqdm(total=total, unit="B", unit_scale=True, desc=source.url.rpartition("/")[2], disable=not progress) as bar:
            while chunk := _read(response):
                file.write(chunk)
                bar.update(len(chunk))
                if file.tell() > source.sizes[1]:
                    _check_size(source, file.tell())
                got += len(chunk)
                if (seconds := time.monotonic() - began) > timeout:
                    if got < _SLOWEST * seconds:
                        raise TimeoutError(f"timed out: {got} bytes in {seconds:.0f} s")
                    began, got = time.monotonic(), 0
        if total is None:
            _check_size(source, file.tell())
        return total, file.tell()


def _opened(source: Remote, timeout: float) -> Any:
    request = urllib.request.Request(source.url, headers={"User-Agent": "jaxlens"})
    try:
        response = _answered(request, timeout)
    except ValueError as error:  # an address to which it redirects is none
        raise urllib.error.URLError(error) from error
    if source.url.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        raise _Refused(f"the server redirects to {one_line(response.url)}, which anybody on the way could change")
    return response


def _answered(request: urllib.request.Request, timeout: float) -> Any:
    """Return a response whose headers all came in time; `urlopen` would wait as long per letter."""
    connections: list[Any] = []

    def watched(kind: Any) -> Any:
        def connection(host: str, **options: Any) -> Any:
            connections.append(kind(host, **options))
            return connections[-1]

        return connection

    class Plain(urllib.request.HTTPHandler):
        def http_open(self, req: Any) -> Any:
            return self.do_open(watched(http.client.HTTPConnection), req)

    class Encrypted(urllib.request.HTTPSHandler):
        def https_open(self, req: Any) -> Any:
            return self.do_open(watched(http.client.HTTPSConnection), req)

    late = threading.Event()

    def cut() -> None:
        late.set()
        for each in connections:
            with contextlib.suppress(OSError, AttributeError):  # closed, or not yet open
                each.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout, cut)
    timer.daemon = True
    timer.start()
    try:
        response = urllib.request.build_opener(Plain, Encrypted).open(request, timeout=timeout)
    except (OSError, http.client.HTTPException) as error:
        if late.is_set():
            raise TimeoutError(f"timed out: no whole answer in {timeout:g} s") from error
        raise
    finally:
        timer.cancel()
    if late.is_set():
        response.close()
        raise TimeoutError(f"timed out: no whole answer in {timeout:g} s")
    return response


def _read(response: Any) -> bytes:
    """Return what has arrived, so that a slow connection is noticed."""
    try:
        return response.read1(_CHUNK)
    except OSError as error:  # of the connection: those of the file on disk stay
        raise urllib.error.URLError(error) from error


def _promised(length: str | None) -> int | None:
    if length is not None and not (length.isascii() and length.isdecimal() and len(length) < 20):
        raise _Refused(f"the server says that it has {one_line(repr(length), 50)} bytes")
    return None if length is None else int(length)


def _check_size(source: Remote, size: int) -> None:
    least, most = source.sizes
    if not least <= size <= most:
        legal = f"{least} to {most}" if least else f"at most {most}"
        raise _Refused(f"the file is not the published one: expected {legal} bytes, got {size} or more")


def digest_of(path: Path, kind: str) -> str:
    """Return "sha256:...", "md5:..." or "gitblob:..." (the id git gives the contents) of a file."""
    if kind == "gitblob":
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return f"{kind}:{digest.hexdigest()}"
