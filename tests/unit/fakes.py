"""One small fake a system: what boto3's clients do at the calls that we use, with faults at any of them.

A fault either keeps a call from having its effect or loses the answer after it had it; the errors are botocore's own.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from blocks.environment import ReleaseEnvironment
from core.colour import Colour, Weights
from core.record import Infrastructure, Owner
from core.settings import EnvironmentSettings
from operation.operation import Operation, open_operation
from systems.aws import AwsClients
from systems.records import RecordStore
from tests.unit.facts import INFRASTRUCTURE, NOON

Answer = dict[str, Any]
ENDPOINT = "https://aws.example.com"
OWNER = "123456789012"


def lost() -> Exception:
    """The answer did not come in time."""
    error: Exception = ReadTimeoutError(endpoint_url=ENDPOINT)
    return error


def closed() -> Exception:
    """The connection was closed before the answer."""
    error: Exception = ConnectionClosedError(endpoint_url=ENDPOINT)
    return error


def unreachable() -> Exception:
    """No connection was made."""
    error: Exception = EndpointConnectionError(endpoint_url=ENDPOINT)
    return error


def refusal(code: str, status: int = 400, operation: str = "Call") -> ClientError:
    """AWS's own error answer."""
    return ClientError(
        {"Error": {"Code": code, "Message": "said so"}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation
    )


@dataclass
class Fault:
    """What goes wrong at one call: whether it had its effect, and what else happens at that moment."""

    error: Exception
    lands: bool = False
    meanwhile: Callable[[], object] = lambda: None


@dataclass
class _Fake:
    calls: list[tuple[str, Answer]] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    broken: dict[str, Callable[[], Exception]] = field(default_factory=dict)

    def fail(self, call: str, *faults: Fault) -> None:
        """Let the next calls of that name go wrong, one fault each."""
        self.faults.setdefault(call, []).extend(faults)

    def count(self, call: str) -> int:
        """How often a call was made."""
        return sum(name == call for name, _ in self.calls)

    def _do(self, call: str, arguments: Answer, effect: Callable[[], Answer]) -> Answer:
        self.calls.append((call, arguments))
        if call in self.broken:
            raise self.broken[call]()
        waiting = self.faults.get(call)
        if not waiting:
            return effect()
        fault = waiting.pop(0)
        if fault.lands:
            effect()
        fault.meanwhile()
        raise fault.error


@dataclass
class Version:
    """One version of an object; one without content is the marker of its deletion."""

    id: str
    content: bytes | None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class FakeS3(_Fake):
    """Objects with conditional writes, and buckets with what makes them safe."""

    objects: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    buckets: dict[str, set[str]] = field(default_factory=dict)
    open_points: set[str] = field(default_factory=set)
    owner: str = OWNER
    written: int = 0
    lifecycle: list[Answer] = field(default_factory=list)
    versions: dict[str, list[Version]] = field(default_factory=dict)

    def get_object(
        self,
        *,
        Bucket: str,  # noqa: N803 - boto3's names
        Key: str,  # noqa: N803
        ExpectedBucketOwner: str | None = None,  # noqa: N803
        VersionId: str | None = None,  # noqa: N803
    ) -> Answer:
        def read() -> Answer:
            self._check_owner("GetObject", ExpectedBucketOwner)
            if VersionId is not None:
                found = next((v for v in self._history(Key) if v.id == VersionId and v.content is not None), None)
                if found is None:
                    raise refusal("NoSuchVersion", 404, "GetObject")
                return {"Body": io.BytesIO(found.content or b""), "ETag": found.id, "Metadata": found.metadata}
            if Key not in self.objects:
                raise refusal("NoSuchKey", 404, "GetObject")
            body, etag = self.objects[Key]
            return {"Body": io.BytesIO(body), "ETag": etag}

        return self._do("get_object", {"Key": Key}, read)

    def _history(self, key: str) -> list[Version]:
        """Every version of an object, oldest first; one that a test put there by hand is the newest."""
        kept = self.versions.get(key, [])
        now = self.objects.get(key)
        if now is None or (kept and (kept[-1].content, kept[-1].id) == now):
            return kept
        return [*kept, Version(now[1], now[0])]

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        ExpectedBucketOwner: str | None = None,  # noqa: N803
        **condition: Any,
    ) -> Answer:
        def write() -> Answer:
            self._check_owner("PutObject", ExpectedBucketOwner)
            current = self.objects.get(Key)
            if condition.get("IfNoneMatch") == "*" and current is not None:
                raise refusal("PreconditionFailed", 412, "PutObject")
            if "IfMatch" in condition and current is None:
                raise refusal("NoSuchKey", 404, "PutObject")
            if "IfMatch" in condition and current is not None and current[1] != condition["IfMatch"]:
                raise refusal("PreconditionFailed", 412, "PutObject")
            self.versions[Key] = self._history(Key)
            self.written += 1
            self.objects[Key] = (Body, f'"{self.written}"')
            self.versions[Key].append(Version(f'"{self.written}"', Body, condition.get("Metadata", {})))
            return {"ETag": self.objects[Key][1], "VersionId": self.objects[Key][1]}

        return self._do("put_object", {"Key": Key, **condition}, write)

    def delete_object(self, *, Bucket: str, Key: str, ExpectedBucketOwner: str | None = None) -> Answer:  # noqa: N803
        def delete() -> Answer:
            self._check_owner("DeleteObject", ExpectedBucketOwner)
            self.versions[Key] = self._history(Key)
            self.written += 1
            self.versions[Key].append(Version(f'"{self.written}"', None))
            self.objects.pop(Key, None)
            return {}

        return self._do("delete_object", {"Key": Key}, delete)

    def list_object_versions(self, *, Bucket: str, Prefix: str, ExpectedBucketOwner: str | None = None) -> Answer:  # noqa: N803
        def read() -> Answer:
            self._check_owner("ListObjectVersions", ExpectedBucketOwner)
            page: Answer = {"Versions": [], "DeleteMarkers": []}
            for key in sorted(k for k in {*self.objects, *self.versions} if k.startswith(Prefix)):
                history = self._history(key)
                for place, version in reversed(list(enumerate(history))):
                    entry = {
                        "Key": key,
                        "VersionId": version.id,
                        "IsLatest": version is history[-1],
                        "LastModified": NOON + timedelta(minutes=place),
                    }
                    if version.content is None:
                        page["DeleteMarkers"].append(entry)
                    else:
                        page["Versions"].append({**entry, "ETag": version.id})
            return page

        return self._do("list_object_versions", {"Prefix": Prefix}, read)

    def list_buckets(self) -> Answer:
        return self._do("list_buckets", {}, lambda: {"Buckets": [{"Name": name} for name in self.buckets]})

    def create_bucket(self, *, Bucket: str, **where: Any) -> Answer:  # noqa: N803
        def create() -> Answer:
            if Bucket in self.buckets:
                raise refusal("BucketAlreadyOwnedByYou", 409, "CreateBucket")
            self.buckets[Bucket] = set()
            return {}

        return self._do("create_bucket", {"Bucket": Bucket, **where}, create)

    def get_bucket_versioning(self, *, Bucket: str, ExpectedBucketOwner: str) -> Answer:  # noqa: N803
        self._check_owner("GetBucketVersioning", ExpectedBucketOwner)
        on = {"Status": "Enabled"} if "versioned" in self.buckets[Bucket] else {}
        return self._do("get_bucket_versioning", {}, lambda: on)

    def get_public_access_block(self, *, Bucket: str, ExpectedBucketOwner: str) -> Answer:  # noqa: N803
        def read() -> Answer:
            if "closed" not in self.buckets[Bucket]:
                raise refusal("NoSuchPublicAccessBlockConfiguration", 404, "GetPublicAccessBlock")
            points = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
            return {"PublicAccessBlockConfiguration": {p: p not in self.open_points for p in points}}

        self._check_owner("GetPublicAccessBlock", ExpectedBucketOwner)
        return self._do("get_public_access_block", {}, read)

    def list_objects_v2(self, *, Bucket: str, ExpectedBucketOwner: str, MaxKeys: int) -> Answer:  # noqa: N803
        self._check_owner("ListObjectsV2", ExpectedBucketOwner)
        return self._do("list_objects_v2", {}, lambda: {"KeyCount": min(MaxKeys, len(self.objects))})

    def _check_owner(self, call: str, owner: str | None) -> None:
        if owner is not None and owner != self.owner:
            raise refusal("AccessDenied", 403, call)

    def _secure(self, call: str, bucket: str, kind: str) -> Answer:
        def secure() -> Answer:
            self.buckets[bucket].add(kind)
            return {}

        return self._do(call, {"Bucket": bucket}, secure)

    def put_bucket_versioning(self, *, Bucket: str, **_: Any) -> Answer:  # noqa: N803
        return self._secure("put_bucket_versioning", Bucket, "versioned")

    def put_bucket_encryption(self, *, Bucket: str, **_: Any) -> Answer:  # noqa: N803
        return self._secure("put_bucket_encryption", Bucket, "encrypted")

    def put_bucket_lifecycle_configuration(self, *, Bucket: str, LifecycleConfiguration: Answer, **_: Any) -> Answer:  # noqa: N803
        self.lifecycle = LifecycleConfiguration["Rules"]
        return self._secure("put_bucket_lifecycle_configuration", Bucket, "expiring")

    def get_bucket_lifecycle_configuration(self, *, Bucket: str, ExpectedBucketOwner: str) -> Answer:  # noqa: N803
        def read() -> Answer:
            self._check_owner("GetBucketLifecycleConfiguration", ExpectedBucketOwner)
            if not self.lifecycle:
                raise refusal("NoSuchLifecycleConfiguration", 404, "GetBucketLifecycleConfiguration")
            return {"Rules": self.lifecycle}

        return self._do("get_bucket_lifecycle_configuration", {"Bucket": Bucket}, read)

    def put_public_access_block(self, *, Bucket: str, **_: Any) -> Answer:  # noqa: N803
        return self._secure("put_public_access_block", Bucket, "closed")


