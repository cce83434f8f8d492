"""A build's secrets: which values are taken, how they reach the docker client, and what is hidden of them."""

from __future__ import annotations

import base64
import json

import pytest

from core.build_secrets import LONGEST_SECRET, BuildSecret, BuildSecrets, json_key_of, refuse_unfit
from core.errors import Refused

TOKEN = "npm_0123456789abcdefGHIJ"
NPMRC = f"registry=https://registry.npmjs.org/\n//registry.npmjs.org/:_authToken={TOKEN}\n"


@pytest.mark.parametrize(
    ("value", "build_args", "refused"),
    [
        ("short", {}, "fewer than 8 characters"),
        ("        \n", {}, "fewer than 8 characters"),
        ("x" * (LONGEST_SECRET + 1), {}, f"{LONGEST_SECRET + 1} bytes, of at most"),
        ("ü" * LONGEST_SECRET, {}, f"{2 * LONGEST_SECRET} bytes"),
        ("binary\0value", {}, "is not text"),
        (TOKEN, {"TOKEN": TOKEN}, "stay readable in the image's history"),
        (NPMRC, {"A": "1", "LINE": f"auth={TOKEN}"}, "stay readable in the image's history"),
        (TOKEN, {"B64": base64.b64encode(TOKEN.encode()).decode()}, "stay readable in the image's history"),
    ],
)
def test_a_value_that_cannot_be_kept_secret_is_refused(value: str, build_args: dict[str, str], refused: str) -> None:
    with pytest.raises(Refused) as refusal:
        refuse_unfit(BuildSecret("npmrc", value), "variable X", build_args)
    assert refused in refusal.value.why
    assert value not in str(refusal.value)


@pytest.mark.parametrize("value", ["x" * 8, "x" * LONGEST_SECRET, NPMRC])
def test_any_other_value_is_taken(value: str) -> None:
    secret = BuildSecret("npmrc", value)
    assert refuse_unfit(secret, "variable X", {"REGISTRY": "https://registry.npmjs.org/"}) is secret


def test_the_client_gets_values_as_variables_and_names_as_arguments() -> None:
    secrets = BuildSecrets((BuildSecret("npmrc", NPMRC), BuildSecret("token", TOKEN)))
    assert secrets.variables == {"POINTSMAN_BUILD_SECRET_0": NPMRC, "POINTSMAN_BUILD_SECRET_1": TOKEN}
    assert secrets.arguments == (
        "--secret=id=npmrc,env=POINTSMAN_BUILD_SECRET_0",
        "--secret=id=token,env=POINTSMAN_BUILD_SECRET_1",
    )
    assert TOKEN not in repr(secrets)


QUOTED = 'a"b c\\d9-long-enough'


@pytest.mark.parametrize(
    ("value", "line", "shown"),
    [
        (TOKEN, f"#7 0.2 {TOKEN}", "#7 0.2 ***"),
        (TOKEN + "\n", f"got {TOKEN}!", "got ***!"),
        (NPMRC, f"#7 0.2 {NPMRC.splitlines()[1]}", "#7 0.2 ***"),
        (NPMRC, f"Authorization: {TOKEN}", "Authorization: ***"),
        (NPMRC, f"basic {base64.b64encode(TOKEN.encode()).decode()}", "basic ***"),
        (QUOTED, json.dumps({"token": QUOTED}), '{"token": "***"}'),
        (QUOTED, "?t=a%22b%20c%5Cd9-long-enough", "?t=***"),
        (NPMRC, "npm notice registry.npmjs.org", "npm notice registry.npmjs.org"),
        (TOKEN, "nothing of it", "nothing of it"),
    ],
)
def test_a_line_of_output_is_shown_without_them(value: str, line: str, shown: str) -> None:
    assert BuildSecrets((BuildSecret("id", value),)).mask(line) == shown


def test_of_two_values_of_which_one_holds_the_other_nothing_is_left() -> None:
    secrets = BuildSecrets((BuildSecret("a", "password"), BuildSecret("b", "password-of-the-other")))
    assert secrets.mask("it is password-of-the-other, or password") == "it is ***, or ***"


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("plain text", "it is not JSON"),
        ("[1]", "it is not JSON"),
        ("{}", "it has no keys"),
        ('{"b": "1", "a": "2"}', "it has the keys a, b"),
        ('{"key": 5}', "it has the keys key"),
    ],
)
def test_a_key_that_a_secret_lacks_is_refused_by_the_names_of_those_that_it_has(text: str, refused: str) -> None:
    with pytest.raises(Refused) as refusal:
        json_key_of(text, "key", "the secret s")
    assert refusal.value.why.startswith(refused)


def test_a_key_s_text_is_returned() -> None:
    assert json_key_of('{"key": "value"}', "key", "the secret s") == "value"


HOST = "acme-123456789012.d.codeartifact.us-east-1.amazonaws.com"
PASSWORD = "pypi-AgEIcHlwaS5vcmc2"


@pytest.mark.parametrize(
    "value",
    [
        f"machine {HOST} login aws password {PASSWORD}",
        f"index-url = https://build:{PASSWORD}@{HOST}/simple",
        f"<server><password>{PASSWORD}</password><url>https://{HOST}/</url></server>",
    ],
)
def test_a_key_is_found_wherever_it_stands_and_a_host_is_none(value: str) -> None:
    secret = BuildSecret("file", value)
    assert PASSWORD in secret.forms
    assert BuildSecrets((secret,)).mask(f"got {PASSWORD}") == "got ***"
    assert refuse_unfit(secret, "file /x", {"REGISTRY": f"https://{HOST}/npm/"}) is secret


def test_a_user_and_a_password_of_an_address_are_known_as_basic_authentication_sends_them() -> None:
    sent = base64.b64encode(f"build:{PASSWORD}".encode()).decode()
    assert sent in BuildSecret("pip", f"https://build:{PASSWORD}@{HOST}/simple").forms


def test_the_setting_that_is_refused_is_named() -> None:
    with pytest.raises(Refused, match=r'^\[image\.registries\."docker\.io"\] cannot be given'):
        refuse_unfit(BuildSecret("docker.io", "short"), "variable X", {}, '[image.registries."docker.io"]')
