"""What a person would type to release a version on the same sandbox, step by step and timed.

It has a slot, a Terraform state, a target group, a secret and a database of its own, all named after the stage
`bench`: Pointsman's record, slots and database never learn of it. Only the image repository is shared, and the images
are deleted at the end. The first sequence makes the slot, as Pointsman's first release does, and is for the caller not
to count.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
from botocore.exceptions import ClientError

from bench.ground import TREE, Ground, overlay
from core.colour import Colour
from core.errors import Permanent
from core.release import Configuration, Release
from core.root_variables import slot_variables
from sandbox.repository import make_repository, publish_version
from sandbox.settings import CODE
from systems.docker import find_builder
from systems.terraform import state_key

__all__ = ["STEPS", "ByHand"]

STEPS = ("build", "push", "init", "plan", "apply", "migrate")

_STAGE = "bench"
_COLOUR = Colour.GREEN
_DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64})")
_WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.15


class ByHand:
    """The commands and what they need; made on entering, removed on leaving."""

    def __init__(self, ground: Ground) -> None:
        self._ground, self._operator = ground, ground.operator
        self._settings = ground.operator.settings.model_copy(update={"stage": _STAGE})
        self._environment = {**os.environ, **ground.sandbox.environment(), "DOCKER_BUILDKIT": "1"}
        if host := self._settings.docker.host:
            self._environment["DOCKER_HOST"] = host
        self._ecs, self._ecr = self._operator.client("ecs"), self._operator.client("ecr")
        self._elbv2 = self._operator.client("elbv2")
        self._secrets, self._s3 = self._operator.client("secretsmanager"), self._operator.client("s3")
        self._folder = Path(tempfile.mkdtemp(prefix="pointsman-bench-"))
        self._repository = self._folder / "connections.git"
        self._images: list[str] = []
        self._root: Path | None = None
        self._secret_name = f"{self._settings.namespace}/{self._settings.name}/{_STAGE}"
        self._secret_arns: dict[str, str] = {}
        self._infrastructure = ground.infrastructure
        self._number = int(time.time())
        self.migrations: list[float] = []
        """How long each migration's container worked, in seconds."""

    def __enter__(self) -> Self:
        try:
            self._prepare()
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def release(self) -> dict[str, float]:
        """Take a fresh version from checkout to migrated database; return the seconds of each step."""
        self._number += 1
        tag = f"v{TREE[1:]}-hand.{self._number}"
        tree = self._check_out(tag)
        seconds: dict[str, float] = {}

        def timed(step: str, work: Callable[[], Any]) -> Any:
            began = time.monotonic()
            result = work()
            seconds[step] = round(time.monotonic() - began, 3)
            return result

        reference = f"{self._infrastructure.ecr_repository_url}:{tag}"
        self._images.append(tag)
        timed("build", lambda: self._build(tree, reference))
        digest = timed("push", lambda: self._push(reference))
        root = self._copy_root()
        self._write_variables(root, tag, f"{reference.rpartition(':')[0]}@{digest}")
        timed("init", lambda: self._init(root))
        timed("plan", lambda: self._run(["terraform", "plan", "-input=false", "-out=release.tfplan"], root))
        timed("apply", lambda: self._run(["terraform", "apply", "-input=false", "release.tfplan"], root))
        timed("migrate", self._migrate)
        return seconds

    # --- the commands

    def _check_out(self, tag: str) -> Path:
        with overlay(tag) as folder:
            publish_version(self._repository, TREE, tag=tag, overlay=folder)
        tree = self._folder / tag
        self._run(["git", "clone", "--quiet", f"--branch={tag}", str(self._repository), str(tree)], self._folder)
        return tree

    def _build(self, tree: Path, reference: str) -> None:
        image = self._settings.image
        arguments = [f"--build-arg={name}={value}" for name, value in image.build_args.items()]
        command = [
            find_builder(os.environ.get("PATH", os.defpath)),
            "build",
            "--platform=linux/amd64",
            *arguments,
            f"--tag={reference}",
        ]
        self._run([*command, f"--file={image.dockerfile}", image.context], tree)

    def _push(self, reference: str) -> str:
        said = self._run(
            [
                find_builder(os.environ.get("PATH", os.defpath)),
                f"--config={self._folder / 'docker'}",
                "push",
                reference,
            ],
            self._folder,
        )
        found = _DIGEST.search(said)
        if found is None:
            raise Permanent("docker push named no digest", why=said[-500:])
        return found.group(1)

    def _init(self, root: Path) -> None:
        backend = {
            "bucket": self._settings.state_bucket,
            "key": state_key(_STAGE, _COLOUR),
            "region": self._settings.region,
            "use_lockfile": "true",
            "encrypt": "true",
        }
        configured = [f"-backend-config={name}={value}" for name, value in backend.items()]
        self._run(["terraform", "init", "-input=false", *configured], root)

    def _migrate(self) -> None:
        """`aws ecs run-task`, then a look every moment until it has stopped."""
        family = f"{self._settings.cluster}-{_COLOUR}-migration"
        infrastructure = self._infrastructure
        network = {
            "subnets": list(infrastructure.private_subnet_ids),
            "securityGroups": [infrastructure.task_security_group_id],
            "assignPublicIp": "DISABLED",
        }
        started = self._ecs.run_task(
            cluster=infrastructure.cluster_arn,
            taskDefinition=family,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": network},
        )
        if not started["tasks"]:
            raise Permanent("ECS started no migration task", why=str(started["failures"]))
        arn = started["tasks"][0]["taskArn"]
        end = time.monotonic() + _WAIT_SECONDS
        while True:
            (task,) = self._ecs.describe_tasks(cluster=infrastructure.cluster_arn, tasks=[arn])["tasks"]
            if task["lastStatus"] == "STOPPED":
                break
            if time.monotonic() > end:
                raise Permanent("The migration by hand did not end", why=f"waited {_WAIT_SECONDS:g} s")
            time.sleep(_POLL_SECONDS)
        self.migrations.append(_seconds_of(task))
        if task["containers"][0].get("exitCode") != 0:
            raise Permanent("The migration by hand failed", why=str(task.get("stoppedReason")))

    # --- what they need

    def _prepare(self) -> None:
        make_repository(self._repository)
        self._login()
        self._make_database()
        self._make_secret()
        listener_group = self._infrastructure.target_group_arns[_COLOUR]
        (pattern,) = self._elbv2.describe_target_groups(TargetGroupArns=[listener_group])["TargetGroups"]
        made = self._elbv2.create_target_group(
            Name=f"{self._settings.name}-{_STAGE}-{_COLOUR}",
            Protocol=pattern["Protocol"],
            Port=pattern["Port"],
            VpcId=pattern["VpcId"],
            TargetType=pattern["TargetType"],
        )
        arn = made["TargetGroups"][0]["TargetGroupArn"]
        self._infrastructure = self._infrastructure.model_copy(update={"target_group_arns": {_COLOUR: arn}})

    def _login(self) -> None:
        (data,) = self._ecr.get_authorization_token()["authorizationData"]
        registry = self._infrastructure.ecr_repository_url.partition("/")[0]
        folder = self._folder / "docker"
        folder.mkdir()
        # Checked, as a token that does not decode would only show as a refused push.
        base64.b64decode(data["authorizationToken"], validate=True)
        (folder / "config.json").write_text(json.dumps({"auths": {registry: {"auth": data["authorizationToken"]}}}))

    def _make_database(self) -> None:
        with psycopg.connect(self._variable("DATABASE_URL"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {_STAGE}")
            connection.execute(f"CREATE DATABASE {_STAGE}")

    def _make_secret(self) -> None:
        url = urlunsplit(urlsplit(self._variable("CONTAINER_DATABASE_URL"))._replace(path=f"/{_STAGE}"))
        references = self._settings.service.secrets.values()
        content = json.dumps({str(reference.key): url for reference in references})
        try:
            made = self._secrets.create_secret(Name=self._secret_name, SecretString=content)
        except ClientError:
            made = self._secrets.put_secret_value(SecretId=self._secret_name, SecretString=content)
        self._secret_arns = {reference.source: made["ARN"] for reference in references}

    def _variable(self, name: str) -> str:
        return self._ground.sandbox.environment()[f"POINTSMAN_SANDBOX_{name}"]

    def _copy_root(self) -> Path:
        """A copy that was never initialised, since a release has a fresh one as well."""
        self._root = Path(tempfile.mkdtemp(prefix="slot-", dir=self._folder)) / "slot"
        ignored = shutil.ignore_patterns(".terraform*", "tests", "*.tfstate*")
        shutil.copytree(CODE / "terraform" / "slot", self._root, ignore=ignored)
        return self._root

    def _write_variables(self, root: Path, tag: str, image: str) -> None:
        configuration = Configuration.of(self._settings, self._secret_arns)
        release = Release(version=tag, commit="", image=image, configuration=configuration)
        variables = slot_variables(self._settings, self._infrastructure, _COLOUR, release)
        (root / "release.auto.tfvars.json").write_text(json.dumps(variables))

    def _run(self, command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            command,
            cwd=directory,
            env=environment or self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Permanent(f"`{command[0]} {command[1]}` by hand failed", why=done.stdout[-1_500:])
        return done.stdout

    # --- afterwards

    def _clear(self) -> None:
        if self._root is not None and (self._root / ".terraform").exists():
            with suppress(Permanent):
                self._run(["terraform", "destroy", "-input=false", "-auto-approve"], self._root)
        with suppress(ClientError):
            for version in self._s3.list_object_versions(
                Bucket=self._settings.state_bucket, Prefix=f"terraform/{_STAGE}/"
            ).get("Versions", []):
                self._s3.delete_object(
                    Bucket=self._settings.state_bucket, Key=version["Key"], VersionId=version["VersionId"]
                )
        arn = self._infrastructure.target_group_arns[_COLOUR]
        if f"-{_STAGE}-" in arn:
            with suppress(ClientError):
                self._elbv2.delete_target_group(TargetGroupArn=arn)
        with suppress(ClientError):
            self._secrets.delete_secret(SecretId=self._secret_name, ForceDeleteWithoutRecovery=True)
        with suppress(psycopg.Error), psycopg.connect(self._variable("DATABASE_URL"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {_STAGE} WITH (FORCE)")
        if self._images:
            with suppress(ClientError):
                ids = [{"imageTag": tag} for tag in self._images]
                self._ecr.batch_delete_image(repositoryName=self._settings.repository, imageIds=ids)
            url = self._infrastructure.ecr_repository_url
            with suppress(Permanent):
                self._run(
                    [
                        find_builder(os.environ.get("PATH", os.defpath)),
                        "rmi",
                        "--force",
                        *(f"{url}:{tag}" for tag in self._images),
                    ],
                    self._folder,
                )
        shutil.rmtree(self._folder, ignore_errors=True)


def _seconds_of(task: Mapping[str, Any]) -> float:
    ended = task.get("executionStoppedAt") or task["stoppedAt"]
    return round(float((ended - task["startedAt"]).total_seconds()), 3)
