"""The load balancer's control plane: weighted forwards, real target health, sockets, and AWS's refusals."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from emulator import forward_config
from emulator.alb_answers import Answer, Parameters, empty, error, xml
from emulator.forward_config import refuse_actions
from emulator.listeners import ListenerSockets, PortUnavailableError, discard
from emulator.metrics import Metrics
from emulator.propagation import Propagation
from emulator.routing import Action, load_balancers_of, resolve_weights, scope_of
from emulator.targets import Target, TargetRegistry
from emulator.upstream import alb, replace, responses

__all__ = ["install"]

_NO_TARGET = b"<html><head><title>503</title></head></html>"


def install(registry: TargetRegistry, sockets: ListenerSockets, metrics: Metrics, propagation: Propagation) -> None:
    """Put the additions in MiniStack's place; once a process."""
    forward_config.install()
    _Listeners(sockets, propagation).install()
    _Targets(registry).install()
    _TrafficByHost(registry, metrics).install()
    original_reset = alb.reset

    def reset() -> None:
        sockets.close_all()
        registry.clear()
        original_reset()

    replace(alb, "reset", reset)


class _Listeners:
    """Listeners with real sockets: a port is bound before its listener exists, so that a refusal changes nothing."""

    def __init__(self, sockets: ListenerSockets, propagation: Propagation) -> None:
        self._sockets, self._propagation = sockets, propagation

    def install(self) -> None:
        """Put these handlers in the place of MiniStack's."""
        self._original_create: Callable[[Parameters], Answer] = replace(alb, "_create_listener", self._create)
        self._original_modify: Callable[[Parameters], Answer] = replace(alb, "_modify_listener", self._modify)
        self._original_delete: Callable[[Parameters], Answer] = replace(alb, "_delete_listener", self._delete)
        self._original_delete_balancer: Callable[[Parameters], Answer] = replace(
            alb, "_delete_lb", self._delete_balancer
        )
        self._original_create_rule: Callable[[Parameters], Answer] = replace(alb, "_create_rule", self._create_rule)

    def _create(self, params: Parameters) -> Answer:
        balancer = alb._p(params, "LoadBalancerArn")
        port = int(alb._p(params, "Port", "80"))
        if _listener_on(balancer, port):
            return error(
                "DuplicateListener",
                f"A listener already exists on this port for this load balancer '{balancer}'",
            )
        refusal = refuse_actions(alb._parse_actions(params, "DefaultActions"))
        if refusal or balancer not in alb._lbs:
            return refusal or self._original_create(params)
        return self._write_on_port(
            port,
            alb._p(params, "Protocol", "HTTP"),
            lambda: self._original_create(params),
            lambda answer: _first(answer, "ListenerArn"),
        )

    def _modify(self, params: Parameters) -> Answer:
        listener = alb._listeners.get(alb._p(params, "ListenerArn"))
        if listener is None:
            return self._original_modify(params)
        refusal = refuse_actions(alb._parse_actions(params, "DefaultActions"))
        if refusal:
            return refusal
        arn = listener["ListenerArn"]
        port = int(alb._p(params, "Port") or listener["Port"])
        protocol = alb._p(params, "Protocol") or listener["Protocol"]
        if _listener_on(listener["LoadBalancerArn"], port) not in (None, arn):
            return error("DuplicateListener", f"A listener already exists on port {port} for this load balancer")
        if (port, protocol) == (listener["Port"], listener["Protocol"]):
            return self._modify_actions(params, listener)
        if port == listener["Port"]:
            self._sockets.close(arn)
        return self._write_on_port(port, protocol, lambda: self._original_modify(params), lambda _: str(arn))

    def _modify_actions(self, params: Parameters, listener: dict[str, Any]) -> Answer:
        before = list(listener["DefaultActions"])
        answer = self._original_modify(params)
        if listener["DefaultActions"] != before:
            self._propagation.changed(listener["ListenerArn"], before)
        return answer

    def _write_on_port(
        self, port: int, protocol: str, write: Callable[[], Answer], arn_of: Callable[[Answer], str]
    ) -> Answer:
        """Bind a port, write the listener, and serve it there; the port is let go where the write was refused."""
        try:
            bound = self._sockets.bind(port)
        except PortUnavailableError as problem:
            return error("InvalidConfigurationRequest", str(problem))
        answer = write()
        if answer[0] == 200:
            self._sockets.serve(arn_of(answer), bound, protocol)
        else:
            discard(bound)
        return answer

    def _delete(self, params: Parameters) -> Answer:
        answer = self._original_delete(params)
        if answer[0] == 200:
            self._sockets.close(alb._p(params, "ListenerArn"))
        return answer

    def _delete_balancer(self, params: Parameters) -> Answer:
        balancer = alb._p(params, "LoadBalancerArn")
        if alb._lb_attr(balancer, "deletion_protection.enabled", "false") == "true":
            return error(
                "OperationNotPermitted",
                f"Load balancer '{balancer}' cannot be deleted because deletion protection is enabled",
            )
        for arn, listener in alb._listeners.items():
            if listener["LoadBalancerArn"] == balancer:
                self._delete({"ListenerArn": arn})
        return self._original_delete_balancer(params)

    def _create_rule(self, params: Parameters) -> Answer:
        return refuse_actions(alb._parse_actions(params, "Actions")) or self._original_create_rule(params)


