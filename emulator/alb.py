"""The load balancer's control plane: weighted forwards, real target health, sockets, and AWS's refusals."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from emulator.listeners import ListenerSockets, PortUnavailableError, discard
from emulator.metrics import Metrics
from emulator.propagation import Propagation
from emulator.routing import Action, groups_of, load_balancers_of, resolve_weights, scope_of
from emulator.targets import Target, TargetRegistry
from emulator.upstream import alb, replace, responses

__all__ = ["install"]

Answer = tuple[int, dict[str, str], Any]
Parameters = dict[str, Any]
_MAX_WEIGHT = 999


def install(registry: TargetRegistry, sockets: ListenerSockets, metrics: Metrics, propagation: Propagation) -> None:
    """Put the additions in MiniStack's place."""
    _install_forward_config()
    _install_listeners(sockets, propagation)
    _install_targets(registry)
    _install_forwarding(registry, metrics)
    original_reset = alb.reset

    def reset() -> None:
        sockets.close_all()
        registry.clear()
        original_reset()

    replace(alb, "reset", reset)


# Weighted forward actions


def _install_forward_config() -> None:
    parse: Callable[..., list[Action]] = alb._parse_actions
    write: Callable[[Action], str] = alb._action_xml
    write_group: Callable[[dict[str, Any]], str] = alb._tg_xml

    def parse_actions(params: Parameters, prefix: str = "DefaultActions") -> list[Action]:
        actions = parse(params, prefix)
        for number, action in enumerate(actions, 1):
            if action["Type"].lower() == "forward":
                _add_forward_config(action, params, f"{prefix}.member.{number}.ForwardConfig")
        return actions

    def action_xml(action: Action) -> str:
        xml = write(action)
        if "ForwardConfig" not in action:
            return xml
        return xml.removesuffix("</member>") + _forward_config_xml(action["ForwardConfig"]) + "</member>"

    def group_xml(group: dict[str, Any]) -> str:
        group["LoadBalancerArns"] = load_balancers_of(group["TargetGroupArn"])
        return write_group(group)

    replace(alb, "_parse_actions", parse_actions)
    replace(alb, "_action_xml", action_xml)
    replace(alb, "_tg_xml", group_xml)


def _add_forward_config(action: Action, params: Parameters, base: str) -> None:
    """Read a ForwardConfig; a plain TargetGroupArn gets the one that AWS answers for it."""
    groups = []
    number = 1
    while arn := alb._p(params, f"{base}.TargetGroups.member.{number}.TargetGroupArn"):
        weight = alb._p(params, f"{base}.TargetGroups.member.{number}.Weight", "1")
        groups.append({"TargetGroupArn": arn, "Weight": int(weight)})
        number += 1
    if not groups and action.get("TargetGroupArn"):
        groups = [{"TargetGroupArn": action["TargetGroupArn"], "Weight": 1}]
    if not groups:
        return
    sticky = alb._p(params, f"{base}.TargetGroupStickinessConfig.Enabled", "false").lower() == "true"
    duration = alb._p(params, f"{base}.TargetGroupStickinessConfig.DurationSeconds")
    stickiness: dict[str, Any] = {"Enabled": sticky}
    if duration:
        stickiness["DurationSeconds"] = int(duration)
    action["ForwardConfig"] = {"TargetGroups": groups, "TargetGroupStickinessConfig": stickiness}
    if len(groups) == 1:
        action["TargetGroupArn"] = groups[0]["TargetGroupArn"]


def _forward_config_xml(config: dict[str, Any]) -> str:
    groups = "".join(
        f"<member><TargetGroupArn>{group['TargetGroupArn']}</TargetGroupArn><Weight>{group['Weight']}</Weight></member>"
        for group in config["TargetGroups"]
    )
    stickiness = config["TargetGroupStickinessConfig"]
    duration = stickiness.get("DurationSeconds")
    return (
        f"<ForwardConfig><TargetGroups>{groups}</TargetGroups><TargetGroupStickinessConfig>"
        f"<Enabled>{str(stickiness['Enabled']).lower()}</Enabled>"
        + (f"<DurationSeconds>{duration}</DurationSeconds>" if duration is not None else "")
        + "</TargetGroupStickinessConfig></ForwardConfig>"
    )


def _refuse_actions(actions: list[Action]) -> Answer | None:
    """AWS's answer to a forward that can't be: an unknown group, a weight out of range, a group named twice."""
    for action in actions:
        groups = groups_of(action)
        if action["Type"].lower() == "forward" and not groups:
            return _error("ValidationError", "A forward action must name at least one target group")
        for arn, weight in groups:
            if arn not in alb._tgs:
                return _error("TargetGroupNotFound", f"Target groups '{arn}' not found")
            if not 0 <= weight <= _MAX_WEIGHT:
                return _error("ValidationError", f"Target group weight '{weight}' must be between 0 and 999 inclusive")
        if len({arn for arn, _ in groups}) < len(groups):
            return _error("ValidationError", "Target groups in a forward action must be unique")
    return None


