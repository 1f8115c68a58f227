"""Downloads: good, truncated, tampered, absent, interrupted, stalled, killed."""

import dataclasses
import subprocess
import sys
import time
import urllib.request

import pytest

from jaxlens import _download, _files
from jaxlens.errors import DownloadError
from jaxlens.modelzoo import _registry

BODY = bytes(range(256)) * 5000  # more than one chunk


def fetch(source, folder, **options):
    with _download.fetched(source, folder / "target", advice="Or use a letter.", progress=False, **options) as (path, digest):
        return path.read_bytes(), digest


def assert_clean(folder):
    assert list(folder.iterdir()) == []


def test_a_good_file(server, tmp_path):
    body, digest = fetch(server.put("net-good.pth", BODY), tmp_path)
    assert body == BODY
    assert digest.startswith("sha256:") and len(digest) == len("sha256:") + 64
    assert_clean(tmp_path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"promised": len(BODY) + 10}, f"expected {len(BODY) + 10} bytes, got {len(BODY)}|broke"),
        ({"status": 404}, "answered 404"),
        ({"status": 503}, "answered 503"),
        ({"promised": len(BODY) + 10, "stall": True}, "timed out"),
    ],
    ids=["truncated", "absent", "busy", "stalled"],
)
def test_a_failed_download_says_what_to_do_and_leaves_nothing(server, tmp_path, options, reason):
    source = server.put("net.pth", BODY, **options)
    with pytest.raises(DownloadError, match=reason) as caught:
        fetch(source, tmp_path, timeout=0.5)
    assert source.url in str(caught.value)
    assert "Or use a letter." in str(caught.value)
    assert_clean(tmp_path)


@pytest.mark.parametrize("length", ["abc", "-5", "1e3", "9" * 5000, " "])
def test_a_size_that_is_no_number(server, tmp_path, length):
    source = server.put("net.pth", BODY, promised=length)
    with pytest.raises(DownloadError, match=r"the server says that it has '|the file is not the published one"):
        fetch(source, tmp_path)
    assert_clean(tmp_path)


def test_more_than_the_published_size_is_not_read(server, tmp_path):
    source = server.put("net.pth", bytes(1 << 20), promised="", times=1 << 20)  # 1 TiB, unannounced
    for known, most in ((None, 1 << 28), (3.5, round(3.501 * 2**20))):
        with pytest.raises(DownloadError, match=rf"expected .*{most} bytes, got \d+ or more"):
            fetch(dataclasses.replace(source, mebibytes=known), tmp_path)
    server.put("net.pth", b"", promised=1 << 50)
    with pytest.raises(DownloadError, match=f"expected at most {1 << 28} bytes, got {1 << 50}"):
        fetch(source, tmp_path)
    assert_clean(tmp_path)


def test_a_file_of_another_size_is_refused_before_its_digest(server, tmp_path):
    source = server.put("net.pth", BODY)
    right = round(len(BODY) / 2**20, 3)
    assert fetch(dataclasses.replace(source, mebibytes=right), tmp_path)[0] == BODY
    for announced in (None, ""):
        server.put("net.pth", BODY, promised=announced)
        with pytest.raises(DownloadError, match=f"not the published one: expected 1.* bytes, got {len(BODY)}"):
            fetch(dataclasses.replace(source, mebibytes=right + 0.01), tmp_path)
    assert_clean(tmp_path)


def test_a_connection_that_trickles_ends(server, tmp_path):
    source = server.put("net.pth", b"x", promised=10**6, times=10**6, pause=0.02)
    with pytest.raises(DownloadError, match=r"timed out: \d+ bytes in"):
        fetch(source, tmp_path, timeout=0.5)
    assert_clean(tmp_path)


def test_headers_that_trickle_end(server, tmp_path):
    source = server.put("net.pth", BODY, headers=200)
    began = time.monotonic()
    with pytest.raises(DownloadError, match=r"timed out: no whole answer in 0\.5 s"):
        fetch(source, tmp_path, timeout=0.5)
    assert time.monotonic() - began < 5
    assert_clean(tmp_path)


