"""One request: whatever the other side does, it ends in time and keeps a bounded answer."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from core.errors import Permanent
from core.settings import SmokeCheck
from core.smoke import Verdict, judge_check
from systems.http import KEPT, Endpoint, ask
from tests.unit.servers import Handler, Servers

HERE = "127.0.0.1"


@pytest.fixture
def servers() -> Iterator[Servers]:
    made = Servers(HERE)
    yield made
    made.close()


def drip(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b".")
        time.sleep(0.1)


def drip_headers(handler: Handler) -> None:
    for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 200:
        handler.wfile.write(bytes([letter]))
        handler.wfile.flush()
        time.sleep(0.1)


def flood(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


def endpoint(servers: Servers) -> Endpoint:
    return Endpoint("http", HERE, servers.port, connect_to=(HERE,))


@pytest.mark.parametrize("answering", [drip, drip_headers, flood])
def test_a_request_as_a_whole_ends_in_time(servers: Servers, answering: object) -> None:
    servers.answer(answering)  # type: ignore[arg-type]
    check = SmokeCheck(path="/", within_seconds=0.5)
    began = time.monotonic()
    result = judge_check(check, ask(endpoint(servers), HERE, check))
    assert time.monotonic() - began < 2
    assert result.verdict is Verdict.FAIL
    assert result.got == "no complete answer within 0.5 s"


def test_a_long_page_is_whole_and_its_beginning_is_kept(servers: Servers) -> None:
    servers.answer(lambda handler: handler.reply(b"hello " + b"x" * 10 * KEPT))
    answer = ask(endpoint(servers), HERE, SmokeCheck(path="/"))
    assert (answer.status, len(answer.body), answer.error) == (200, KEPT, "")
    assert answer.body.startswith("hello")


def test_an_answer_is_asked_for_uncompressed(servers: Servers) -> None:
    servers.answer(lambda handler: handler.reply(handler.headers.get("Accept-Encoding", "").encode()))
    assert ask(endpoint(servers), HERE, SmokeCheck(path="/")).body == "identity"


def test_no_thread_is_left_of_a_request(servers: Servers) -> None:
    servers.answer(lambda handler: handler.reply(b"ok"))
    ask(endpoint(servers), HERE, SmokeCheck(path="/", within_seconds=60))
    time.sleep(0.05)
    assert not [t for t in threading.enumerate() if isinstance(t, threading.Timer)]


# --- addresses

FOUR, SIX = "198.51.100.7", "2001:db8::7"


@pytest.fixture
def no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with both families on a machine that has a route for IPv4 only."""

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        found = [FOUR, SIX] if host == "both.example.com" else [SIX]
        return [(0, 0, 0, "", (address, port)) for address in found]

    class Socket(socket.socket):
        def connect(self, address: object) -> None:
            if self.family is socket.AF_INET6:
                raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "socket", Socket)


@pytest.mark.usefixtures("no_ipv6")
def test_addresses_of_a_family_without_a_route_are_left_out() -> None:
    found = Endpoint("http", "both.example.com", 80).addresses()
    assert (found.reachable, found.left_out) == ((FOUR,), (SIX,))


@pytest.mark.usefixtures("no_ipv6")
def test_a_name_without_a_reachable_address_is_said_so() -> None:
    with pytest.raises(Permanent, match="no address that this machine can reach: there is no route to 2001:db8::7"):
        Endpoint("http", "six.example.com", 80).addresses()


# --- what a request carries


def echo(handler: Handler) -> None:
    handler.reply(json.dumps({name.lower(): value for name, value in handler.headers.items()}).encode())


def test_a_request_carries_the_host_and_headers_of_its_check(servers: Servers) -> None:
    servers.answer(echo)
    check = SmokeCheck(
        path="/", host="shop.example.com", headers={"x-tenant": "acme", "content-type": "text/plain"}, body="b"
    )
    sent = json.loads(ask(endpoint(servers), HERE, check).body)
    assert (sent["host"], sent["x-tenant"], sent["content-type"]) == ("shop.example.com", "acme", "text/plain")


@pytest.mark.parametrize(
    ("scheme", "port", "named"),
    [
        ("http", 80, "shop.example.com"),
        ("https", 443, "shop.example.com"),
        ("http", 443, "shop.example.com:443"),
        ("http", 8081, "shop.example.com:8081"),
    ],
)
def test_a_listener_is_named_as_a_browser_names_it(scheme: str, port: int, named: str) -> None:
    assert Endpoint(scheme, "shop.example.com", port).authority == named


def test_a_redirect_is_an_answer_and_is_not_followed(servers: Servers) -> None:
    def redirect(handler: Handler) -> None:
        handler.send_response(301)
        handler.send_header("Location", "https://shop.example.com/")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    servers.answer(redirect)
    answer = ask(endpoint(servers), HERE, SmokeCheck(path="/"))
    assert (answer.status, answer.location, servers.asked(HERE)) == (301, "https://shop.example.com/", 1)