# Listeners and their sockets


def _install_listeners(sockets: ListenerSockets, propagation: Propagation) -> None:
    create: Callable[[Parameters], Answer] = alb._create_listener
    modify: Callable[[Parameters], Answer] = alb._modify_listener
    delete: Callable[[Parameters], Answer] = alb._delete_listener
    delete_balancer: Callable[[Parameters], Answer] = alb._delete_lb
    create_rule: Callable[[Parameters], Answer] = alb._create_rule

    def create_listener(params: Parameters) -> Answer:
        balancer = alb._p(params, "LoadBalancerArn")
        port = int(alb._p(params, "Port", "80"))
        if _listener_on(balancer, port):
            return _error(
                "DuplicateListener",
                f"A listener already exists on this port for this load balancer '{balancer}'",
            )
        refusal = _refuse_actions(alb._parse_actions(params, "DefaultActions"))
        if refusal or balancer not in alb._lbs:
            return refusal or create(params)
        try:
            bound = sockets.bind(port)
        except PortUnavailableError as error:
            return _error("InvalidConfigurationRequest", str(error))
        answer = create(params)
        if answer[0] != 200:
            discard(bound)
            return answer
        sockets.serve(_first(answer, "ListenerArn"), bound, alb._p(params, "Protocol", "HTTP"))
        return answer

    def modify_listener(params: Parameters) -> Answer:
        listener = alb._listeners.get(alb._p(params, "ListenerArn"))
        if listener is None:
            return modify(params)
        refusal = _refuse_actions(alb._parse_actions(params, "DefaultActions"))
        if refusal:
            return refusal
        port = int(alb._p(params, "Port") or listener["Port"])
        protocol = alb._p(params, "Protocol") or listener["Protocol"]
        other = _listener_on(listener["LoadBalancerArn"], port)
        if other not in (None, listener["ListenerArn"]):
            return _error("DuplicateListener", f"A listener already exists on port {port} for this load balancer")
        before = list(listener["DefaultActions"])
        if port == listener["Port"] and protocol == listener["Protocol"]:
            answer = modify(params)
            if listener["DefaultActions"] != before:
                propagation.changed(listener["ListenerArn"], before)
            return answer
        if port == listener["Port"]:
            sockets.close(listener["ListenerArn"])
        try:
            bound = sockets.bind(port)
        except PortUnavailableError as error:
            return _error("InvalidConfigurationRequest", str(error))
        answer = modify(params)
        if answer[0] == 200:
            sockets.serve(listener["ListenerArn"], bound, protocol)
        else:
            discard(bound)
        return answer

    def delete_listener(params: Parameters) -> Answer:
        answer = delete(params)
        if answer[0] == 200:
            sockets.close(alb._p(params, "ListenerArn"))
        return answer

    def delete_load_balancer(params: Parameters) -> Answer:
        balancer = alb._p(params, "LoadBalancerArn")
        if alb._lb_attr(balancer, "deletion_protection.enabled", "false") == "true":
            return _error(
                "OperationNotPermitted",
                f"Load balancer '{balancer}' cannot be deleted because deletion protection is enabled",
            )
        for arn, listener in alb._listeners.items():
            if listener["LoadBalancerArn"] == balancer:
                delete_listener({"ListenerArn": arn})
        return delete_balancer(params)

    def create_checked_rule(params: Parameters) -> Answer:
        return _refuse_actions(alb._parse_actions(params, "Actions")) or create_rule(params)

    replace(alb, "_create_listener", create_listener)
    replace(alb, "_modify_listener", modify_listener)
    replace(alb, "_delete_listener", delete_listener)
    replace(alb, "_delete_lb", delete_load_balancer)
    replace(alb, "_create_rule", create_checked_rule)


def _listener_on(balancer: str, port: int) -> str | None:
    for arn, listener in alb._listeners.items():
        if listener["LoadBalancerArn"] == balancer and listener["Port"] == port:
            return str(arn)
    return None


# Targets


