"""One request through the load balancer: rule, weight, target, and the answer streamed back.

Answers of the load balancer itself follow
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html:
502 when the target refuses or breaks off, 504 when it doesn't accept or answer in time, 503 without a target.
"""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import aiohttp
from aiohttp import hdrs, web
from yarl import URL

from emulator.metrics import Metrics
from emulator.network import client_reaches, target_is_reached
from emulator.propagation import Propagation
from emulator.routing import Action, resolve_weights, scope_of
from emulator.settings import Settings
from emulator.targets import Target, TargetRegistry
from emulator.upstream import alb, responses

__all__ = ["MAX_LINE", "Proxy"]

logger = logging.getLogger("pointsman.proxy")
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_CHUNK = 65536
_PATIENCE = 60.0
MAX_LINE = 16384
"""Longest request line and header that an ALB takes, in bytes."""


class _Relayed(web.StreamResponse):
    """A target's answer, without the headers that aiohttp would add of its own."""

    async def _prepare_headers(self) -> None:
        sent = {name.lower() for name in self.headers}
        await super()._prepare_headers()
        for name in ("Server", "Content-Type"):
            if name.lower() not in sent:
                self.headers.popall(name, None)


class Proxy:
    """Carries requests of all listeners; lives on the data plane's loop."""

    def __init__(
        self, registry: TargetRegistry, metrics: Metrics, propagation: Propagation, settings: Settings
    ) -> None:
        self._registry = registry
        self._metrics = metrics
        self._propagation = propagation
        self._connect_timeout = settings.target_connect_timeout
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=settings.target_connect_timeout, sock_read=settings.target_idle_timeout
        )
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the client towards targets.

        A connection carries one request: reusing one that the target is just closing is the classic 502.
        """
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=self._timeout,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def close(self) -> None:
        """Close the client."""
        if self._session is not None:
            await self._session.close()

    async def handle(self, listener_arn: str, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request that came in on a listener's socket."""
        account, region = scope_of(listener_arn)
        listener = alb._listeners.get_scoped(account, region, listener_arn)
        if listener is None:
            return _own_answer(503)
        if not client_reaches(listener["LoadBalancerArn"], listener["Port"], request.remote or "127.0.0.1"):
            return await _silence(request)
        with responses.request_scope(account, region):
            return await self._route(listener, request)

    async def _route(self, listener: dict[str, Any], request: web.BaseRequest) -> web.StreamResponse:
        balancer = listener["LoadBalancerArn"]
        headers = _joined(request)
        path, _, query = request.raw_path.partition("?")
        parameters = parse_qs(query, keep_blank_values=True)
        actions = _matching_rule(listener, request.method, request.path, headers, parameters)
        if actions is None:
            newest = list(listener.get("DefaultActions", []))
            actions = self._propagation.actions(listener["ListenerArn"], _own_address(request), newest)
        outgoing = alb._target_headers(balancer, listener, headers, request.remote or "127.0.0.1")
        host = outgoing.get("host", "")
        preserve = alb._lb_attr(balancer, "routing.http.preserve_host_header.enabled", "false") == "true"
        target_host = host if preserve else alb._target_host_header(host, listener["Port"])

        resolved = [resolve_weights(action) for action in actions]
        if len(resolved) == 1 and resolved[0].get("Type", "").lower() == "forward":
            outgoing["host"] = target_host
            return await self._forward(balancer, resolved[0]["TargetGroupArn"], request, outgoing)
        answer = await alb._execute_actions(
            resolved,
            request.method,
            request.path,
            outgoing,
            await request.read(),
            parameters,
            listener["Port"],
            lb_arn=balancer,
            target_host=target_host,
            raw_query_string=query,
            raw_path=path,
        )
        status, fields, body = alb._with_listener_response_headers(
            listener["ListenerArn"], alb._with_alb_server(answer, listener["ListenerArn"])
        )
        self._metrics.balancer_answered(balancer, None, status)
        return web.Response(status=status, headers=_pairs(fields), body=body)

    async def _forward(
        self, balancer: str, group: str, request: web.BaseRequest, headers: dict[str, str]
    ) -> web.StreamResponse:
        target = self._registry.acquire(group)
        if target is None:
            self._metrics.balancer_answered(balancer, group, 503)
            return _own_answer(503)
        try:
            return await self._exchange(balancer, target, request, headers)
        finally:
            self._registry.release(target)

    async def _exchange(
        self, balancer: str, target: Target, request: web.BaseRequest, headers: dict[str, str]
    ) -> web.StreamResponse:
        assert self._session is not None
        if not target_is_reached(target.group, target.host, target.port):
            await asyncio.sleep(self._connect_timeout)
            return self._failed(balancer, target, 504, "no security group lets it through")
        host = f"[{target.host}]" if ":" in target.host else target.host
        url = URL(f"http://{host}:{target.port}{request.raw_path}", encoded=True)
        sent = {name: value for name, value in headers.items() if name not in _HOP_BY_HOP and name != "expect"}
        started = time.monotonic()
        try:
            answer = await self._session.request(
                request.method,
                url,
                headers=sent,
                data=await _body(request),
                allow_redirects=False,
            )
        except (aiohttp.ServerTimeoutError, TimeoutError):
            return self._failed(balancer, target, 504, "no answer in time")
        except (aiohttp.ClientError, OSError) as error:
            return self._failed(balancer, target, 502, str(error) or type(error).__name__)
        async with answer:
            self._metrics.target_answered(balancer, target.group, answer.status, time.monotonic() - started)
            return await _relay(request, answer, target)

    def _failed(self, balancer: str, target: Target, status: int, why: str) -> web.StreamResponse:
        logger.warning("%s: %d for %s: %s", target.name, status, target.group.rsplit("/", 2)[-2], why)
        self._metrics.balancer_answered(balancer, target.group, status)
        return _own_answer(status)