def _listener_on(balancer: str, port: int) -> str | None:
    for arn, listener in alb._listeners.items():
        if listener["LoadBalancerArn"] == balancer and listener["Port"] == port:
            return str(arn)
    return None


def _first(answer: Answer, element: str) -> str:
    found = re.search(rf"<{element}>([^<]+)</{element}>", answer[2].decode())
    assert found is not None
    return found.group(1)


class _Targets:
    """Target groups whose members and health are those of the registry."""

    def __init__(self, registry: TargetRegistry) -> None:
        self._registry = registry

    def install(self) -> None:
        """Put these handlers in the place of MiniStack's."""
        self._original_delete_group: Callable[[Parameters], Answer] = replace(alb, "_delete_tg", self._delete_group)
        self._original_group_xml: Callable[[dict[str, Any]], str] = replace(alb, "_tg_xml", self._group_xml)
        for handler in ("_create_tg", "_modify_tg"):
            replace(alb, handler, _with_matcher_checked(getattr(alb, handler)))
        replace(alb, "set_targets_for_group", self._set_targets)
        replace(alb, "_register_targets", self._register)
        replace(alb, "_deregister_targets", self._deregister)
        replace(alb, "_describe_target_health", self._describe_health)

    def _group_xml(self, group: dict[str, Any]) -> str:
        group["LoadBalancerArns"] = load_balancers_of(group["TargetGroupArn"])
        return self._original_group_xml(group)

    def _set_targets(self, group: str, targets: list[tuple[str, int]], previous: tuple[str, ...] = ()) -> bool:
        """What ECS calls: the service's running tasks of now, and the addresses it named before."""
        if group not in alb._tgs:
            return False
        fresh = set(targets)
        for known in self._registry.members(group):
            if known.host in previous and (known.host, known.port) not in fresh:
                self._leave(group, known)
        for host, port in targets:
            self._registry.register(group, host, port)
        self._mirror(group)
        return True

    def _register(self, params: Parameters) -> Answer:
        group = alb._p(params, "TargetGroupArn")
        if group not in alb._tgs:
            return _unknown_group(group)
        for host, port in _named_targets(params, group):
            self._registry.register(group, host, port)
        self._mirror(group)
        return empty("RegisterTargets")

    def _deregister(self, params: Parameters) -> Answer:
        group = alb._p(params, "TargetGroupArn")
        if group not in alb._tgs:
            return _unknown_group(group)
        for wanted in alb._parse_targets_param(params):
            for known in self._registry.members(group):
                if known.host == wanted["Id"] and wanted.get("Port") in (None, known.port):
                    self._leave(group, known)
        self._mirror(group)
        return empty("DeregisterTargets")

    def _describe_health(self, params: Parameters) -> Answer:
        group = alb._p(params, "TargetGroupArn")
        if group not in alb._tgs:
            return _unknown_group(group)
        members = self._registry.members(group)
        wanted = _named_targets(params, group)
        described = [_target_xml(target) for target in members if not wanted or (target.host, target.port) in wanted]
        known = {(target.host, target.port) for target in members}
        described += [_unregistered_xml(host, port) for host, port in wanted if (host, port) not in known]
        inner = f"<TargetHealthDescriptions>{''.join(described)}</TargetHealthDescriptions>"
        return xml("DescribeTargetHealth", inner)

    def _delete_group(self, params: Parameters) -> Answer:
        group = alb._p(params, "TargetGroupArn")
        if group in alb._tgs and load_balancers_of(group):
            return error("ResourceInUse", f"Target group '{group}' is currently in use by a listener or a rule")
        self._registry.forget_group(group)
        return self._original_delete_group(params)

    def _leave(self, group: str, target: Target) -> None:
        self._registry.deregister(group, target.host, target.port, _deregistration_delay(group))

    def _mirror(self, group: str) -> None:
        """Keep MiniStack's own list, which Lambda targets and saved state use."""
        members = self._registry.members(group)
        alb._targets[group] = [{"Id": t.host, "Port": t.port} for t in members if self._registry.holds(t)]


