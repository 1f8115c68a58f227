"""A web server on this machine that can misbehave, and files to serve."""

import contextlib
import dataclasses
import hashlib
import http.server
import threading

import pytest

from jaxlens.modelzoo import _registry


@dataclasses.dataclass
class Answer:
    """What the server says for a path: `promised` bytes announced, `body` sent; then it hangs up,
    or `stall`s.

    `promised` may be any text, or "" for no announcement; the body is sent `times` over, with
    `pause` seconds between. Before it come `headers` more headers, one every 0.1 s.
    """

    body: bytes = b""
    status: int = 200
    promised: int | str | None = None
    stall: bool = False
    reason: str | None = None
    times: int = 1
    pause: float = 0
    location: str | None = None
    headers: int = 0


class Server:
    def __init__(self, url):
        self.url, self.answers, self.requests = url, {}, []
        self.done = threading.Event()

    def put(self, path, body=b"", **options):
        """Serves `body` at `path`; returns its registry entry."""
        self.answers[f"/{path}"] = Answer(body, **options)
        return _registry.Weights("LOCAL", f"{self.url}/{path}", f"sha256:{hashlib.sha256(body).hexdigest()[:8]}")


@pytest.fixture
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer = served.answers.get(self.path, Answer(status=404))
            served.requests.append(self.path)
            self.send_response(answer.status, answer.reason)
            if answer.promised != "":
                self.send_header("Content-Length", str(len(answer.body) if answer.promised is None else answer.promised))
            for number in range(answer.headers):
                self.send_header(f"X-{number}", "slow")
                with contextlib.suppress(ConnectionError):
                    self.flush_headers()
                if served.done.wait(0.1):
                    break
            if answer.location is not None:
                self.send_header("Location", answer.location)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                for _ in range(answer.times):
                    self.wfile.write(answer.body)
                    self.wfile.flush()
                    if answer.pause and served.done.wait(answer.pause):
                        break
                if answer.stall:
                    served.done.wait(60)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        served = Server(f"http://127.0.0.1:{running.server_port}")
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.done.set()
        running.shutdown()
        thread.join()
