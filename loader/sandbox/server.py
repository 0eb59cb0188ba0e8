"""The sandbox as an HTTP/1.1 server, by default on loopback."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loader.errors import ConfigurationError
from loader.sandbox.anycost import AnyCostSandbox

DRAINED_BYTES = 64_000_000  # of a body over the limit that are read and discarded, so that the client sees the 413


@dataclass(frozen=True)
class SandboxServer:
    """A running sandbox."""

    url: str
    sandbox: AnyCostSandbox


@contextmanager
def serve_sandbox(sandbox: AnyCostSandbox, host: str = "127.0.0.1", port: int = 0) -> Iterator[SandboxServer]:
    """Serve in the background until the block ends. Port 0 means any free port.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    server = _listen(sandbox, host, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield SandboxServer(_url(server), sandbox)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run_sandbox(sandbox: AnyCostSandbox, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    server = _listen(sandbox, host, port)
    announce(f"AnyCost sandbox on {_url(server)}: see its state at /, or as JSON at /state. Ctrl-C stops it.")

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    with suppress(KeyboardInterrupt):
        server.serve_forever(poll_interval=0.2)
    server.server_close()


def _listen(sandbox: AnyCostSandbox, host: str, port: int) -> ThreadingHTTPServer:
    class Handler(_Handler):
        core = sandbox

    try:
        return _Server((host, port), Handler)
    except OSError as error:
        raise ConfigurationError(
            f"The sandbox cannot listen on {host}:{port}: {error.strerror or error}. Choose another --port."
        ) from error


def _url(server: ThreadingHTTPServer) -> str:
    host, port = server.server_address[:2]
    name = host.decode() if isinstance(host, bytes) else str(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report errors, except when the client has disconnected."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # which would delay each body until the headers are acknowledged: 40 ms
    core: AnyCostSandbox

    def do_GET(self) -> None:
        """Answer a GET."""
        self._respond(None)

    def do_POST(self) -> None:
        """Answer a POST."""
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            self.send_error(411)
            return
        if length > max(self.core.limits.body_bytes, 0) + DRAINED_BYTES:
            self.close_connection = True
            self._respond(None)
        else:
            body = self.rfile.read(length)
            if len(body) < length:
                # The client disconnected. An incomplete request has no effect, and its key is not stored.
                self.close_connection = True
            else:
                self._respond(body)

    def _respond(self, body: bytes | None) -> None:
        response = self.core.handle(self.command, self.path, dict(self.headers.items()), body)
        if response.is_cut:
            self.close_connection = True
            return
        # The client may have disconnected; the response stays stored under its idempotency key.
        with suppress(ConnectionError):
            self.send_response(response.status)
            self.send_header("Content-Type", response.content_type)
            self.send_header("Content-Length", str(len(response.body)))
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(response.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing: the state has the requests."""
