"""What an event from GitHub asks of us: event name, parsed payload and our repository in, a decision out.

No I/O. Whether the sender may ask at all (the signature) is decided before anything here runs.
Payload fields: https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
"""

import re
from dataclasses import dataclass
from typing import TypeAlias

from core.errors import Refused, cut
from core.tag_pattern import ANY_VERSION, TagPattern

TAG_PREFIX = "refs/tags/"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True)
class Release:
    """A version tag was pushed: release `tag`, which points at `commit`."""

    tag: str
    commit: str


@dataclass(frozen=True)
class Pong:
    """GitHub asks whether we listen; `sentence` also says what is wrong with the hook, if anything is."""

    sentence: str


@dataclass(frozen=True)
class Ignore:
    """A sound delivery that asks nothing of us, and why."""

    reason: str


@dataclass(frozen=True)
class Reject:
    """A delivery that we can't follow: HTTP status, and a sentence with what would be right."""

    status: int
    sentence: str


Decision: TypeAlias = Release | Pong | Ignore | Reject


@dataclass(frozen=True)
class Wanted:
    """What one environment releases: the "owner/name" of its source, which tags of it, and whether pre-releases."""

    repository: str
    tags: TagPattern = ANY_VERSION
    prereleases: bool = False


def decide(event: str | None, payload: object, wanted: Wanted) -> Decision:
    """Decide about one delivery: X-GitHub-Event, the parsed body, and what the environment releases."""
    if not event:
        return Reject(400, "The header X-GitHub-Event is missing, so this is not a delivery from GitHub.")
    if not isinstance(payload, dict):
        return Reject(400, "The body is valid JSON but not an object, so this is not an event from GitHub.")
    if event == "ping":
        return Pong(_answer_ping(payload, wanted))
    if event != "push":
        return Ignore(f"Only push events start a release; this is {_quoted(event)}.")
    return _decide_push(payload, wanted)


def run_key(environment: str, repository: str, release: Release) -> str:
    """The idempotency key of a release's flow run: whatever differs in one of the four is another run."""
    return f"release:{environment}:{repository.casefold()}:{release.tag}:{release.commit}"


def _decide_push(payload: dict[str, object], wanted: Wanted) -> Decision:
    repository = wanted.repository
    sender = _full_name(payload)
    if sender is None:
        return _missing("repository.full_name")
    if sender.casefold() != repository.casefold():
        return Ignore(f"This receiver releases {repository}; the push is to {_quoted(sender)}.")
    ref, after = payload.get("ref"), payload.get("after")
    if not isinstance(ref, str):
        return _missing("ref")
    if not ref.startswith(TAG_PREFIX):
        return Ignore(f"Only tags are released; {_quoted(ref)} is not a tag.")
    tag = ref.removeprefix(TAG_PREFIX)
    if payload.get("deleted") is True or (isinstance(after, str) and after and not after.strip("0")):
        return Ignore(f"Tag {_quoted(tag)} was deleted; what it released is not affected.")
    if not wanted.tags.fits(tag):
        return Ignore(f"Only tags of the form {wanted.tags.form} are released; {_quoted(tag)} is not one.")
    try:
        version = wanted.tags.version_of(tag)
    except Refused as refusal:
        return Reject(422, cut(str(refusal)))
    if version.is_prerelease and not wanted.prereleases:
        return Ignore(
            f"{_quoted(tag)} is a pre-release, which this environment does not accept (prereleases = true would)."
        )
    # `after` of an annotated tag is the tag object, so head_commit gives the commit for both kinds of tag.
    # Where the tag names no commit (but a tree or a file), and from older servers for every tag, it is null.
    # https://github.blog/changelog/2021-10-01-the-push-webhook-payload-provides-a-consistent-head_commit-on-tag-creation/
    head = payload.get("head_commit")
    if head is None and "head_commit" in payload:
        return Reject(
            422,
            f"The push of {_quoted(tag)} names no commit (head_commit is null), so nothing is released from it: tag a "
            "commit, or start the run by hand as docs/webhook.md says.",
        )
    commit = head.get("id") if isinstance(head, dict) else None
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        return _missing("head_commit.id")
    return Release(tag, commit)


def _answer_ping(payload: dict[str, object], wanted: Wanted) -> str:
    repository = wanted.repository
    hook = payload.get("hook")
    events = hook.get("events") if isinstance(hook, dict) else None
    sender = _full_name(payload)
    if sender is not None and sender.casefold() != repository.casefold():
        return f"Listening, but for {repository}: pushes to {_quoted(sender)} are ignored."
    if isinstance(events, list) and not {"push", "*"} & {event for event in events if isinstance(event, str)}:
        return "Listening, but this webhook sends no push events: enable them in its settings."
    return f"Listening: a tag {wanted.tags.form} pushed to {repository} is released."


def _full_name(payload: dict[str, object]) -> str | None:
    repository = payload.get("repository")
    name = repository.get("full_name") if isinstance(repository, dict) else None
    return name if isinstance(name, str) and name else None


def _missing(field: str) -> Reject:
    return Reject(400, f"The push event has no usable {field}, so nothing can be released from it.")


def _quoted(text: str) -> str:
    """Foreign text for a sentence: on one line and cut."""
    return repr(text if len(text) <= 100 else f"{text[:100]}…")