class _Paginator:
    """boto3's paginator, with everything on one page."""

    def __init__(self, call: Callable[..., Answer]) -> None:
        self._call = call

    def paginate(self, **arguments: Any) -> list[Answer]:
        return [self._call(**arguments)]


@dataclass
class FakeElbV2(_Fake):
    """The production listener's weights, what else somebody put there, and each colour's healthy targets."""

    infrastructure: Infrastructure = INFRASTRUCTURE
    weights: Weights = field(default_factory=lambda: Weights.all_on(Colour.BLUE))
    healthy: dict[Colour, int] = field(default_factory=lambda: {Colour.BLUE: 1, Colour.GREEN: 1})
    history: list[Weights] = field(default_factory=list)
    health_paths: dict[str, str] = field(default_factory=dict)
    matchers: dict[str, str] = field(default_factory=dict)
    stale: list[Weights] = field(default_factory=list)
    foreign: Callable[[Answer], list[Answer]] | None = None
    rules: list[Answer] = field(default_factory=list)
    listeners: dict[str, int] = field(default_factory=dict)
    filling: dict[Colour, list[int]] = field(default_factory=dict)
    targets: dict[Colour, list[tuple[str, str]]] = field(default_factory=dict)
    """Address and state of each target, where a test is about them."""

    def describe_target_groups(self, *, TargetGroupArns: list[str]) -> Answer:  # noqa: N803
        def read() -> Answer:
            arn = TargetGroupArns[0]
            path, matcher = self.health_paths.get(arn, "/healthz"), self.matchers.get(arn, "200")
            group = {"TargetGroupArn": arn, "HealthCheckPath": path, "Matcher": {"HttpCode": matcher}}
            return {"TargetGroups": [group]}

        return self._do("describe_target_groups", {"TargetGroupArns": TargetGroupArns}, read)

    def modify_target_group(self, *, TargetGroupArn: str, HealthCheckPath: str, Matcher: dict[str, str]) -> Answer:  # noqa: N803
        def write() -> Answer:
            self.health_paths[TargetGroupArn] = HealthCheckPath
            self.matchers[TargetGroupArn] = Matcher["HttpCode"]
            return {}

        return self._do("modify_target_group", {"TargetGroupArn": TargetGroupArn}, write)

    def get_paginator(self, name: str) -> _Paginator:
        return _Paginator(getattr(self, name))

    def describe_listeners(self, *, ListenerArns: list[str] | None = None, LoadBalancerArn: str = "") -> Answer:  # noqa: N803
        def read() -> Answer:
            if ListenerArns is None:
                ports = {self.infrastructure.production_listener_arn: 80, **self.listeners}
                return {"Listeners": [{"ListenerArn": arn, "Port": port} for arn, port in ports.items()]}
            weights = self.stale.pop(0) if self.stale else self.weights
            groups = [
                {"TargetGroupArn": self.infrastructure.target_group_arns[c], "Weight": weights.of(c)} for c in Colour
            ]
            forward = {
                "Type": "forward",
                "ForwardConfig": {"TargetGroups": groups, "TargetGroupStickinessConfig": {"Enabled": False}},
            }
            actions = self.foreign(forward) if self.foreign else [forward]
            balancer = {"LoadBalancerArn": "arn:balancer"}
            return {"Listeners": [{"ListenerArn": ListenerArns[0], "DefaultActions": actions, **balancer}]}

        return self._do("describe_listeners", {"ListenerArns": ListenerArns, "LoadBalancerArn": LoadBalancerArn}, read)

    def describe_rules(self, *, ListenerArn: str) -> Answer:  # noqa: N803
        default = {"Priority": "default", "IsDefault": True, "Actions": []}
        return self._do("describe_rules", {"ListenerArn": ListenerArn}, lambda: {"Rules": [*self.rules, default]})

    def modify_listener(self, *, ListenerArn: str, DefaultActions: list[Answer]) -> Answer:  # noqa: N803
        def write() -> Answer:
            groups = DefaultActions[0]["ForwardConfig"]["TargetGroups"]
            weight = {g["TargetGroupArn"]: g["Weight"] for g in groups}
            arns = self.infrastructure.target_group_arns
            self.weights = Weights(blue=weight[arns[Colour.BLUE]], green=weight[arns[Colour.GREEN]])
            self.foreign = None
            self.history.append(self.weights)
            return {}

        return self._do("modify_listener", {"ListenerArn": ListenerArn, "DefaultActions": DefaultActions}, write)

    def describe_target_health(self, *, TargetGroupArn: str) -> Answer:  # noqa: N803
        def read() -> Answer:
            colour = next(c for c, arn in self.infrastructure.target_group_arns.items() if arn == TargetGroupArn)
            if self.filling.get(colour):
                self.healthy[colour] = self.filling[colour].pop(0)
            found = self.targets.get(colour, [("10.0.0.1", "healthy")] * self.healthy[colour])
            described = [{"Target": {"Id": host}, "TargetHealth": {"State": state}} for host, state in found]
            return {"TargetHealthDescriptions": described}

        return self._do("describe_target_health", {}, read)


