"""Servers on loopback that answer with any bytes, at any pace, with or without TLS; and certificates for them."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from socket import SHUT_RDWR, create_server, socket

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = Callable[[socket, bytes], object]  # gets the connection and the request; the connection is closed afterwards


@dataclass
class Wire:
    """A running server. `requests` has what it received."""

    url: str
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    ended: threading.Event = field(default_factory=threading.Event)  # set when the test ends


@contextmanager
def answering(
    answer: Answer,
    tls: ssl.SSLContext | None = None,
    repeat: bool = False,
    read: Callable[[socket], bytes] | None = None,
) -> Iterator[Wire]:
    """Serve: read each request and pass it to `answer`; on the same connection until it ends, if `repeat` is set."""
    read = read or read_request
    with create_server(("127.0.0.1", 0)) as listener:
        scheme = "http" if tls is None else "https"
        wire = Wire(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
        threads = []

        def serve(plain: socket) -> None:
            with suppress(OSError), plain if tls is None else tls.wrap_socket(plain, server_side=True) as connection:
                while request := read(connection):
                    wire.requests.append(request)
                    answer(connection, request)
                    if not repeat:
                        break
                with suppress(OSError):
                    connection.shutdown(SHUT_RDWR)

        def accept() -> None:
            while not wire.ended.is_set():
                with suppress(OSError):
                    connection, _ = listener.accept()
                    wire.connections += 1
                    threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
                    threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield wire
        finally:
            wire.ended.set()
            with suppress(OSError):
                listener.shutdown(SHUT_RDWR)
            accepting.join(10)
            for thread in threads:
                thread.join(10)


def read_request(connection: socket) -> bytes:
    """One request with its body; empty at the end of the connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            return b""
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while len(body) < sum(lengths):
        part = connection.recv(65536)
        if not part:
            return b""
        body += part
    return head + b"\r\n\r\n" + body


def http(content: bytes | str, status: int | str = 200, **headers: str) -> bytes:
    """An HTTP response."""
    content = content.encode() if isinstance(content, str) else content
    lines = [f"HTTP/1.1 {status} Any", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, in files."""

    file: Path

    @property
    def context(self) -> ssl.SSLContext:
        """For a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        return context


def certificate(folder: Path, name: str = "127.0.0.1", days: int = 1) -> Certificate:
    """A certificate for a host that is its own authority; one that has expired, if `days` is negative."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    host: x509.GeneralName
    try:
        host = x509.IPAddress(ip_address(name))
    except ValueError:
        host = x509.DNSName(name)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}_{days}.pem"
    encoding = serialization.Encoding.PEM
    file.write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(encoding)
    )
    return Certificate(file)
