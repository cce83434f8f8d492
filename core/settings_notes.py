"""What a person wants to know of each setting beyond its type: its unit, an example, what it is and what it can break.

The settings themselves are in `core.settings`. A setting without a note, and a note without a setting, fail a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["NOTES", "Note"]


@dataclass(frozen=True)
class Note:
    """What docs/configuration.md says of a setting beside its type and its default, in Markdown."""

    what: str
    example: Any
    """A valid value, other than the default."""
    unit: str = ""
    breaks: str = ""


# How a container is run: the application's, and each beside it.
_CONTAINER: dict[str, Note] = {
    "command": Note(
        "Instead of the image's `CMD`, word by word.",
        ["node", "web.js"],
        breaks="No shell expands variables in it.",
    ),
    "entry_point": Note(
        "Instead of the image's `ENTRYPOINT`.",
        ["/usr/bin/tini", "--"],
        breaks="The image's `CMD` is left out as well: set `command` too.",
    ),
    "user": Note(
        "Who runs it instead of the image's `USER`, with `:group` where needed.",
        "1000:1000",
        breaks="A name must exist in the image. The migration's task has the application's user too.",
    ),
    "stop_timeout": Note(
        "From SIGTERM to SIGKILL; ECS's 30 if unset.",
        90,
        unit="seconds",
        breaks="With the deregistration delay it must stay under `timing.vacate`.",
    ),
    "init_process": Note("Run an init as PID 1 that passes signals on and reaps.", True),
    "extra_ports": Note(
        "TCP ports that it listens on beside the application's.",
        [9090],
        breaks="The load balancer sends nothing there. Containers of a task share its network, so its ports too.",
    ),
    "depends_on": Note(
        "Containers of the task, each with what it must be before this one starts. Stopping goes the other way.",
        {"proxy": "HEALTHY"},
        breaks="A condition that is never met: the task does not start.",
    ),
    "ulimits.<NAME>.soft": Note(
        "What a process begins with. Fargate sets `nofile`, the open files, and no other.", 4096, unit="files"
    ),
    "ulimits.<NAME>.hard": Note("What a process may raise it to.", 65536, unit="files"),
    "health_check.command": Note(
        "What ECS runs in the container: `CMD` and words, or `CMD-SHELL` and one line.",
        ["CMD", "wget", "-q", "-O-", "http://localhost:8080/healthz"],
        breaks="Its program must be in the image. A service replaces a task whose essential container fails it.",
    ),
    "health_check.interval": Note("Between two checks.", 10, unit="seconds"),
    "health_check.timeout": Note("After which a check has failed.", 10, unit="seconds"),
    "health_check.retries": Note("Failures in a row that make it unhealthy.", 5, unit="checks"),
    "health_check.start_period": Note("At the start, in which no failure counts.", 60, unit="seconds"),
    "mounts.<NAME>.path": Note("Where the container sees the volume `<NAME>`.", "/files"),
    "mounts.<NAME>.read_only": Note("Whether it may only read there.", True),
}
_SECRET: dict[str, Note] = {
    "secret": Note(
        "The secret's name in Secrets Manager, also one of RDS's own, or another account's by its ARN.",
        "connections/production",
        breaks="A secret that does not exist is refused before the build; after naming another one, `provision` first.",
    ),
    "key": Note("The JSON key in it; all of it if unset.", "DATABASE_URL", breaks="Without that key no task starts."),
    "parameter": Note(
        "Instead of a secret, a parameter of SSM by its name or ARN.",
        "/shop/production/url",
        breaks='With `nat = "none"` it needs the endpoint `ssm`.',
    ),
}

NOTES: dict[str, Note] = {
    # ---- the top of the file
    "region": Note(
        "Where everything of this environment is.",
        "eu-central-1",
        breaks="An environment cannot move: another region is another environment.",
    ),
    "aws_account_number": Note(
        "The only account that anything is done in.",
        "123456789012",
        breaks="Credentials of another account are refused before anything is written.",
    ),
    "namespace": Note(
        "Who owns the application: the first part of every shared name.",
        "cursive-team",
        breaks="Everything is found by its name. Changed, it makes a second environment beside the first.",
    ),
    "name": Note(
        "The application: the second part of every name. `<name>-<stage>-green` must fit a target group's 32 "
        "characters.",
        "connections",
        breaks="As for `namespace`.",
    ),
    "stage": Note("The environment's name, and its file's.", "production", breaks="As for `namespace`."),
    "state_bucket": Note(
        "The S3 bucket of records and Terraform states. It must be versioned, private and encrypted.",
        "cursive-team-connections-state",
        breaks="Another bucket holds no record: nothing is known to be live, and Terraform wants to make everything "
        "anew.",
    ),
    "queue": Note(
        "What becomes of tags that wait for a release in flight: the newest goes next and supersedes the "
        "others, or each "
        "goes live in the order of their arrival.",
        "in-order",
        breaks="With `in-order`, a fix waits behind every tag before it.",
    ),
    "prereleases": Note(
        "Whether versions such as `v2.0.0-rc.1` are released here.",
        True,
        breaks="In production, whoever tags a candidate for staging releases it.",
    ),
    "retire_on_schedule": Note(
        "Whether `retire` runs every 15 minutes by itself, which stops a former version's tasks once the "
        "rollback window "
        "has passed.",
        False,
        breaks="Without it two versions' tasks run, and are paid for, until someone runs `retire`.",
    ),
    "drift_on_schedule": Note("Whether [drift](drift.md) looks every hour by itself.", False),
    # ---- [aws]
    "aws.profile": Note("A profile of the worker's AWS configuration, to start from.", "pointsman"),
    "aws.role_arn": Note(
        "The role that releases assume: an output of `provision`, `pipeline_role_arns`. See [roles.md](roles.md).",
        "arn:aws:iam::123456789012:role/cursive-team-connections-production-pipeline",
        breaks="Unset, releases act with all that the worker itself may do.",
    ),
    "aws.reconciler_role_arn": Note(
        "The role of `reconcile` and `retire`; `role_arn` where it is unset.",
        "arn:aws:iam::123456789012:role/cursive-team-connections-production-reconciler",
        breaks="A role of another stage is refused by AWS when a dead run must be cleaned up.",
    ),
    "aws.operator_role_arn": Note(
        "The role of flows that only look (`status`, `drift`); `role_arn` where it is unset.",
        "arn:aws:iam::123456789012:role/cursive-team-connections-operator",
    ),
    "aws.provision_profile": Note(
        "A profile of the worker with the rights to provision, for those who run `provision` there and not in a shell.",
        "administrator",
        breaks="Whoever gets at the worker has an administrator's rights.",
    ),
    "aws.endpoint_url": Note("Where an emulated AWS answers. Never set for AWS itself.", "http://127.0.0.1:4566"),
    # ---- [docker]
    "docker.host": Note(
        "The engine that builds and pushes, if not the worker's own.",
        "unix:///var/run/docker.sock",
        breaks="Whoever reaches an engine over plain TCP is root on its machine.",
    ),
    "docker.keep_images": Note(
        "How many images of this environment a release leaves on the engine; what was live in the last "
        "`timing.rollback_window` stays besides.",
        10,
        unit="images",
    ),
    "docker.build_cache": Note(
        "How much build cache a release leaves.",
        "30GB",
        unit="kB, MB, GB or TB",
        breaks="Small: every build starts anew.",
    ),
    "docker.build_network": Note(
        "What `RUN` steps of a build reach: what containers of the engine do, or nothing.",
        "none",
        breaks="With `none` nothing is installed from a registry. With `default`, a step may reach what the worker "
        "does.",
    ),
    # ---- [source]
    "source.url": Note(
        "The repository, as git takes it. No user or password: a token is `POINTSMAN_SOURCE_TOKEN`.",
        "https://github.com/cursive-team/connections.git",
    ),
    "source.github_repository": Note(
        "The repository whose webhook deliveries count, as GitHub spells it.",
        "cursive-team/connections",
        breaks="After it was renamed, deliveries are answered with 202 and ignored.",
    ),
    "source.main_branch": Note(
        "The one branch that is released from: a tag must be a commit that was its head once. `main` where "
        "neither this "
        "nor `branches` is set.",
        "trunk",
        breaks="Whoever may push to that branch may release.",
    ),
    "source.branches": Note("Several such branches, each a name or a pattern with one `*`.", ["main", "release/*"]),
    "source.tag_pattern": Note(
        "Which tags are versions here; the star is the only wildcard, and the version stands where the first one is. "
        "[Forms](decisions/tags-and-checks.md): `v*`, `api/v*`, `@acme/api@*`, `*-rc.*`.",
        "api/v*",
        breaks="A pattern that fits another application's tags releases them; one that fits none releases nothing.",
    ),
    "source.checks": Note(
        "The names of checks or commit statuses at GitHub that a release waits for, before it builds or holds "
        "anything, and refuses if red. They need `POINTSMAN_SOURCE_TOKEN` with the right to read both.",
        ["build"],
        breaks="A name that no check has, or a GitHub that does not answer, keeps a release waiting for "
        "`timing.checks`, and then refuses it. A job that was skipped counts as passed, also one skipped because what "
        "it `needs` failed: name each job, or give the one that gathers them `if: always()`. A release that waits "
        "holds a place of the work pool: with as many of them as it has places, a rollback waits too.",
    ),
    "source.github_api": Note(
        "GitHub's REST API; of an Enterprise Server `https://<host>/api/v3`.",
        "https://git.example.com/api/v3",
        breaks="It is shown the source's token, so it must be of the host in `source.url`.",
    ),
    "source.max_mib": Note("The most that a checkout may hold, git's own files included.", 4096, unit="MiB"),
    "source.max_files": Note("The most files that a checkout may hold.", 500_000, unit="files"),
    # ---- [image]
    "image.dockerfile": Note(
        "The Dockerfile, from the repository's root.",
        "apps/backend/Dockerfile",
        breaks="It is part of the image's identity.",
    ),
    "image.context": Note(
        "The folder that is sent to the build, from the repository's root.",
        "apps/backend",
        breaks="What is outside of it cannot be copied: a monorepo's is `.`.",
    ),
    "image.target": Note("The stage of the Dockerfile to build; the last where it is unset.", "production"),
    "image.build_args": Note(
        "Build arguments.",
        {"NEXT_PUBLIC_API_URL": "https://api.example.com"},
        breaks="They stay readable in the image: no secrets. Other arguments make another image of the same commit.",
    ),
    "image.attestations": Note(
        "Let BuildKit attest how it built.", True, breaks="The image becomes an index, which old tools may not read."
    ),
    "image.require_digests": Note(
        "Refuse a Dockerfile that builds on an image which is named by a tag alone.",
        True,
        breaks="Every base image must be pinned, and raised by hand or by a bot.",
    ),
    "image.refuse_findings": Note(
        "Refuse a release whose image has findings of that severity or above in ECR's scan, or no result.",
        "CRITICAL",
        breaks="A finding published today stops tomorrow's fix as well, until the base image is mended.",
    ),
    "image.image_source": Note(
        "Whether a release builds the image, or waits for [the one that CI pushed](prebuilt.md).",
        "prebuilt",
        breaks="With `prebuilt`, a release fails where CI does not push within `timing.prebuilt`; other build settings "
        "are refused.",
    ),
    "image.prebuilt.recorded_in": Note(
        "The annotated git tag whose message has the line `Image-Digest: sha256:…`; `{tag}` is the version's tag.",
        "{tag}",
        breaks="Whoever can push that git tag decides what runs: protect it with a ruleset.",
    ),
    "image.platform": Note(
        "What the image is built for, and with it the tasks' CPU architecture.",
        "linux/arm64",
        breaks="Base images must exist for it. An engine of another architecture needs an emulator.",
    ),
    **{
        f"image.{where}.{name}": note
        for where in ("secrets.<NAME>", "registries.<NAME>.password")
        for name, note in {
            "variable": Note("The worker's variable that holds the value.", "NPM_TOKEN"),
            "file": Note("The worker's file that holds it, by its whole path.", "/etc/pointsman/npmrc"),
            "secret": Note(
                "The secret of Secrets Manager that holds it.",
                "cursive-team/connections/build",
                breaks="`provision` lets the pipeline's role read it: use no secret of the tasks.",
            ),
            "key": Note("The JSON key inside that secret; unset, the whole of it.", "token"),
        }.items()
    },
    "image.registries.<NAME>.username": Note(
        "Who a build is at the registry of that host, when it pulls; Docker Hub is `docker.io`.", "acme"
    ),
    "image.ssh": Note(
        'What `RUN --mount=type=ssh` is given, by its id: `"agent"`, or the path of a private key.',
        {"default": "agent"},
        breaks="Every step that mounts it can use the key for as long as it runs.",
    ),
    "image.base_repositories": Note(
        "Repositories of this account's ECR that base images come from.",
        ["team/base"],
        breaks="`provision` lets the pipeline's role pull from them.",
    ),
    "image.cache": Note(
        "Where layers come from that need not be built again: the engine, or the live image in the registry as well.",
        "registry",
        breaks="With `local`, a new worker's first build makes everything. With `registry`, each one asks for layers.",
    ),
    "image.warn_growth": Note(
        "Warn of an image that is larger than the live one by more than this, packed.",
        "30MB",
        unit="kB, MB, GB or TB",
        breaks="Nothing is refused; each start of a task pulls what is new.",
    ),
    # ---- [service]
    "service.container_port": Note(
        "The port that the application listens on.",
        3000,
        breaks="A wrong one: no task becomes healthy, nothing shifts.",
    ),
    "service.cpu": Note(
        "CPU of a task.",
        512,
        unit="CPU units, 1024 a vCPU",
        breaks="Fargate has certain pairs of CPU and memory only; others are refused.",
    ),
    "service.memory": Note(
        "Memory of a task.", 1024, unit="MiB", breaks="A task that needs more is killed by the kernel."
    ),
    "service.desired_count": Note(
        "How many tasks run. A change alone is released with the same tag, at once.",
        4,
        unit="tasks",
        breaks="With 1, a task that dies is an outage until its replacement is healthy.",
    ),
    "service.health_check_path": Note(
        "What the load balancer asks of each task.",
        "/livez",
        breaks="If it asks the database, a blip of the database stops every task at once.",
    ),
    "service.health_check_matcher": Note(
        "Which statuses of that answer are healthy, from 200 to 499: one, several or a range. It goes with the "
        "release, as the path does.",
        "200-399",
        breaks="A wide one calls tasks healthy that answer errors.",
    ),
    "service.grace_period": Note(
        "After its start, how long a task may fail health checks.",
        120,
        unit="seconds",
        breaks="Shorter than the start: ECS kills each task before it is ready.",
    ),
    "service.variables": Note(
        "Plain environment variables.",
        {"LOG_LEVEL": "info"},
        breaks="They are readable in the task definition, the state and the record: no secrets.",
    ),
    "service.ephemeral_storage": Note(
        "Disk of a task, gone with it; Fargate's 20 if unset.", 50, unit="GiB", breaks="Billed above 20."
    ),
    "service.task_policies": Note(
        "ARNs of managed policies of the application's role, at most 10.",
        ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"],
        breaks="`provision` attaches them for both colours at once. Under a boundary, `application_actions` must allow "
        "them too.",
    ),
    "service.secret_keys": Note(
        "ARNs of KMS keys of your own that secrets and parameters are encrypted with.",
        ["arn:aws:kms:ap-southeast-1:123456789012:key/0a"],
        breaks="Without its key no task starts.",
    ),
    "service.containers.name": Note("What the container is called.", "proxy"),
    "service.containers.image": Note(
        "Its image by a tag or digest. A tag is pinned to its digest when a version is released.",
        "public.ecr.aws/x/proxy:1.2",
        breaks="What the worker can't see in its registry is refused. Of private registries, ECR alone.",
    ),
    "service.containers.essential": Note("Whether its end is the end of the task.", False),
    "service.containers.variables": Note("Its plain variables; it has none of the application's.", {"LEVEL": "info"}),
    "service.volumes.<NAME>.file_system": Note(
        "The id of a file system of EFS.",
        "fs-0a1b2c3d",
        breaks="Without a mount target in each zone that admits the tasks on port 2049, none starts.",
    ),
    "service.volumes.<NAME>.root_directory": Note("What of it is mounted.", "/uploads"),
    "service.volumes.<NAME>.access_point": Note("By which of its access points.", "fsap-0a1b2c3d"),
    "service.volumes.<NAME>.iam": Note(
        "Whether the task's role decides.", True, breaks="The role needs `elasticfilesystem:ClientMount`."
    ),
    **{f"service.{name}": note for name, note in _CONTAINER.items()},
    **{f"service.containers.{name}": note for name, note in _CONTAINER.items()},
    **{f"service.secrets.<NAME>.{name}": note for name, note in _SECRET.items()},
    **{f"service.containers.secrets.<NAME>.{name}": note for name, note in _SECRET.items()},
    **{f"migration.secrets.<NAME>.{name}": note for name, note in _SECRET.items()},
    # ---- [migration]
    "migration.enabled": Note(
        "Whether the database is migrated by releases at all.",
        False,
        breaks="Then nothing looks whether the code and the database fit.",
    ),
    "migration.engine": Note(
        "The tool that migrates. Files and table of the first three are read; `command` is any other tool, run on each "
        "release.",
        "alembic",
        breaks="With `command` no table is read: its exit code and `status` are all that is known.",
    ),
    "migration.entry_point": Note(
        "The migration container's entry point; the image's own if empty.", ["/bin/sh", "-c"]
    ),
    "migration.command": Note(
        "What migrates. Without it, what the engine's manual says: `alembic upgrade head`, "
        "`npx --no-install drizzle-kit migrate`; the engine `command` needs one.",
        ["node_modules/.bin/prisma", "migrate", "deploy"],
        breaks="The image must hold the tool: nothing is fetched at deploy time.",
    ),
    "migration.status": Note(
        "Of the engine `command`: a command that exits with 0 only where the database has every migration.",
        ["flyway", "validate"],
        breaks="Without it a command that succeeds because the image hides its files is believed.",
    ),
    "migration.directory": Note(
        "Where migrations are in the repository. Without it, where the engine makes them: `alembic/versions`, "
        "`drizzle`. The engine `command` reads nothing but rollback floors there, and has no default.",
        "apps/backend/prisma/migrations",
        breaks="A folder that does not exist is refused.",
    ),
    "migration.image_directory": Note(
        "The same in the image, from its working directory, if it is elsewhere. Of Prisma and Drizzle.", "migrations"
    ),
    "migration.table": Note(
        "Of the engine `drizzle`: schema and name of its table; `drizzle.__drizzle_migrations` without it.",
        "public.steps",
        breaks="With another table than the migrator's, everything looks pending, and the release fails.",
    ),
    "migration.url_variable": Note("The variable that holds the database's address.", "POSTGRES_URL"),
    "migration.timeout_seconds": Note(
        "How long migrating may take.",
        3600,
        unit="seconds",
        breaks="Its task is stopped then, and the release fails; what the database had done stays or is rolled back "
        "by it.",
    ),
    # ---- [smoke]
    "smoke.host": Note(
        "The `Host` of all requests to the candidate, the one to `traffic.version_path` included; that of its listener "
        "if unset.",
        "app.example.com",
        breaks="The load balancer adds the test listener's port, unless `preserve_host_header` in "
        "`[provision.environment]` is true.",
    ),
    "smoke.headers": Note(
        "More headers of all requests to the candidate. No secrets.",
        {"X-Tenant": "acme"},
        breaks="`X-Forwarded-Proto` and `-Port` are refused, since the load balancer writes them itself: expect the "
        "redirect of an application that forces HTTPS, by `status` and `location`.",
    ),
    "smoke.attempts": Note("How often the checks are tried before the release fails.", 5, unit="attempts"),
    "smoke.checks.host": Note("The `Host` of this request, in place of `smoke.host`.", "api.example.com"),
    "smoke.checks.headers": Note(
        "Headers of this request, beside `smoke.headers` or in their place.", {"Accept": "*/*"}
    ),
    "smoke.checks.path": Note(
        "What is asked of the candidate, through its own listener.",
        "/readyz",
        breaks="It runs before traffic: ask deep.",
    ),
    "smoke.checks.method": Note(
        "The method.", "POST", breaks="A check that writes, writes into the production database."
    ),
    "smoke.checks.body": Note("What is sent.", '{"ping": true}'),
    "smoke.checks.status": Note("The status that must come back.", 204),
    "smoke.checks.location": Note(
        "Where a redirect must point, with a `status` that redirects: an address, or path and query on whatever host. "
        "Redirects are not followed.",
        "https://app.example.com/",
    ),
    "smoke.checks.contains": Note("A text that the answer must hold.", "ok"),
    "smoke.checks.within_seconds": Note("How soon.", 2, unit="seconds"),
    # ---- [traffic]
    "traffic.host": Note(
        "The name in requests that prove a release; the load balancer's own by default.", "connections.example.com"
    ),
    "traffic.connect_to": Note(
        "The address, or several, to connect to instead of resolving the name: before DNS points there.",
        ["203.0.113.10", "203.0.113.11"],
        breaks="Addresses of a load balancer change: unset it once DNS is right.",
    ),
    "traffic.answers": Note("How many answers in a row, at each address, prove a release.", 20, unit="answers"),
    "traffic.version_path": Note(
        "Where the application answers its version and revision, the stronger proof of a release; unset, "
        "[the load balancer's targets and ECS's tasks](decisions/identity.md) prove it, and confirming takes "
        "`timing.weights_settle` longer.",
        "/version",
        breaks="The answer's form: see below. A path that answers anything else fails each release at its smoke test.",
    ),
    "traffic.https": Note(
        "Whether the production listener speaks HTTPS.",
        True,
        breaks="Set it together with `certificate_arn` in `[provision.environment]`: a release asks the listener it "
        "names.",
    ),
    # ---- [ports]
    "ports.production": Note("The load balancer's listener that carries the traffic.", 8080),
    "ports.test_blue": Note("The listener through which blue is tested.", 9081),
    "ports.test_green": Note("The listener through which green is tested.", 9082),
    # ---- [approval]
    "approval.required": Note(
        "Whether a human decides before traffic shifts.",
        False,
        breaks="Without it, whoever may push a tag moves the production traffic.",
    ),
    "approval.timeout_seconds": Note(
        "How long a decision is waited for, of a release or of a plan.",
        3600,
        unit="seconds",
        breaks="The candidate's tasks run and are paid for meanwhile; afterwards the release is aborted.",
    ),
    # ---- [provision]
    "provision.account": Note(
        "Variables of the Terraform root `account`, each described in `terraform/account/variables.tf`.",
        {"stages": ["production", "staging"]},
        breaks="Environments of one account share it: it must be the same in all their files.",
    ),
    "provision.environment": Note(
        "Variables of the root `environment`, each described in `terraform/environment/variables.tf`.",
        {"test_listener_cidrs": ["203.0.113.10/32"]},
        breaks="Each change is planned, shown and agreed to; some replace what carries traffic, and ask a second time.",
    ),
    # ---- [preflight]
    "preflight.database_instance": Note(
        "The database's identifier in RDS, for the [checks](preflight.md) of its settings.", "connections-production"
    ),
    "preflight.least_free_gib": Note("Free disk space without which a release is refused.", 20, unit="GiB"),
    # ---- [timing]
    "timing.poll": Note(
        "How often AWS is asked while something is waited for.",
        5,
        unit="seconds",
        breaks="Short: API throttling of the whole account.",
    ),
    "timing.heartbeat": Note("How often the holder of an environment renews its lease.", 20, unit="seconds"),
    "timing.lease_expiry": Note(
        "After how long without a renewal a holder counts as dead and is cleaned up after.",
        200,
        unit="seconds",
        breaks="It must outlast the longest AWS call with its retries; the file is refused otherwise.",
    ),
    "timing.aws_connect_timeout": Note("How long connecting to AWS may take.", 5, unit="seconds"),
    "timing.aws_read_timeout": Note("How long an answer of AWS may take.", 20, unit="seconds"),
    "timing.aws_attempts": Note("How often a call of AWS is tried.", 5, unit="attempts"),
    "timing.vacate": Note(
        "How long a slot may take to drain and stop.",
        600,
        unit="seconds",
        breaks="It must be longer than the deregistration delay; the file is refused otherwise.",
    ),
    "timing.start": Note("How long a candidate may take to be healthy.", 900, unit="seconds"),
    "timing.terraform": Note(
        "How long one Terraform command may take.",
        3600,
        unit="seconds",
        breaks="Terraform is interrupted then, and given time to write its state.",
    ),
    "timing.build": Note("How long the build may take.", 7200, unit="seconds"),
    "timing.prebuilt": Note(
        'How long a release waits for its image, where `image.image_source` is `"prebuilt"`.',
        3600,
        unit="seconds",
        breaks="Short: a slow build of CI fails the release. Long: the queue stands for as long.",
    ),
    "timing.scan": Note(
        "How long ECR's scan is waited for, where `image.refuse_findings` asks for it.", 600, unit="seconds"
    ),
    "timing.checks": Note("How long `source.checks` are waited for.", 3600, unit="seconds"),
    "timing.checks_poll": Note(
        "How often GitHub is asked for them: at least two requests each time.",
        30,
        unit="seconds",
        breaks="GitHub allows a token 5,000 requests an hour.",
    ),
    "timing.return_to_live": Note(
        "How long bringing traffic back to the former version may take, in a rollback or after a failure.",
        600,
        unit="seconds",
    ),
    "timing.queue_poll": Note("How often a waiting release looks whether it is its turn.", 5, unit="seconds"),
    "timing.rollback_window": Note(
        "How long the former version's tasks stay after a shift: a rollback in that time takes a second.",
        86_400,
        unit="seconds",
        breaks="Both versions' tasks are paid for meanwhile.",
    ),
    "timing.consistency": Note(
        "How long a read of AWS may lag behind a write: what looks foreign, cold or empty is read again after it.",
        10,
        unit="seconds",
    ),
    "timing.log_arrival": Note("How late the last line of a stopped task may arrive.", 60, unit="seconds"),
    "timing.log_quiet": Note(
        "How long a stopped task's log must be silent before it counts as complete.", 10, unit="seconds"
    ),
    "timing.reconcile_every": Note(
        "How often the reconciler looks for dead runs.",
        30,
        unit="seconds",
        breaks="So much longer an environment stays blocked by a run that died.",
    ),
    "timing.identify": Note(
        "How long a candidate may answer *wrongly* before traffic comes. Right answers may be slow.", 20, unit="seconds"
    ),
    "timing.confirm": Note(
        "How long each address may answer wrongly after weights moved.",
        60,
        unit="seconds",
        breaks="AWS applies weights to its addresses one after another: too short rolls back a good release.",
    ),
    "timing.weights_settle": Note(
        "How long each address must answer from the winner before what lost its weight is stopped.",
        30,
        unit="seconds",
        breaks="Short: an address that lags behind sends requests to tasks that are gone.",
    ),
}