@dataclass
class Task:
    """A task of the fake cluster; one that is being stopped is seen STOPPED after `lingers` more looks."""

    arn: str
    started_by: str
    last: str = "RUNNING"
    desired: str = "RUNNING"
    exit_code: int | None = None
    lingers: int = 1

    def described(self) -> Answer:
        if self.desired == "STOPPED" and self.last != "STOPPED":
            self.lingers -= 1
            if self.lingers < 0:
                self.last = "STOPPED"
        return {
            "taskArn": self.arn,
            "lastStatus": self.last,
            "desiredStatus": self.desired,
            "startedBy": self.started_by,
            "stoppedReason": "said so",
            # AWS may put an agent of its own beside it.
            "containers": [{"name": "aws-agent", "exitCode": 0}, {"name": "shop", "exitCode": self.exit_code}],
        }


@dataclass
class FakeEcs(_Fake):
    """One service a colour that does at once what it is told, and one-off tasks.

    `running` and `failing` say where it does not; `stale` are answers that a lagging read gives first.
    """

    desired: dict[str, int] = field(default_factory=dict)
    deployments: dict[str, int] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    uses: dict[str, str] = field(default_factory=dict)
    failing: dict[str, list[str]] = field(default_factory=dict)
    events: dict[str, list[str]] = field(default_factory=dict)
    older: dict[str, list[Answer]] = field(default_factory=dict)
    stale: list[list[Answer]] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    tokens: dict[str, Task] = field(default_factory=dict)
    ends_with: int | None = 0
    failures: list[Answer] = field(default_factory=list)
    definitions: dict[str, Answer] = field(default_factory=dict)
    on_run: Callable[[Answer], int | None] | None = None
    serving: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Address and definition of each task of a service, where a test is about them."""

    def get_paginator(self, name: str) -> _Paginator:
        return _Paginator(getattr(self, name))

    def service(self, name: str) -> Answer:
        """What ECS says of one service."""
        running = self.running.get(name, self.desired[name])
        number = self.deployments.get(name, 0)
        primary = {
            "status": "PRIMARY",
            "id": f"ecs-svc/{name}/{number}",
            "runningCount": running,
            "rolloutState": (self.failing.get(name) or ["COMPLETED"])[0],
            "rolloutStateReason": "tasks failed to start",
        }
        return {
            "status": "ACTIVE",
            "taskDefinition": self.uses.get(name, f"{name}:1"),
            "desiredCount": self.desired[name],
            "runningCount": running,
            "pendingCount": 0,
            "deployments": [primary, *self.older.get(name, [])],
            "events": [{"id": str(n), "message": said} for n, said in enumerate(self.events.get(name, []))],
        }

    def describe_services(self, *, cluster: str, services: list[str]) -> Answer:
        def read() -> Answer:
            if self.stale:
                return {"services": self.stale.pop(0)}
            return {"services": [self.service(name) for name in services if name in self.desired]}

        return self._do("describe_services", {"services": services}, read)

    def update_service(
        self,
        *,
        cluster: str,
        service: str,
        desiredCount: int,  # noqa: N803
        forceNewDeployment: bool = False,  # noqa: N803
        taskDefinition: str | None = None,  # noqa: N803
    ) -> Answer:
        arguments = {"service": service, "desiredCount": desiredCount, "taskDefinition": taskDefinition}

        def write() -> Answer:
            ran = self.running.pop(service, self.desired[service])
            self.desired[service] = desiredCount
            if taskDefinition is not None:
                self.uses[service] = taskDefinition
            self.deployments[service] = self.deployments.get(service, 0) + forceNewDeployment
            if forceNewDeployment and self.failing.get(service):
                self.failing[service].pop(0)
            return {"service": {**self.service(service), "runningCount": ran}}  # nothing has started or stopped yet

        return self._do("update_service", arguments, write)

    def run_task(self, *, startedBy: str, clientToken: str, **arguments: Any) -> Answer:  # noqa: N803
        def run() -> Answer:
            if self.failures:
                return {"tasks": [], "failures": [self.failures.pop(0)]}
            if clientToken not in self.tokens:
                if self.on_run is not None:
                    self.ends_with = self.on_run(arguments)
                task = Task(f"arn:aws:ecs:eu-west-1:123456789012:task/c/{len(self.tasks)}", startedBy)
                if self.ends_with is not None:
                    task.last = task.desired = "STOPPED"
                    task.exit_code = self.ends_with
                self.tasks.append(task)
                self.tokens[clientToken] = task
            return {"tasks": [{"taskArn": self.tokens[clientToken].arn}], "failures": []}

        return self._do("run_task", {"startedBy": startedBy, "clientToken": clientToken, **arguments}, run)

    def list_tasks(
        self,
        *,
        cluster: str,
        startedBy: str | None = None,  # noqa: N803
        serviceName: str | None = None,  # noqa: N803
        family: str | None = None,
        desiredStatus: str = "RUNNING",  # noqa: N803 - the API's own default
    ) -> Answer:
        def read() -> Answer:
            found = [
                t.arn
                for t in self.tasks
                if t.desired == desiredStatus and serviceName is None and startedBy in (None, t.started_by)
            ]
            if serviceName is not None and desiredStatus == "RUNNING":
                count = len(self.serving.get(serviceName, ())) or self.desired.get(serviceName, 0)
                found = [f"task/{serviceName}/{n}" for n in range(count)]
            return {"taskArns": found}

        return self._do("list_tasks", {"startedBy": startedBy, "desiredStatus": desiredStatus}, read)

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> Answer:
        def read() -> Answer:
            found = [t.described() for t in self.tasks if t.arn in tasks]
            for arn in tasks:
                _, service, number = arn.split("/") if arn.startswith("task/") else ("", "", "0")
                for address, definition in self.serving.get(service, [])[int(number) :][:1]:
                    details = [{"name": "privateIPv4Address", "value": address}]
                    interface = {"type": "ElasticNetworkInterface", "details": details}
                    found.append({"taskArn": arn, "taskDefinitionArn": definition, "attachments": [interface]})
            return {"tasks": found}

        return self._do("describe_tasks", {"tasks": tasks}, read)

    def describe_task_definition(self, *, taskDefinition: str) -> Answer:  # noqa: N803
        def read() -> Answer:
            if taskDefinition not in self.definitions:
                raise refusal("ClientException", 400, "DescribeTaskDefinition")
            return {"taskDefinition": self.definitions[taskDefinition]}

        return self._do("describe_task_definition", {"taskDefinition": taskDefinition}, read)

    def stop_task(self, *, cluster: str, task: str, reason: str) -> Answer:
        def stop() -> Answer:
            next(t for t in self.tasks if t.arn == task).desired = "STOPPED"
            return {}

        return self._do("stop_task", {"task": task}, stop)


@dataclass
class FakeLogs(_Fake):
    """What tasks logged, in pages of at most `page` lines; `empty` pages come first, as they may."""

    lines: list[str] = field(default_factory=list)
    page: int = 100
    empty: int = 0
    late: list[list[str]] = field(default_factory=list)
    before_read: Callable[[], object] = lambda: None

    def get_log_events(self, *, nextToken: str | None = None, startFromHead: bool = False, **names: Any) -> Answer:  # noqa: N803
        def read() -> Answer:
            self.before_read()
            if not startFromHead:
                return {"events": [{"message": line} for line in self.lines[-self.page :]], "nextForwardToken": "end"}
            start = int(nextToken or 0)
            if self.empty:
                self.empty -= 1
                return {"events": [], "nextForwardToken": f"{start:0{self.empty + 2}}"}
            found = self.lines[start : start + self.page]
            if not found and self.late:
                self.lines += self.late.pop(0)
            token = str(start + len(found))
            return {
                "events": [{"message": line} for line in found],
                "nextForwardToken": nextToken if nextToken and not found else token,
            }

        return self._do("get_log_events", {"nextToken": nextToken, **names}, read)


IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "sha256:" + "cf" * 32


@dataclass
class FakeEcr(_Fake):
    """Images by tag, each with the digest that it was pushed with; an image without a manifest here is a plain one."""

    images: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, tuple[str, Answer]] = field(default_factory=dict)
    unreadable: str | None = None
    scans: dict[str, list[Answer]] = field(default_factory=dict)
    """What each look at the scan of an image answers, the last one from then on; without any there is no scan."""

    def hold_index(self, tag: str, digest: str, *children: Answer) -> None:
        """Let a tag hold an index of these children."""
        self.images[tag] = digest
        self.manifests[digest] = (INDEX, {"mediaType": INDEX, "manifests": list(children)})

    def hold_image(self, digest: str, config: str) -> None:
        """Hold an image that no tag names: a child of an index."""
        self.manifests[digest] = (IMAGE, {"mediaType": IMAGE, "config": {"digest": config}})

    def batch_get_image(
        self,
        *,
        repositoryName: str,  # noqa: N803
        imageIds: list[Answer],  # noqa: N803
        acceptedMediaTypes: list[str],  # noqa: N803
    ) -> Answer:
        def read() -> Answer:
            (wanted,) = imageIds
            digest = self.images.get(wanted["imageTag"]) if "imageTag" in wanted else wanted["imageDigest"]
            if self.unreadable or digest is None or (digest not in self.manifests and digest not in self._tagged):
                code = self.unreadable or "ImageNotFound"
                return {
                    "images": [],
                    "failures": [{"imageId": wanted, "failureCode": code, "failureReason": "said so"}],
                }
            kind, manifest = self.manifests.get(digest, (IMAGE, {"config": {"digest": CONFIG}}))
            if kind not in acceptedMediaTypes:  # the real one says nothing of it
                return {"images": [], "failures": []}
            return {"images": [{"imageManifest": json.dumps(manifest), "imageId": {**wanted, "imageDigest": digest}}]}

        return self._do("batch_get_image", {"imageIds": imageIds}, read)

    def describe_image_scan_findings(self, *, imageId: Answer, **named: Any) -> Answer:  # noqa: N803
        def read() -> Answer:
            answers = self.scans.get(imageId["imageDigest"])
            if not answers:
                raise refusal("ScanNotFoundException", 400, "DescribeImageScanFindings")
            return answers.pop(0) if len(answers) > 1 else answers[0]

        return self._do("describe_image_scan_findings", {"imageId": imageId, **named}, read)

    @property
    def _tagged(self) -> set[str]:
        return set(self.images.values())

    def describe_images(self, *, imageIds: list[Answer], **named: Any) -> Answer:  # noqa: N803
        def read() -> Answer:
            digest = imageIds[0]["imageDigest"]
            if digest not in self._tagged:
                raise refusal("ImageNotFoundException", 400, "DescribeImages")
            return {"imageDetails": [{"imageTags": [tag for tag, held in self.images.items() if held == digest]}]}

        return self._do("describe_images", {"imageIds": imageIds, **named}, read)

    def put_image(self, *, imageTag: str, imageDigest: str, imageManifest: str, **named: Any) -> Answer:  # noqa: N803
        def write() -> Answer:
            if imageTag in self.images:
                same = self.images[imageTag] == imageDigest
                raise refusal("ImageAlreadyExistsException" if same else "ImageTagAlreadyExistsException")
            self.images[imageTag] = imageDigest
            return {"image": {"imageManifest": imageManifest}}

        return self._do("put_image", {"imageTag": imageTag, **named}, write)

    def get_download_url_for_layer(self, **arguments: Any) -> Answer:
        return self._do("get_download_url_for_layer", arguments, lambda: {"downloadUrl": "https://layer.example.com"})

    def get_authorization_token(self) -> Answer:
        data = [{"authorizationToken": "QVdTOnBhc3N3b3Jk", "proxyEndpoint": "https://registry.example.com"}]
        return self._do("get_authorization_token", {}, lambda: {"authorizationData": data})


@dataclass
class FakeIam(_Fake):
    """Roles and users by name, each with its ARN."""

    roles: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)

    def get_role(self, *, RoleName: str) -> Answer:  # noqa: N803
        return self._do("get_role", {"RoleName": RoleName}, lambda: {"Role": self._known(self.roles, RoleName)})

    def get_user(self, *, UserName: str) -> Answer:  # noqa: N803
        return self._do("get_user", {"UserName": UserName}, lambda: {"User": self._known(self.users, UserName)})

    def _known(self, arns: dict[str, str], name: str) -> Answer:
        if name not in arns:
            raise refusal("NoSuchEntity", 404, "Get")
        return {"Arn": arns[name]}


@dataclass
class FakeAws:
    """The clients of one account, asked for by boto3's names."""

    s3: FakeS3 = field(default_factory=FakeS3)
    elbv2: FakeElbV2 = field(default_factory=FakeElbV2)
    ecs: FakeEcs = field(default_factory=FakeEcs)
    logs: FakeLogs = field(default_factory=FakeLogs)
    ecr: FakeEcr = field(default_factory=FakeEcr)
    iam: FakeIam = field(default_factory=FakeIam)

    def __call__(self, service: str) -> Any:
        return getattr(self, service)

    @property
    def clients(self) -> AwsClients:
        return cast(AwsClients, self)


