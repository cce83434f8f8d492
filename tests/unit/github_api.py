"""A small HTTP server in the place of GitHub's REST API: a commit's check runs and statuses, in pages."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "ghp_secret"


@dataclass
class GitHubApi:
    """What it knows of commits, what goes wrong at the next requests, and what it was asked."""

    runs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    statuses: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    page_size: int = 100
    faults: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers of the next answers, before it answers as it should."""
    later: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    """Check runs of each commit from so many requests on."""
    paths: list[str] = field(default_factory=list)
    next_host: str | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ran(self, commit: str, name: str, conclusion: str | None) -> None:
        """Note a check run; one without conclusion is under way."""
        status = "in_progress" if conclusion is None else "completed"
        self.runs.setdefault(commit, []).append({"name": name, "status": status, "conclusion": conclusion})

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, str], Any]:
        self.paths.append(path)
        if self.faults:
            status, headers = self.faults.pop(0)
            return status, headers, {"message": "said so"}
        if authorization != f"Bearer {TOKEN}":
            return 401, {}, {"message": "Bad credentials"}
        parts = urlsplit(path)
        owner, repository, commit, kind = parts.path.split("/")[-5:-3] + parts.path.split("/")[-2:]
        if (owner, repository) != ("team", "shop"):
            return 404, {}, {"message": "Not Found"}
        if kind == "check-runs":
            found = next((runs for at, runs in self.later.items() if len(self.paths) >= at), None)
            return self._page(parts.query, path, "check_runs", found or self.runs.get(commit, []))
        return self._page(parts.query, path, "statuses", self.statuses.get(commit, []))

    def _page(self, query: str, path: str, name: str, all_of_them: list[Any]) -> tuple[int, dict[str, str], Any]:
        number = int(parse_qs(query).get("page", ["1"])[0])
        start = (number - 1) * self.page_size
        headers = {}
        if start + self.page_size < len(all_of_them):
            base = path.partition("?")[0]
            host = self.next_host or self.url
            headers["Link"] = f'<{host}{base}?page={number + 1}>; rel="next", <{host}{base}?page=9>; rel="last"'
        return 200, headers, {"total_count": len(all_of_them), name: all_of_them[start : start + self.page_size]}


@contextmanager
def serving() -> Iterator[GitHubApi]:
    api = GitHubApi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = api.answer(self.path, self.headers.get("Authorization", ""))
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.port = server.server_port
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
