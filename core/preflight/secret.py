"""Judgements of the secrets: that they are there, and the form of what is in them, without a word of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from core.preflight.judgement import Judgement, failed, passed
from core.words import counted

__all__ = [
    "ADDRESS_FAULTS",
    "SecretSeen",
    "address_in",
    "faults_of_address",
    "faults_of_secret",
    "judge_forms",
    "judge_secrets",
    "requires_tls",
]

ADDRESS_FAULTS = {
    "blank": "it begins or ends with a blank, a line break or a quotation mark",
    "scheme": "it does not begin with postgresql://",
    "user": "the user is missing",
    "password": "the password is missing",
    "encoding": "user or password hold a character that must be percent-encoded",
    "host": "the host is missing or not a name",
    "port": "the port is missing or not a number up to 65535",
    "database": "the database's name is missing",
    "schema": "the schema is empty",
}
"""What can be wrong with an address, by the short name under which a task says so too: it never says more."""

_ADDRESS = re.compile(r"^(postgres(?:ql)?)://(?:(.*)@)?([^@]*)$", re.DOTALL)
# https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1
_USER_INFO = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_DATABASE = re.compile(r"/[^/?#\s]+")


def faults_of_address(address: str) -> list[str]:
    """Return what is wrong with a database's address, by the names of ADDRESS_FAULTS; nothing of the address itself.

    The form is postgresql://user:password@host:port/db?schema=public; the schema may be left out.
    https://www.prisma.io/docs/orm/overview/databases/postgresql#connection-url
    """
    if address != address.strip(" \t\r\n\"'"):
        return ["blank"]
    found = _ADDRESS.match(address)
    if found is None:
        return ["scheme"]
    credentials, rest = found.group(2), found.group(3)
    if credentials is None:
        return ["user", "password"]
    user, colon, password = credentials.partition(":")
    faults = [] if user else ["user"]
    faults += [] if colon and password else ["password"]
    if not all(_USER_INFO.fullmatch(part) for part in (user, password)):
        faults.append("encoding")
    return faults + _faults_behind_user(rest)


def _faults_behind_user(rest: str) -> list[str]:
    place, slash, behind = rest.partition("/")
    host, colon, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    if not colon:
        host = place
    faults = [] if _HOST.fullmatch(host) else ["host"]
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65_536:
        faults.append("port")
    path, _, query = (slash + behind).partition("?")
    if not _DATABASE.fullmatch(path):
        faults.append("database")
    if parse_qs(query, keep_blank_values=True).get("schema", ["public"]) == [""]:
        faults.append("schema")
    return faults


def faults_of_secret(content: str, key: str | None, *, is_address: bool) -> list[str]:
    """Return what is wrong with a secret's content, in words without the content; without a key all of it is meant."""
    if key is None:
        if not content:
            return ["it is empty, or not a text"]
        return [ADDRESS_FAULTS[fault] for fault in faults_of_address(content)] if is_address else []
    try:
        found = json.loads(content)
    except ValueError:
        return ["it is not JSON"]
    if not isinstance(found, dict):
        return ["it is not a JSON object"]
    if key not in found:
        return [f"it has no key {key}"]
    if not isinstance(found[key], str) or not found[key]:
        return [f"{key} is not a text, or empty"]
    faults = faults_of_address(found[key]) if is_address else []
    return [f"{key}: {ADDRESS_FAULTS[fault]}" for fault in faults]


def address_in(content: str, key: str | None) -> str | None:
    """Return the address that a secret's content has under a key, or is; None where there is none."""
    if key is None:
        return content
    try:
        found = json.loads(content)
    except ValueError:
        return None
    address = found.get(key) if isinstance(found, dict) else None
    return address if isinstance(address, str) else None


def requires_tls(address: str) -> bool:
    """Whether a client that is given this address accepts nothing but TLS."""
    query = parse_qs(address.partition("?")[2])
    return query.get("sslmode", [""])[-1] in ("require", "verify-ca", "verify-full")


def judge_forms(faults: Mapping[str, Sequence[str]], by: str) -> Judgement:
    """Judge the faults of each variable's secret; `by` says who looked."""
    wrong = [f"{variable}: {', '.join(found)}" for variable, found in faults.items() if found]
    return failed("; ".join(wrong)) if wrong else passed(f"{counted(len(faults), 'key')}, looked at by {by}")


@dataclass(frozen=True)
class SecretSeen:
    """What AWS says of a secret or parameter without its value; `arn` is None where there is none."""

    name: str
    arn: str | None
    deleted: bool = False


def judge_secrets(secrets: Sequence[SecretSeen], recorded: Mapping[str, str] | None) -> Judgement:
    """Judge the secrets by what `provision` recorded of them; None before it did."""
    faults = [f"{secret.name} does not exist" for secret in secrets if secret.arn is None]
    faults += [f"{secret.name} is about to be deleted" for secret in secrets if secret.deleted]
    for secret in secrets if recorded is not None else ():
        known = recorded.get(secret.name) if recorded is not None else None
        if secret.arn and not secret.deleted and known != secret.arn:
            faults.append(f"{secret.name} is {secret.arn}, and provision recorded {known or 'none'}")
    if faults:
        return failed("; ".join(faults))
    return passed(", ".join(str(secret.arn) for secret in secrets))