async def _relay(request: web.BaseRequest, answer: aiohttp.ClientResponse, target: Target) -> web.StreamResponse:
    response = _Relayed(status=answer.status, reason=answer.reason)
    for name, value in answer.headers.items():
        if name.lower() not in _HOP_BY_HOP and name.lower() != "date":
            response.headers.add(name, value)
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_chunked(_CHUNK):
            await response.write(chunk)
    except (aiohttp.ClientError, TimeoutError) as error:
        # Too late for a status: breaking off is how the client learns that the body is short.
        logger.warning("%s broke off its answer: %s", target.name, error)
        if request.transport is not None:
            request.transport.abort()
        return response
    except ConnectionError:
        return response
    await response.write_eof()
    return response


async def _body(request: web.BaseRequest) -> aiohttp.StreamReader | None:
    if not request.can_read_body:
        return None
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return request.content


async def _silence(request: web.BaseRequest) -> web.StreamResponse:
    """What a client gets whom no security group admits: nothing, until it gives up."""
    end = time.monotonic() + _PATIENCE
    while request.transport is not None and time.monotonic() < end:
        await asyncio.sleep(0.1)
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)


def _own_address(request: web.BaseRequest) -> str:
    name = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return str(name[0]) if name else ""


def _matching_rule(
    listener: dict[str, Any],
    method: str,
    path: str,
    headers: dict[str, str],
    parameters: dict[str, list[str]],
) -> list[Action] | None:
    """The actions of the first rule that fits; None: the default ones."""
    rules = [rule for rule in alb._rules.values() if rule.get("ListenerArn") == listener["ListenerArn"]]
    for rule in sorted(rules, key=alb._rule_sort_key):
        if rule.get("IsDefault"):
            return None
        conditions = rule.get("Conditions", [])
        if all(alb._match_condition(condition, method, path, headers, parameters) for condition in conditions):
            return rule.get("Actions") or None
    return None


def _joined(request: web.BaseRequest) -> dict[str, str]:
    """Headers in lower case, repeated ones joined as RFC 9110 5.2 allows (cookies: RFC 6265)."""
    joined: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        separator = "; " if key == "cookie" else ", "
        joined[key] = f"{joined[key]}{separator}{value}" if key in joined else value
    return joined


def _pairs(fields: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, str(item)) for name, value in fields.items() for item in (value if isinstance(value, list) else [value])
    ]


def _own_answer(status: int) -> web.Response:
    phrase = {503: "Service Temporarily Unavailable", 504: "Gateway Time-out"}.get(status, HTTPStatus(status).phrase)
    title = f"{status} {phrase}"
    body = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n"
    return web.Response(status=status, text=body, content_type="text/html", headers={"Server": "awselb/2.0"})