def _with_matcher_checked(write: Callable[[Parameters], Answer]) -> Callable[[Parameters], Answer]:
    """Refuse statuses that no target group may take for healthy.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Matcher.html
    """

    def checked(params: Parameters) -> Answer:
        matcher = alb._p(params, "Matcher.HttpCode", "200")
        parts = [re.fullmatch(r"([2-4]\d\d)(?:-([2-4]\d\d))?", part) for part in matcher.split(",")]
        if not all(part and part[1] <= (part[2] or part[1]) for part in parts):
            return error("ValidationError", f"Health check matcher HTTP code '{matcher}' must be within '200-499'")
        return write(params)

    return checked


def _named_targets(params: Parameters, group: str) -> list[tuple[str, int]]:
    """Host and port of each target that a call names; the port is the group's where it names none."""
    targets = alb._parse_targets_param(params)
    return [(target["Id"], int(target.get("Port") or alb._tgs[group]["Port"])) for target in targets]


def _unknown_group(group: str) -> Answer:
    return error("TargetGroupNotFound", f"Target groups '{group}' not found")


def _deregistration_delay(group: str) -> float:
    account, region = scope_of(group)
    for attribute in alb._tg_attrs.get_scoped(account, region, group, []):
        if attribute["Key"] == "deregistration_delay.timeout_seconds":
            return float(attribute["Value"])
    return 300.0


def _target_xml(target: Target) -> str:
    reason = f"<Reason>{target.reason}</Reason>" if target.reason else ""
    description = f"<Description>{escape(target.description)}</Description>" if target.description else ""
    return (
        f"<member><Target><Id>{escape(target.host)}</Id><Port>{target.port}</Port></Target>"
        f"<HealthCheckPort>{target.port}</HealthCheckPort>"
        f"<TargetHealth><State>{target.health}</State>{reason}{description}</TargetHealth></member>"
    )


def _unregistered_xml(host: str, port: int) -> str:
    return (
        f"<member><Target><Id>{escape(host)}</Id><Port>{port}</Port></Target><TargetHealth><State>unused</State>"
        "<Reason>Target.NotRegistered</Reason>"
        "<Description>Target is not registered to the target group</Description></TargetHealth></member>"
    )


class _TrafficByHost:
    """Traffic that comes by Host header to the emulator's own port: weighted, counted, and to healthy targets only."""

    def __init__(self, registry: TargetRegistry, metrics: Metrics) -> None:
        self._registry, self._metrics = registry, metrics

    def install(self) -> None:
        """Put these in the place of MiniStack's own forwarding."""
        self._original_execute: Callable[..., Any] = replace(alb, "_execute_actions", self._execute)
        self._original_forward: Callable[..., Any] = replace(alb, "_forward_to_tg", self._forward)

    async def _execute(self, actions: list[Action], *args: Any, **kwargs: Any) -> Answer:
        resolved = [resolve_weights(action) for action in actions]
        answer: Answer = await self._original_execute(resolved, *args, **kwargs)
        return answer

    async def _forward(
        self,
        group: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query: dict[str, Any],
        raw_query: str | None = None,
        raw_path: str | None = None,
    ) -> Answer:
        """Forward a request to one of a group's targets; MiniStack's own way for a Lambda."""
        record = alb._tgs.get(group)
        if record is None or record["TargetType"] == "lambda":
            answer: Answer = await self._original_forward(
                group, method, path, headers, body, query, raw_query, raw_path
            )
            return answer
        balancer = next(iter(load_balancers_of(group)), "")
        target = self._registry.acquire(group)
        if target is None:
            self._metrics.balancer_answered(balancer, group, 503)
            return 503, {"Content-Type": "text/html"}, _NO_TARGET
        started = time.monotonic()
        address = {"Id": target.host, "Port": target.port}
        released = False
        try:
            status, fields, content = await alb._proxy_http_target(
                address, record, method, raw_path or path, headers, body, query, raw_query
            )
            if not isinstance(content, responses.StreamingResponse):
                self._metrics.balancer_answered(balancer, group, status)
                return status, fields, content
            self._metrics.target_answered(balancer, group, status, time.monotonic() - started)
            released = True
            return status, fields, responses.StreamingResponse(_releasing(content.runner, self._registry, target))
        finally:
            if not released:
                self._registry.release(target)


def _releasing(run: Callable[..., Any], registry: TargetRegistry, target: Target) -> Callable[..., Any]:
    """The streamed body, with the request counted as finished when it ends."""

    async def runner(send: Any, receive: Any) -> None:
        try:
            await run(send, receive)
        finally:
            registry.release(target)

    return runner
