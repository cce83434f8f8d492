"""GitHub's REST API, to read: what a commit's checks say.

https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from core.errors import Permanent, Transient
from core.github_checks import SeenCheck, of_run, of_status

__all__ = ["GitHub"]

_TIMEOUT = 10.0
_PAGES = 100
_VERSION = "2022-11-28"
_NEXT = re.compile(r'<([^>]+)>\s*;[^,]*\brel="next"')


@dataclass(frozen=True)
class GitHub:
    """One repository at GitHub, read with a token that is shown to the API's own host alone."""

    api: str
    repository: str
    token: str = field(repr=False)

    def checks_of(self, commit: str) -> tuple[SeenCheck, ...]:
        """Return a commit's check runs, the newest of each suite, and its commit statuses.

        Raises `Transient` where GitHub does not answer or wants to be asked later, `Permanent` where it refuses.
        """
        at = f"{self.api.rstrip('/')}/repos/{self.repository}/commits/{commit}"
        with httpx.Client(headers=self._headers, timeout=_TIMEOUT, follow_redirects=False) as client:
            runs = [
                of_run(run["name"], run["status"], run["conclusion"])
                for page in self._pages(client, f"{at}/check-runs?filter=latest&per_page=100")
                for run in page["check_runs"]
            ]
            statuses = [
                of_status(status["context"], status["state"])
                for page in self._pages(client, f"{at}/status?per_page=100")
                for status in page["statuses"]
            ]
        return (*runs, *statuses)

    @property
    def _headers(self) -> dict[str, str]:
        return {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self.token}",
            "X-GitHub-Api-Version": _VERSION,
        }

    def _pages(self, client: httpx.Client, url: str) -> Iterator[dict[str, Any]]:
        for _ in range(_PAGES):
            response = self._get(client, url)
            try:
                page: dict[str, Any] = response.json()
            except ValueError as error:
                raise Transient("GitHub's answer is not valid JSON", why=url) from error
            yield page
            following = _NEXT.search(response.headers.get("Link", ""))
            if following is None:
                return
            if urlsplit(following[1])[:2] != urlsplit(self.api)[:2]:  # scheme and host
                raise Permanent(
                    "GitHub's answer leads to another host", why=following[1], do="Check source.github_api."
                )
            url = following[1]
        raise Permanent("GitHub's answer does not end", why=f"after {_PAGES} pages of {self.repository}")

    def _get(self, client: httpx.Client, url: str) -> httpx.Response:
        try:
            response = client.get(url)
        except httpx.HTTPError as error:
            raise Transient("GitHub does not answer", why=f"{type(error).__name__}: {error}") from error
        if response.status_code == 200:
            return response
        reason = f"{response.status_code} from {url.partition('?')[0]}"
        if response.status_code >= 500 or _is_throttled(response):
            raise Transient("GitHub does not answer", why=reason)
        raise Permanent(
            "GitHub refuses to say what the commit's checks are",
            why=reason,
            do="Give POINTSMAN_SOURCE_TOKEN the rights to read checks and commit statuses of the repository, and check "
            "source.github_repository and source.github_api.",
        )


def _is_throttled(response: httpx.Response) -> bool:
    """https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api."""
    if response.status_code == 429:
        return True
    limited = response.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in response.headers
    return response.status_code == 403 and limited
