"""ECS as the service behaves: tasks that stop in order, deployments that heed target health, and AWS's refusals.

MiniStack reports a task STOPPED first and stops its container afterwards. Here a task is deregistered, drained,
sent SIGTERM, and STOPPED only once its containers have ended and their exit codes and logs are in.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound

from emulator import scheduler
from emulator.containers import container_options, health_of
from emulator.definitions import fault_of_definition
from emulator.faults import NO_CAPACITY
from emulator.network import remember_groups
from emulator.settings import Settings
from emulator.targets import Health, Target, TargetRegistry
from emulator.task_secrets import install_secrets
from emulator.together import Together
from emulator.upstream import concurrency, ecs, ecs_metadata, replace, responses

__all__ = ["EcsAdditions"]

logger = logging.getLogger("pointsman.ecs")
Task = dict[str, Any]
Answer = tuple[int, dict[str, str], bytes]
_DEFAULT_STOP_TIMEOUT = 30
_LOGS_PATIENCE = 5.0
_START_PATIENCE = 120.0
# MiniStack's words for whatever went wrong at the start of a task that no service runs.
_START_FAILED = "ResourceInitializationError: unable to pull image or start container: "
_FREE_FAILURES = 3
_PLACEMENT_PAUSE = 2.0
_FOREVER = 10**6
_LONGEST_THROTTLE = 10.0
_HEALTH_POLL = 0.3


class EcsAdditions:
    """Replaces parts of MiniStack's ECS; one a process."""

    def __init__(self, registry: TargetRegistry, settings: Settings, capacity_is_short: Callable[[str], bool]) -> None:
        self._registry = registry
        self._settings = settings
        self._capacity_is_short = capacity_is_short
        self._halted = threading.Event()
        self._token_lock = threading.Lock()
        self._scheduling = threading.RLock()
        self._tokens: dict[tuple[str, str, str, str], tuple[str, list[str]]] = {}
        self._starting: dict[str, threading.Event] = {}
        self._logs: dict[str, threading.Thread] = {}
        self._failures: dict[str, int] = {}
        self._together = Together()

    def halt(self) -> None:
        """Start no container any more: the emulator is going down."""
        self._halted.set()

    def await_starts(self, seconds: float) -> None:
        """Wait until no task is in the middle of its start, for so long at most."""
        deadline = time.monotonic() + seconds
        for started in list(self._starting.values()):
            started.wait(max(0.0, deadline - time.monotonic()))

    def install(self) -> None:
        """Put the additions in MiniStack's place."""
        self._install_start()
        self._install_stop()
        self._install_deployments()
        self._install_refusals()
        self._registry.on_changed.append(self._target_changed)

    # Starting tasks

    def _install_start(self) -> None:
        self._original_run_task: Callable[[dict[str, Any]], Answer] = replace(ecs, "_run_task", self._run_task)
        ecs._ACTION_MAP["RunTask"] = self._run_task_once
        self._original_worker: Callable[..., None] = replace(ecs, "_run_task_worker", self._work)
        build: Callable[..., dict[str, Any]] = ecs._build_run_kwargs

        @functools.wraps(build)
        def build_run_kwargs(cdef: dict[str, Any], td: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
            options = build(cdef, td, *args, **kwargs)
            joined = self._together.options(options["labels"]["com.amazonaws.ecs.task-arn"])
            return {**options, **container_options(cdef, td), **joined}

        replace(ecs, "_build_run_kwargs", build_run_kwargs)
        replace(ecs, "_start_awslogs_forwarder", self._start_logs)
        fail: Callable[..., None] = ecs._fail_task_start

        @functools.wraps(fail)
        def fail_task_start(task: Task, client: Any, reason: str) -> None:
            if reason.startswith(_START_FAILED) and "/images/create" in reason:
                reason = f"CannotPullContainerError: {reason.removeprefix(_START_FAILED)}"
            for container in task.get("containers", []):
                container.setdefault("reason", reason[:255])
            fail(task, client, reason)

        replace(ecs, "_fail_task_start", fail_task_start)
        self._together.install()
        install_secrets()

    def _run_task(self, data: dict[str, Any]) -> Answer:
        if self._halted.is_set():
            return _refused("ServerException", "The emulator is shutting down.", 500)
        group = str(data.get("group") or "")
        if group.startswith("service:") and self._capacity_is_short(group):
            self._try_later(data, group)
            no_task: Answer = ecs.json_response({"tasks": [], "failures": [{"reason": NO_CAPACITY}]})
            return no_task
        answer = self._original_run_task(data)
        if answer[0] == HTTPStatus.OK:
            remember_groups(data, [task["taskArn"] for task in json.loads(answer[2])["tasks"]])
        return answer

    def _try_later(self, data: dict[str, Any], group: str) -> None:
        """A service that finds no capacity says so in an event, and its scheduler tries again."""
        key = f"{data['cluster']}/{group.removeprefix('service:')}"
        service = ecs._services.get(key)
        if service is None:
            return
        message = f"(service {service['serviceName']}) was unable to place a task. Reason: {NO_CAPACITY}."
        service["events"].insert(0, {"id": responses.new_uuid(), "createdAt": ecs._iso(), "message": message})

        def again() -> None:
            if not self._halted.wait(_PLACEMENT_PAUSE):
                ecs._reconcile_service_tasks(data["cluster"], key)

        concurrency.spawn_background(again, thread_name=f"place-{service['serviceName']}")

    def _run_task_once(self, data: dict[str, Any]) -> Answer:
        """RunTask from outside: the same clientToken answers the tasks that it started."""
        token = data.get("clientToken")
        if not token:
            return self._run_task(data)
        cluster = ecs._resolve_cluster_name(data.get("cluster", "default")) or ""
        key = (responses.get_account_id(), responses.get_region(), cluster, token)
        request = json.dumps(data, sort_keys=True)
        with self._token_lock:
            known = self._tokens.get(key)
            if known is None:
                answer = self._run_task(data)
                if answer[0] == 200:
                    arns = [task["taskArn"] for task in json.loads(answer[2])["tasks"]]
                    self._tokens[key] = (request, arns)
                return answer
        first_request, arns = known
        if first_request != request:
            body = {
                "__type": "ConflictException",
                "message": "The RunTask request could not be processed due to conflicts. The provided clientToken "
                "is already in use with a different RunTask request.",
                "resourceIds": arns,
            }
            return 400, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(body).encode()
        tasks = [ecs._sanitize(ecs._tasks[arn]) for arn in arns if arn in ecs._tasks]
        answered: Answer = ecs.json_response({"tasks": tasks, "failures": []})
        return answered

    def _work(self, task: Task, *args: Any) -> None:
        started = self._starting[task["taskArn"]] = threading.Event()
        try:
            if self._placed(task):
                self._original_worker(task, *args)
        finally:
            started.set()

    def _placed(self, task: Task) -> bool:
        """Wait as long as AWS needs for network interface, machine and image; False: nobody wants the task any more."""
        end = time.monotonic() + self._settings.task_start
        while not self._halted.is_set() and ecs._task_is_active(task["taskArn"], task):
            if time.monotonic() >= end:
                return True
            self._halted.wait(0.1)
        return False

    def _start_logs(self, container: Any, cdef: dict[str, Any], task_id: str) -> None:
        config = ecs._awslogs_config(cdef, task_id, container.id)
        if config is None:
            return
        thread = threading.Thread(
            target=ecs._forward_awslogs,
            args=(container, config, responses.get_account_id(), config["region"] or responses.get_region()),
            name=f"awslogs-{task_id[:8]}",
            daemon=True,
        )
        self._logs[container.id] = thread
        thread.start()

    # Stopping tasks

    def _install_stop(self) -> None:
        replace(ecs, "_stop_task", self._stop_for_service)
        ecs._ACTION_MAP["StopTask"] = self._stop_by_user
        replace(ecs, "_cleanup_task_resources", self._end_containers)
        self._observe_exit: Callable[..., None] = replace(ecs, "_maybe_mark_stopped", lambda *_: None)
        replace(ecs, "_watch_task_lifecycle", self._watch)

    def _stop_by_user(self, data: dict[str, Any]) -> Answer:
        reason = data.get("reason") or "Task stopped by user"
        return self._stop(data, reason, "UserInitiated")

    def _stop_for_service(self, data: dict[str, Any]) -> Answer:
        reason = data.get("reason", "")
        task = ecs._resolve_task(data.get("task", ""), data.get("cluster", "default"))
        if task is not None and task.get("_sick"):
            return self._stop(data, task["_sick"], "ServiceSchedulerInitiated")
        deployment = (task or {}).get("_deployment_id") or ""
        full = f"Scaling activity initiated by (deployment {deployment})" if deployment else reason
        return self._stop(data, full, "ServiceSchedulerInitiated")

    def _stop(self, data: dict[str, Any], reason: str, code: str) -> Answer:
        cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
        if cluster is None:
            return _refused("ClusterNotFoundException", "Cluster not found.")
        task = ecs._resolve_task(data.get("task", ""), cluster)
        if task is None:
            return _refused("InvalidParameterException", "The referenced task was not found.")
        self._begin_stop(task, reason, code)
        answered: Answer = ecs.json_response({"task": ecs._sanitize(task)})
        return answered

    def _begin_stop(self, task: Task, reason: str, code: str) -> bool:
        """Make the task's desired status STOPPED and let a thread do the rest; False: it is stopping already."""
        arn = task["taskArn"]
        with concurrency.resource_lock("ecs-task", arn):
            if not ecs._task_is_active(arn, task):
                return False
            ecs._bump_task_version(task)
            task["desiredStatus"] = "STOPPED"
            task["lastStatus"] = "DEACTIVATING"
            task["stoppingAt"] = ecs._iso()
            task["stoppedReason"], task["stopCode"] = reason, code
        ecs_metadata.set_task_status(arn, desired_status="STOPPED")
        self._refresh(task)
        concurrency.spawn_background(self._finish_stop, task, thread_name=f"stop-{arn.rsplit('/', 1)[-1][:8]}")
        return True

    def _finish_stop(self, task: Task) -> None:
        for target in self._targets_of(task):
            while not self._registry.is_drained(target, whole=self._settings.whole_deregistration):
                time.sleep(0.02)
        # A worker in the middle of starting the task sees that it is unwanted, and ends what it began.
        started = self._starting.get(task["taskArn"])
        if started is not None:
            started.wait(_START_PATIENCE)
        task["lastStatus"] = "STOPPING"
        self._end_containers(task, ecs._get_docker())
        self._mark_stopped(task)

    def _mark_stopped(self, task: Task) -> None:
        arn = task["taskArn"]
        with concurrency.resource_lock("ecs-task", arn):
            now = ecs._iso()
            task["executionStoppedAt"] = task["stoppedAt"] = now
            task["lastStatus"] = "DEPROVISIONING"
            ecs._bump_task_version(task)
            for container in task.get("containers", []):
                container["lastStatus"] = "STOPPED"
            task["lastStatus"] = "STOPPED"
            ecs._bump_task_version(task)
        ecs_metadata.set_task_status(arn, known_status="STOPPED", desired_status="STOPPED")
        ecs_metadata.set_all_container_status(arn, "STOPPED")
        self._refresh(task)

    def _end_containers(self, task: Task, client: Any, extra: Any = None) -> None:
        """SIGTERM, SIGKILL after stopTimeout, exit code, last log lines, removal; for every container of the task."""
        with concurrency.resource_lock("ecs-task", task["taskArn"]):
            ids = list(task.get("_docker_ids") or [])
            tokens = list(task.get("_metadata_tokens") or [])
            task["_docker_ids"], task["_metadata_tokens"] = [], []
        for token in tokens:
            ecs_metadata.unregister_token(token)
        if extra is not None and extra.id not in ids:
            ids.append(extra.id)
        client = client or ecs._get_docker()

        def end(container_id: str) -> None:
            try:
                self._end_container(task, client.containers.get(container_id))
            except NotFound:
                return
            except DockerException as error:
                if isinstance(error, APIError) and error.status_code == HTTPStatus.CONFLICT:
                    return  # Its removal is under way already.
                logger.exception("container %s could not be stopped and removed", container_id[:12])

        self._together.stop(task, end, ids)
        self._together.release_network(task, client)

    def _end_container(self, task: Task, container: Any) -> None:
        name = container.labels.get("com.amazonaws.ecs.container-name", "")
        container.stop(timeout=_stop_timeout(task, name))
        container.reload()
        state = container.attrs["State"]
        self._await_logs(container.id)
        for described in task.get("containers", []):
            if described["name"] == name and state["StartedAt"] > "0002":
                described["exitCode"] = state["ExitCode"]
                if state.get("OOMKilled"):
                    described["reason"] = "OutOfMemoryError: Container killed due to memory usage"
        container.remove(v=True, force=True)

    def _await_logs(self, container_id: str) -> None:
        thread = self._logs.pop(container_id, None)
        if thread is not None:
            thread.join(_LOGS_PATIENCE)

    def _watch(self, task: Task, client: Any, account: str, region: str) -> None:
        """Wait for each container's exit, in a thread that sleeps in Docker's own wait call."""
        for container_id in list(task.get("_docker_ids") or []):
            concurrency.spawn_background(
                self._watch_container,
                task,
                container_id,
                account,
                region,
                thread_name=f"watch-{container_id[:8]}",
            )
        if _checked(task):
            concurrency.spawn_background(
                self._watch_health,
                task,
                account,
                region,
                thread_name=f"health-{task['taskArn'].rsplit('/', 1)[-1][:8]}",
            )
        group, cluster = task.get("group", ""), ecs._cluster_name_from_arn(task.get("clusterArn", ""))
        if cluster and group.startswith("service:"):
            ecs._schedule_service_deployment_completion(
                cluster, f"{cluster}/{group.removeprefix('service:')}", account, region, healthy_task=task
            )

    def _watch_container(self, task: Task, container_id: str, account: str, region: str) -> None:
        client = docker.from_env(timeout=_FOREVER)
        try:
            while ecs._task_is_active(task["taskArn"], task):
                try:
                    client.api.wait(container_id, timeout=_FOREVER)
                    break
                except NotFound:
                    return
                except (DockerException, OSError):
                    time.sleep(0.5)
        finally:
            client.close()
        if self._halted.is_set():
            return
        self._await_logs(container_id)
        with responses.request_scope(account, region):
            self._observe_exit(task, ecs._get_docker())

    def _watch_health(self, task: Task, account: str, region: str) -> None:
        """Keep the task's health as its containers' own checks see it, and let its service heed it."""
        client, began = docker.from_env(timeout=_FOREVER), time.monotonic()
        try:
            while ecs._task_is_active(task["taskArn"], task) and not self._halted.wait(_HEALTH_POLL):
                before = task.get("healthStatus")
                self._see_health(task, client)
                if task["healthStatus"] == before:
                    continue
                with responses.request_scope(account, region):
                    service = _service_of(task)
                    if service is not None and task["healthStatus"] == "HEALTHY":
                        self._advance(task, service)
                    elif service is not None and task["healthStatus"] == "UNHEALTHY":
                        _wait_out_grace(service, began)
                        self._see_health(task, client)
                        if task["healthStatus"] == "UNHEALTHY":
                            self._replace(task, service, "Task failed container health checks")
        except NotFound:
            return
        finally:
            client.close()

    def _see_health(self, task: Task, client: Any) -> None:
        """https://docs.aws.amazon.com/AmazonECS/latest/developerguide/healthcheck.html: essential containers decide."""
        definitions = {cdef["name"]: cdef for cdef in _checked(task)}
        for container_id in list(task.get("_docker_ids") or []):
            container = client.containers.get(container_id)
            name = container.labels.get("com.amazonaws.ecs.container-name", "")
            for described in task.get("containers", []):
                if described["name"] == name and name in definitions:
                    described["healthStatus"] = health_of(container.attrs["State"])
        deciding = {
            described["healthStatus"]
            for described in task.get("containers", [])
            if definitions.get(described["name"], {}).get("essential", False)
        }
        worst = next((health for health in ("UNHEALTHY", "UNKNOWN", "HEALTHY") if health in deciding), "UNKNOWN")
        task["healthStatus"] = worst

    # Deployments

    def _install_deployments(self) -> None:
        self._original_failure: Callable[..., None] = replace(ecs, "_record_service_task_failure", self._count_failure)
        self._original_healthy: Callable[..., None] = replace(ecs, "_record_service_task_healthy", self._count_healthy)
        refresh: Callable[[str, str], None] = ecs._refresh_service_state
        make: Callable[..., dict[str, Any]] = ecs._make_deployment

        @functools.wraps(refresh)
        def refresh_service_state(cluster: str, group: str) -> None:
            refresh(cluster, group)
            _drop_replaced_failures(cluster, group)

        @functools.wraps(make)
        def make_deployment(task_definition: str, desired: int, status: str = "PRIMARY") -> dict[str, Any]:
            deployment = make(task_definition, desired, status)
            if desired:
                deployment["rolloutState"] = "IN_PROGRESS"
                deployment["rolloutStateReason"] = f"ECS deployment {deployment['id']} in progress."
            return deployment

        replace(ecs, "_reconcile_service_tasks", scheduler.reconcile)
        # Two threads that count a service's tasks at once would both start the one that is missing.
        for name in (
            "_reconcile_service_tasks",
            "_complete_service_deployment",
            "_create_service",
            "_update_service",
            "_delete_service",
        ):
            replace(ecs, name, self._one_at_a_time(getattr(ecs, name)))
        replace(ecs, "_refresh_service_state", refresh_service_state)
        replace(ecs, "_make_deployment", make_deployment)

    def _one_at_a_time(self, work: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(work)
        def locked(*args: Any, **kwargs: Any) -> Any:
            with self._scheduling:
                return work(*args, **kwargs)

        return locked

    def _count_failure(self, task: Task, *args: Any, **kwargs: Any) -> None:
        if self._halted.is_set():
            return
        group = f"{task.get('clusterArn')}/{task.get('group')}"
        failures = self._failures[group] = self._failures.get(group, 0) + 1
        if failures > _FREE_FAILURES:
            # ECS throttles a service whose tasks keep failing.
            time.sleep(min(0.5 * 2 ** (failures - _FREE_FAILURES), _LONGEST_THROTTLE))
        self._original_failure(task, *args, **kwargs)

    def _count_healthy(self, service_key: str, task: Task) -> None:
        """A task is healthy when its target and its own check are, not when its container runs."""
        if _waits_for_health(task):
            return
        if all(target.health in (Health.HEALTHY, Health.UNUSED) for target in self._targets_of(task)):
            self._failures.pop(f"{task.get('clusterArn')}/{task.get('group')}", None)
            self._original_healthy(service_key, task)

    def _target_changed(self, target: Target, before: Health) -> None:
        if target.health in (Health.HEALTHY, Health.UNHEALTHY):
            concurrency.spawn_background(self._heed, target, thread_name=f"heed-{target.host}")

    def _heed(self, target: Target) -> None:
        for (account, region, _), task in ecs._tasks.all_items():
            if task.get("lastStatus") != "RUNNING" or ecs._task_ip(task) != target.host:
                continue
            with responses.request_scope(account, region):
                service = _service_of(task)
                if service is None or not any(
                    balancer.get("targetGroupArn") == target.group for balancer in service["loadBalancers"]
                ):
                    continue
                if target.health is Health.HEALTHY:
                    self._advance(task, service)
                else:
                    self._replace_unhealthy(task, service, target)

    def _advance(self, task: Task, service: dict[str, Any]) -> None:
        cluster = ecs._cluster_name_from_arn(task["clusterArn"])
        key = f"{cluster}/{service['serviceName']}"
        self._count_healthy(key, task)
        ecs._refresh_service_state(cluster, task["group"])
        ecs._reconcile_service_tasks(cluster, key)
        ecs._complete_service_deployment(cluster, key)

    def _replace_unhealthy(self, task: Task, service: dict[str, Any], target: Target) -> None:
        """Let the scheduler replace a task whose target is unhealthy, once the service's grace period is over."""
        _wait_out_grace(service, target.registered_at)
        if target.health is Health.UNHEALTHY and self._registry.holds(target):
            self._replace(task, service, f"Task failed ELB health checks in (target-group {target.group})")

    def _replace(self, task: Task, service: dict[str, Any], why: str) -> None:
        if task.get("_sick") or not ecs._task_is_active(task["taskArn"], task):
            return
        task["_sick"] = why
        logger.warning("%s: %s", service["serviceName"], task["_sick"])
        self._count_failure(task)
        cluster = ecs._cluster_name_from_arn(task["clusterArn"])
        ecs._reconcile_service_tasks(cluster, f"{cluster}/{service['serviceName']}")

    def _targets_of(self, task: Task) -> list[Target]:
        service, address = _service_of(task), ecs._task_ip(task)
        found = []
        for balancer in (service or {}).get("loadBalancers") or []:
            target = self._registry.find(balancer.get("targetGroupArn", ""), address, balancer.get("containerPort", 80))
            if target is not None:
                found.append(target)
        return found

    def _refresh(self, task: Task) -> None:
        cluster = ecs._cluster_name_from_arn(task.get("clusterArn", ""))
        if cluster:
            ecs._recount_cluster(cluster)
            ecs._refresh_service_state(cluster, task.get("group", ""))

    # Refusals

    def _install_refusals(self) -> None:
        delete: Callable[[dict[str, Any]], Answer] = ecs._delete_cluster

        def delete_cluster(data: dict[str, Any]) -> Answer:
            name = ecs._resolve_cluster_name(data.get("cluster", "default"))
            if name in ecs._clusters:
                if any(key.startswith(f"{name}/") and s["status"] != "INACTIVE" for key, s in ecs._services.items()):
                    return _refused(
                        "ClusterContainsServicesException",
                        "The Cluster cannot be deleted while Services are active.",
                    )
                arn = ecs._clusters[name]["clusterArn"]
                if any(t.get("clusterArn") == arn and t["lastStatus"] != "STOPPED" for t in ecs._tasks.values()):
                    return _refused(
                        "ClusterContainsTasksException",
                        "The Cluster cannot be deleted while Tasks are active.",
                    )
            return delete(data)

        replace(ecs, "_delete_cluster", delete_cluster)
        register: Callable[[dict[str, Any]], Answer] = ecs._register_task_definition

        def register_task_definition(data: dict[str, Any]) -> Answer:
            fault = fault_of_definition(data)
            return _refused("ClientException", fault) if fault else register(data)

        replace(ecs, "_register_task_definition", register_task_definition)


def _service_of(task: Task) -> dict[str, Any] | None:
    group = task.get("group", "")
    if not group.startswith("service:"):
        return None
    cluster = ecs._cluster_name_from_arn(task.get("clusterArn", ""))
    service: dict[str, Any] | None = ecs._services.get(f"{cluster}/{group.removeprefix('service:')}")
    return service


def _drop_replaced_failures(cluster: str, group: str) -> None:
    """A failed deployment that a completed one replaced is gone from DescribeServices, as on AWS."""
    service = ecs._services.get(f"{cluster}/{group.removeprefix('service:')}")
    if service is None:
        return
    primary = ecs._primary_deployment(service)
    if primary is None or primary.get("rolloutState") != "COMPLETED":
        return
    service["deployments"] = [
        deployment
        for deployment in service["deployments"]
        if deployment["status"] == "PRIMARY" or deployment.get("runningCount") or deployment.get("pendingCount")
    ]


def _checked(task: Task) -> list[dict[str, Any]]:
    """The definitions of a task's containers that have a health check."""
    definition = ecs._task_defs.get(ecs._resolve_td_key(task["taskDefinitionArn"])) or {}
    return [cdef for cdef in definition.get("containerDefinitions", []) if cdef.get("healthCheck")]


def _waits_for_health(task: Task) -> bool:
    return any(cdef.get("essential", True) for cdef in _checked(task)) and task.get("healthStatus") != "HEALTHY"


def _wait_out_grace(service: dict[str, Any], since: float) -> None:
    """Sleep until the service's grace period, which began at `since` on the monotonic clock, is over."""
    grace = float(service.get("healthCheckGracePeriodSeconds") or 0)
    time.sleep(max(0.0, grace - (time.monotonic() - since)))


def _stop_timeout(task: Task, container_name: str) -> int:
    definition = ecs._task_defs.get(ecs._resolve_td_key(task["taskDefinitionArn"])) or {}
    for cdef in definition.get("containerDefinitions", []):
        if cdef["name"] == container_name and cdef.get("stopTimeout") is not None:
            return int(cdef["stopTimeout"])
    return _DEFAULT_STOP_TIMEOUT


def _refused(code: str, message: str, status: int = 400) -> Answer:
    answer: Answer = ecs.error_response_json(code, message, status)
    return answer
