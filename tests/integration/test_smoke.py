"""Applications that look at Host, redirect, or answer their health check in their own way, behind the balancer."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from core.settings import SmokeCheck
from core.smoke import Verdict, judge_check
from systems.http import Endpoint, ask
from tests.integration.stand import Stack, get, wait_for

pytestmark = pytest.mark.integration

# It answers its own host alone, wants HTTPS everywhere but at its health check, and answers that with a redirect.
STRICT = """
const http = require('http');
http.createServer((req, res) => {
  const to = (status, where) => { res.writeHead(status, where ? {location: where} : {}); res.end(); };
  if (req.url === '/healthz') return to(302, '/up');
  if (req.headers.host !== 'shop.example.com') return to(400);
  if (req.headers['x-forwarded-proto'] !== 'https') return to(301, `https://shop.example.com${req.url}`);
  to(200);
}).listen(8080);
process.on('SIGTERM', () => process.exit(0));
"""


@pytest.fixture
def strict(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setattr("tests.integration.stand.APPLICATION", STRICT)
    stack.serve("blue", grace=600)
    return stack


def set_matcher(stack: Stack, matcher: str) -> None:
    stack.aws.elbv2.modify_target_group(TargetGroupArn=stack.groups["blue"], Matcher={"HttpCode": matcher})


def test_a_health_check_is_healthy_by_its_matcher(strict: Stack) -> None:
    seen = ("unhealthy", "Target.ResponseCodeMismatch")
    wait_for(lambda: strict.health("blue") == [seen], "a redirect is not 200", 60)
    set_matcher(strict, "200-399")
    wait_for(lambda: strict.states("blue") == ["healthy"], "a redirect is within 200-399", 60)


@pytest.mark.parametrize("matcher", ["200-599", "199", "2xx", "300-200"])
def test_a_matcher_that_aws_does_not_take_is_refused(stack: Stack, matcher: str) -> None:
    with pytest.raises(ClientError, match="ValidationError"):
        set_matcher(stack, matcher)


def test_a_check_names_the_host_and_expects_the_redirect(strict: Stack) -> None:
    set_matcher(strict, "200-399")
    wait_for(lambda: strict.states("blue") == ["healthy"], "it is healthy", 60)
    endpoint = Endpoint("http", "127.0.0.1", strict.port, ("127.0.0.1",))

    def verdict(**check: Any) -> tuple[Verdict, str]:
        made = SmokeCheck.model_validate({"path": "/orders", **check})
        result = judge_check(made, ask(endpoint, "127.0.0.1", made))
        return result.verdict, result.got

    moved = {"status": 301, "location": "https://shop.example.com/orders"}
    assert verdict(**moved)[0] is Verdict.FAIL, "the balancer's own name is not the application's"
    assert verdict(host="shop.example.com", **moved)[0] is Verdict.FAIL, "the balancer adds its port to the name"
    preserved = {"Key": "routing.http.preserve_host_header.enabled", "Value": "true"}
    strict.aws.elbv2.modify_load_balancer_attributes(LoadBalancerArn=strict.balancer, Attributes=[preserved])
    assert verdict(host="shop.example.com", **moved) == (Verdict.PASS, "301 to https://shop.example.com/orders")
    elsewhere = {**moved, "location": "https://shop.example.com/"}
    assert verdict(host="shop.example.com", **elsewhere)[0] is Verdict.FAIL


def test_the_balancer_writes_the_protocol_itself(stack: Stack) -> None:
    stack.serve("blue")
    wait_for(lambda: stack.states("blue") == ["healthy"], "it is healthy", 60)
    seen = get(f"{stack.url}/headers", headers={"X-Forwarded-Proto": "https", "X-Tenant": "acme"}).json()
    assert (seen["x-forwarded-proto"], seen["x-tenant"]) == ("http", "acme")