def test_what_a_server_says_is_cleaned(server, tmp_path):
    source = server.put("net.pth", status=404, reason="gone\x1b]0;owned\x07 away")
    with pytest.raises(DownloadError, match=r"answered 404 gone \]0;owned  away\. Try again") as caught:
        fetch(source, tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("location", ["ftp://localhost/net.pth", "file:///etc/passwd", "http://[::1", "gopher:"])
def test_a_redirect_to_another_protocol(server, tmp_path, location):
    source = server.put("net.pth", status=302, location=location)
    with pytest.raises(DownloadError, match=r"Could not download .*net.pth"):
        fetch(source, tmp_path, timeout=1)
    assert_clean(tmp_path)


def test_https_that_redirects_to_http_is_refused(server, tmp_path, monkeypatch):
    plain = server.put("net.pth", BODY)
    source = dataclasses.replace(plain, url="https://example.invalid/net.pth")
    monkeypatch.setattr(_download, "_answered", lambda _, timeout: urllib.request.urlopen(plain.url, timeout=timeout))
    with pytest.raises(DownloadError, match="redirects to http://127.0.0.1:.*, which anybody on the way could"):
        fetch(source, tmp_path)
    assert_clean(tmp_path)


def test_a_tampered_file(server, tmp_path):
    source = server.put("net.pth", BODY)
    server.put("net.pth", BODY[:-1] + b"\0")
    with pytest.raises(DownloadError, match=rf"expected {source.digest}, got sha256:[0-9a-f]{{64}}"):
        fetch(source, tmp_path)
    assert_clean(tmp_path)


def test_no_connection(tmp_path):
    source = _registry.Weights("LOCAL", "http://127.0.0.1:9/net.pth", "sha256:00000000")  # nobody listens on port 9
    with pytest.raises(DownloadError, match="no connection, or it broke"):
        fetch(source, tmp_path)


def test_an_interrupted_download_leaves_nothing(server, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_download.tqdm, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(server.put("net.pth", BODY), tmp_path)
    assert_clean(tmp_path)


def test_git_blob_id(server, tmp_path):
    # `printf 'hello\n' | git hash-object --stdin`
    source = server.put("hello", b"hello\n")
    blob = "gitblob:ce013625030ba8dba906f756967f9e9ca394464a"
    assert fetch(dataclasses.replace(source, digest=blob), tmp_path)[1] == blob
    with pytest.raises(DownloadError, match="expected gitblob:de013625"):
        fetch(dataclasses.replace(source, digest=blob.replace("ce01", "de01")), tmp_path)


def test_a_killed_process_leaves_no_file_under_the_final_name(server, tmp_path):
    source = server.put("net.pth", BODY, promised=2 * len(BODY), stall=True)
    code = f"""
import pathlib
from jaxlens import _download
from jaxlens.modelzoo import _registry
source = _registry.Weights("LOCAL", {source.url!r}, "sha256:00")
with _download.fetched(source, pathlib.Path({str(tmp_path)!r}) / "target", progress=False): pass
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size for path in tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    (part,) = tmp_path.iterdir()
    assert part.name.startswith(".target.") and part.suffix == ".part"


def test_an_atomic_write_that_fails_keeps_the_old_file_and_stale_parts_go(tmp_path, monkeypatch):
    final, stale = tmp_path / "final", tmp_path / ".final.abc.part"
    final.write_text("old")
    stale.write_text("left by a killed process")
    with pytest.raises(ZeroDivisionError), _files.atomic(final) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert final.read_text() == "old" and stale.exists()
    (tmp_path / ".final.folder.part" / "inner").mkdir(parents=True)
    monkeypatch.setattr(_files, "_STALE_SECONDS", -1)
    with _files.atomic(final) as part:
        part.write_text("new")
    assert final.read_text() == "new" and list(tmp_path.iterdir()) == [final]