@dataclass
class Secret:
    """A secret block."""

    value: str

    def get(self) -> str:
        return self.value


@dataclass
class Block:
    """What tasks ask of the environment's block."""

    settings: EnvironmentSettings
    stage: str = "test"
    source_credentials: Secret | None = None
    docker_host: Any = None
    aws_credentials: Any = None

    def acting_in(self, flow: str) -> Block:
        """The same identity for every flow."""
        return self


def before_the_next_write(monkeypatch: pytest.MonkeyPatch, s3: FakeS3, happens: Callable[[], object]) -> None:
    """Have something happen between what was read last and the next write, once."""
    put, raced = s3.put_object, [False]

    def race(**arguments: Any) -> Any:
        if not raced[0]:
            raced[0] = True
            happens()
        return put(**arguments)

    monkeypatch.setattr(s3, "put_object", race)


def store_of(s3: FakeS3) -> RecordStore:
    """A process's view of the records."""
    return RecordStore(s3, "team-shop-state", "test")


def operation_of(aws: FakeAws, settings: EnvironmentSettings, whose: Owner, **block: Any) -> Operation:
    """An operation of another process on the same account."""
    made = Block(settings, **block)
    return open_operation(cast(ReleaseEnvironment, made), aws.clients, whose, records=store_of(aws.s3))
