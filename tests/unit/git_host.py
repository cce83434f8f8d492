"""Real git repositories, and hosts that serve them over HTTPS as GitHub does."""

from __future__ import annotations

import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def git(directory: Path, *arguments: str) -> str:
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com"}
    identity |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com", "GIT_CONFIG_GLOBAL": os.devnull}
    allowed = ["-c", "protocol.file.allow=always"]
    done = subprocess.run(
        ["git", *allowed, *arguments],
        cwd=directory,
        env={**os.environ, **identity},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def make_repository(at: Path) -> Path:
    at.mkdir(parents=True)
    git(at, "init", "--quiet", "--initial-branch=main")
    git(at, "config", "uploadpack.allowFilter", "true")
    lock = at / "prisma/migrations/migration_lock.toml"
    lock.parent.mkdir(parents=True)
    lock.write_text('provider = "postgresql"\n')
    return at


def commit(repository: Path, message: str, **files: str) -> str:
    """Commit files, with `__` for a slash in a name and `_dot_` for a leading dot."""
    for name, text in files.items():
        path = repository / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(repository, "rev-parse", "HEAD")


@dataclass
class GitHost:
    """One host: which folder it serves, what it asks for, where it sends askers on, and what it was shown."""

    root: Path
    authorization: str | None = None
    sends_on_to: str | None = None
    port: int = 0
    asked: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@contextmanager
def serving(host: GitHost, certificate: Path) -> Iterator[GitHost]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            shown = self.headers.get("Authorization")
            host.asked.append(f"{self.command} {self.path}")
            host.shown.extend([shown] if shown else [])
            if host.sends_on_to:
                self._send(301, {"Location": f"{host.sends_on_to}{self.path}"})
            elif host.authorization and shown != host.authorization:
                self._send(401, {"WWW-Authenticate": "Basic"})
            else:
                self._send(*_backend(host.root, self, body))

        do_POST = do_GET  # noqa: N815 - the base class's name

        def _send(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    host.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()


def _backend(root: Path, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
    """What git's own server for HTTP answers: status, headers, content."""
    done = subprocess.run(
        ["git", "http-backend"], input=body, env=_cgi(root, request), capture_output=True, check=False
    )
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
    return int(headers.pop("Status", "200").split()[0]), headers, content


def _cgi(root: Path, request: BaseHTTPRequestHandler) -> dict[str, str]:
    path, _, query = request.path.partition("?")
    return {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "REQUEST_METHOD": request.command,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": request.headers.get("Content-Length", ""),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
    }


def make_certificate(at: Path) -> Path:
    """Make a certificate for this machine's loopback address, its key in the same file."""
    key, made = at / "key.pem", at / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made)),
        ],
        capture_output=True,
        check=True,
    )
    made.write_text(made.read_text() + key.read_text())
    return made
