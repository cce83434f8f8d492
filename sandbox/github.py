"""GitHub's side of a webhook: deliveries signed and shaped as GitHub makes them, for sandbox and demo."""

import hashlib
import hmac
import json
import ssl
import uuid

import httpx

_NO_OBJECT = "0" * 40


def sign(secret: str, body: bytes) -> str:
    """Return the value of X-Hub-Signature-256 for this body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def deliver(
    url: str,
    secret: str,
    *,
    repository: str,
    tag: str,
    commit: str,
    annotated: bool = True,
    deleted: bool = False,
    delivery_id: str | None = None,
    trust: ssl.SSLContext | None = None,
) -> httpx.Response:
    """Deliver the push of a tag of `repository` ("owner/name"), or its deletion; wait 10 s as GitHub does.

    `trust` knows an authority of the receiver's that the machine does not.
    """
    payload = push_payload(repository=repository, tag=tag, commit=commit, annotated=annotated, deleted=deleted)
    return send(url, secret, "push", payload, delivery_id=delivery_id, trust=trust)


def send(
    url: str,
    secret: str,
    event: str,
    payload: dict[str, object],
    *,
    delivery_id: str | None = None,
    trust: ssl.SSLContext | None = None,
) -> httpx.Response:
    """Send any event, signed."""
    body = json.dumps(payload, separators=(",", ":")).encode()
    headers = {
        "Accept": "*/*",
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/sandbox",
        "X-GitHub-Delivery": delivery_id or str(uuid.uuid4()),
        "X-GitHub-Event": event,
        "X-GitHub-Hook-ID": "1",
        "X-GitHub-Hook-Installation-Target-ID": "1",
        "X-GitHub-Hook-Installation-Target-Type": "repository",
        "X-Hub-Signature-256": sign(secret, body),
    }
    verify = True if trust is None else trust
    return httpx.post(url, content=body, headers=headers, timeout=10, trust_env=False, verify=verify)


def push_payload(
    *, repository: str, tag: str, commit: str, annotated: bool = True, deleted: bool = False
) -> dict[str, object]:
    """Return the push event of a tag, with the fields that GitHub sends and their oddities.

    `after` is the tag object of an annotated tag, the commit of a lightweight one, only zeros in a deletion.
    """
    owner, _, name = repository.partition("/")
    page = f"https://github.com/{repository}"
    pointed_at = hashlib.sha1(f"{tag} {commit}".encode()).hexdigest() if annotated else commit
    person = {"name": owner, "email": f"{owner}@users.noreply.github.com", "username": owner}
    head = {
        "id": commit,
        "tree_id": hashlib.sha1(commit.encode()).hexdigest(),
        "distinct": True,
        "message": f"Release {tag}",
        "timestamp": "2025-01-01T00:00:00Z",
        "url": f"{page}/commit/{commit}",
        "author": person,
        "committer": person,
        "added": [],
        "removed": [],
        "modified": ["package.json"],
    }
    return {
        "ref": f"refs/tags/{tag}",
        "before": pointed_at if deleted else _NO_OBJECT,
        "after": _NO_OBJECT if deleted else pointed_at,
        "repository": {
            "id": 1,
            "name": name,
            "full_name": repository,
            "private": True,
            "owner": {"name": owner, "login": owner, "type": "Organization"},
            "html_url": page,
            "clone_url": f"{page}.git",
            "default_branch": "main",
            "master_branch": "main",
        },
        "pusher": {"name": owner, "email": person["email"]},
        "sender": {"login": owner, "type": "User"},
        "created": not deleted,
        "deleted": deleted,
        "forced": False,
        "base_ref": None if deleted else "refs/heads/main",
        "compare": f"{page}/compare/{tag}",
        "commits": [],
        "head_commit": None if deleted else head,
    }