def _install_targets(registry: TargetRegistry) -> None:
    delete_group: Callable[[Parameters], Answer] = alb._delete_tg

    def set_targets_for_group(group: str, targets: list[tuple[str, int]], previous: tuple[str, ...] = ()) -> bool:
        """What ECS calls: the service's running tasks of now, and the addresses it named before."""
        if group not in alb._tgs:
            return False
        fresh = set(targets)
        for known in registry.members(group):
            if known.host in previous and (known.host, known.port) not in fresh:
                registry.deregister(group, known.host, known.port, _deregistration_delay(group))
        for host, port in targets:
            registry.register(group, host, port)
        _mirror(registry, group)
        return True

    def register_targets(params: Parameters) -> Answer:
        group = alb._p(params, "TargetGroupArn")
        if group not in alb._tgs:
            return _error("TargetGroupNotFound", f"Target groups '{group}' not found")
        for target in alb._parse_targets_param(params):
            registry.register(group, target["Id"], int(target.get("Port") or alb._tgs[group]["Port"]))
        _mirror(registry, group)
        return _empty("RegisterTargets")

    def deregister_targets(params: Parameters) -> Answer:
        group = alb._p(params, "TargetGroupArn")
        if group not in alb._tgs:
            return _error("TargetGroupNotFound", f"Target groups '{group}' not found")
        for wanted in alb._parse_targets_param(params):
            for known in registry.members(group):
                if known.host == wanted["Id"] and wanted.get("Port") in (None, known.port):
                    registry.deregister(group, known.host, known.port, _deregistration_delay(group))
        _mirror(registry, group)
        return _empty("DeregisterTargets")

    def describe_target_health(params: Parameters) -> Answer:
        group = alb._p(params, "TargetGroupArn")
        if group not in alb._tgs:
            return _error("TargetGroupNotFound", f"Target groups '{group}' not found")
        members = registry.members(group)
        wanted = [(t["Id"], int(t.get("Port") or alb._tgs[group]["Port"])) for t in alb._parse_targets_param(params)]
        described = [_target_xml(target) for target in members if not wanted or (target.host, target.port) in wanted]
        known = {(target.host, target.port) for target in members}
        described += [_unregistered_xml(host, port) for host, port in wanted if (host, port) not in known]
        inner = f"<TargetHealthDescriptions>{''.join(described)}</TargetHealthDescriptions>"
        return _xml("DescribeTargetHealth", inner)

    def delete_target_group(params: Parameters) -> Answer:
        group = alb._p(params, "TargetGroupArn")
        if group in alb._tgs and load_balancers_of(group):
            return _error("ResourceInUse", f"Target group '{group}' is currently in use by a listener or a rule")
        registry.forget_group(group)
        return delete_group(params)

    replace(alb, "set_targets_for_group", set_targets_for_group)
    replace(alb, "_register_targets", register_targets)
    replace(alb, "_deregister_targets", deregister_targets)
    replace(alb, "_describe_target_health", describe_target_health)
    replace(alb, "_delete_tg", delete_target_group)


def _mirror(registry: TargetRegistry, group: str) -> None:
    """Keep MiniStack's own list, which Lambda targets and saved state use."""
    alb._targets[group] = [
        {"Id": target.host, "Port": target.port} for target in registry.members(group) if registry.holds(target)
    ]


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


# Traffic that comes by Host header to the emulator's own port


def _install_forwarding(registry: TargetRegistry, metrics: Metrics) -> None:
    execute: Callable[..., Any] = alb._execute_actions
    forward: Callable[..., Any] = alb._forward_to_tg

    @functools.wraps(execute)
    async def execute_actions(actions: list[Action], *args: Any, **kwargs: Any) -> Answer:
        answer: Answer = await execute([resolve_weights(action) for action in actions], *args, **kwargs)
        return answer

    @functools.wraps(forward)
    async def forward_to_group(
        group: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query: dict[str, Any],
        raw_query: str | None = None,
        raw_path: str | None = None,
    ) -> Answer:
        record = alb._tgs.get(group)
        if record is None or record["TargetType"] == "lambda":
            answer: Answer = await forward(group, method, path, headers, body, query, raw_query, raw_path)
            return answer
        balancer = next(iter(load_balancers_of(group)), "")
        target = registry.acquire(group)
        if target is None:
            metrics.balancer_answered(balancer, group, 503)
            return 503, {"Content-Type": "text/html"}, b"<html><head><title>503</title></head></html>"
        started = time.monotonic()
        address = {"Id": target.host, "Port": target.port}
        released = False
        try:
            status, fields, content = await alb._proxy_http_target(
                address, record, method, raw_path or path, headers, body, query, raw_query
            )
            if not isinstance(content, responses.StreamingResponse):
                metrics.balancer_answered(balancer, group, status)
                return status, fields, content
            metrics.target_answered(balancer, group, status, time.monotonic() - started)
            released = True
            return status, fields, responses.StreamingResponse(_releasing(content.runner, registry, target))
        finally:
            if not released:
                registry.release(target)

    replace(alb, "_execute_actions", execute_actions)
    replace(alb, "_forward_to_tg", forward_to_group)


def _releasing(run: Callable[..., Any], registry: TargetRegistry, target: Target) -> Callable[..., Any]:
    """The streamed body, with the request counted as finished when it ends."""

    async def runner(send: Any, receive: Any) -> None:
        try:
            await run(send, receive)
        finally:
            registry.release(target)

    return runner


# Answers


def _first(answer: Answer, element: str) -> str:
    found = re.search(rf"<{element}>([^<]+)</{element}>", answer[2].decode())
    assert found is not None
    return found.group(1)


def _error(code: str, message: str) -> Answer:
    answer: Answer = alb._error(code, message)
    return answer


def _empty(action: str) -> Answer:
    answer: Answer = alb._empty(action)
    return answer


def _xml(action: str, inner: str) -> Answer:
    answer: Answer = alb._xml(200, action, inner)
    return answer
