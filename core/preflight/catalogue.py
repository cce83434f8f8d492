"""Every check by name, in the order in which they are shown: docs/preflight.md has the same table."""

from __future__ import annotations

from collections.abc import Iterator

from core.markdown import table
from core.preflight.judgement import Check

__all__ = ["CHECKS", "LEAST_DAYS_OF_CERTIFICATE", "LONGEST_SKEW", "documented"]

LEAST_DAYS_OF_CERTIFICATE = 30
LONGEST_SKEW = 30.0
"""Seconds. A lease is judged by the clocks of the machines that hold it; AWS itself accepts five minutes."""

_SETTINGS = "environments/{stage}.toml"

_ACCOUNT = (
    Check(
        "settings",
        "the environment's file and the names in [provision.*]",
        "a name in [provision.*] is not a variable of its Terraform root, or a release sets it",
        f"Fix [provision.account] or [provision.environment] in {_SETTINGS}.",
        fast=True,
    ),
    Check(
        "identity",
        "sts:GetCallerIdentity with the credentials of the releases",
        "AWS does not accept them",
        "Fix the credentials block (`python -m blocks register {stage}`), or the profile or role that it names; in a "
        "shell without a Prefect server, AWS_PROFILE.",
        fast=True,
    ),
    Check(
        "account",
        "the account of that identity",
        "it is not aws_account_number",
        f"Fix aws_account_number in {_SETTINGS}, or use credentials of account {{account}}.",
        fast=True,
    ),
    Check(
        "region",
        "the region of the credentials and of the state bucket",
        "one of them is not the region of the settings",
        f"Fix region in {_SETTINGS}, and run `python -m blocks register {{stage}}`.",
        fast=True,
    ),
    Check(
        "clock",
        "this machine's clock against the Date of an answer of AWS",
        f"they differ by more than {LONGEST_SKEW:g} s",
        "Let chrony or systemd-timesyncd set the clock: leases are judged by it.",
        fast=True,
    ),
    Check(
        "releases' role",
        "whether releases act as the environment's pipeline role",
        "they act as anybody else, who can do more",
        f"Set role_arn in [aws] of {_SETTINGS} to arn:aws:iam::{{account}}:role/{{cluster}}-pipeline, and run "
        "`python -m blocks register {stage}`.",
        fast=True,
    ),
    Check(
        "permissions by trial",
        "reads of ECS, load balancer, registry and logs as the releases",
        "AWS denies one of them",
        "Run `provision`, which gives the pipeline role its policies; then find out who changed them.",
        fast=True,
    ),
    Check(
        "permissions by simulation",
        "iam:SimulatePrincipalPolicy of the pipeline role over what a release does",
        "one of these actions is not allowed",
        "Run `provision`, which gives the pipeline role its policies; then look for a boundary or an SCP that denies.",
    ),
    Check(
        "limits of the role",
        "the same simulation over what no release may do: secrets, roles, network, another stage's state",
        "one of these actions is allowed",
        "Remove the policy that allows it from the role {cluster}-pipeline, then run `provision`.",
    ),
    Check(
        "principals",
        "those that may take the roles, in [provision.account]",
        "IAM does not know one of them: AWS would refuse the whole trust policy",
        f"Create it, or fix [provision.account] in {_SETTINGS}.",
    ),
    Check(
        "trust policies",
        "who may take the roles pipeline, operator, execution and task",
        "somebody may who is not in [provision.account], or ECS may not",
        "Run `provision`, which writes the trust policies; then find out who changed them.",
    ),
    Check(
        "execution role",
        "a simulation of the role that starts tasks: image, logs and each secret",
        "it may not pull the image, write logs, or read one of the secrets",
        "Run `provision`: it allows the secrets that service.secrets names. A key of your own must allow the role too.",
    ),
    Check(
        "quotas",
        "Service Quotas: Fargate's vCPUs, VPCs, elastic addresses, load balancers",
        "one is lower than what the environment needs during a release",
        "Ask for more in Service Quotas of {region}.",
    ),
)

_STATE = (
    Check(
        "state bucket",
        "the bucket of state and records",
        "it is missing, in another account, or closed to this identity",
        "Make it as docs/production.md says, or run `provision`, which makes it.",
        fast=True,
    ),
    Check(
        "bucket versions",
        "its versioning",
        "it is off: a lost state or record could not be restored",
        "aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled",
    ),
    Check(
        "bucket privacy",
        "its public access block",
        "not all four settings are on",
        "Close it as docs/production.md says: aws s3api put-public-access-block --bucket {bucket} …",
    ),
    Check(
        "bucket expiry",
        "its lifecycle rules for releases/ and terraform/",
        "they expire what is current, keep old versions for less than 30 days, or let them pile up for ever",
        "Set both rules of docs/production.md: aws s3api put-bucket-lifecycle-configuration --bucket {bucket} …",
    ),
    Check(
        "record",
        "the environment's record, and the infrastructure that it names",
        "it cannot be read, or names what is not this environment's",
        "Use the Pointsman that wrote it, or restore the object's last good version in S3.",
        fast=True,
    ),
    Check(
        "state lock",
        "the lock objects of Terraform's states",
        "a state is locked while nobody holds the environment",
        "Make sure that its holder has ended, then run `python -m flows unlock {stage} --state <state>`.",
        fast=True,
    ),
)

_MACHINE = (
    Check(
        "Docker engine",
        "the engine that builds and pushes",
        "it does not answer, or does not run Linux",
        f"Start it, let this user use it (group docker), or fix docker.host in {_SETTINGS}.",
        fast=True,
    ),
    Check(
        "BuildKit",
        "the docker clients of this machine",
        "none of them can build with BuildKit",
        "Install docker-buildx-plugin (or Debian's docker.io).",
        fast=True,
    ),
    Check(
        "image store",
        "where the current builder leaves images",
        "it keeps them to itself (driver docker-container, kubernetes or remote), so that the engine could not push",
        "docker buildx use default",
        fast=True,
    ),
    Check(
        "disk space",
        "free space of the workspace and, if it is this machine's, of the engine",
        "less than preflight.least_free_gib is left",
        "Free some: `docker builder prune`, `docker image prune`; lower docker.keep_images or docker.build_cache.",
        fast=True,
    ),
    Check(
        "metadata service",
        "a RUN step's way to the credentials of the machine that builds",
        "it gets an answer that leads to them",
        'Close the way as docs/production.md says, or set docker.build_network = "none".',
    ),
    Check(
        "Terraform",
        "`terraform version`",
        "there is none, or it is older than the roots require",
        "Install Terraform 1.10 or newer for the worker's user.",
        fast=True,
    ),
    Check(
        "provider",
        "Terraform's provider on this machine",
        "it is not kept here, so that each release needs the registry",
        "Run `scripts/keep-provider` as the worker's user.",
        fast=True,
    ),
    Check(
        "lock files",
        "the three roots' .terraform.lock.hcl",
        "they name different versions, or have no checksums",
        "Restore them: `git checkout -- terraform`, or run `terraform init` in the root that differs.",
        fast=True,
    ),
)

_SOURCE = (
    Check(
        "git access",
        "`git ls-remote` of the source repository",
        "it cannot be read, or lacks a branch that is released from",
        f"Fix [source] in {_SETTINGS}; a private repository needs POINTSMAN_SOURCE_TOKEN at "
        "`python -m blocks register {stage}`.",
        fast=True,
    ),
    Check(
        "webhook secret",
        "the block with the secret that GitHub signs with",
        "it is missing or shorter than 16 characters",
        "Make one with `openssl rand -hex 32`, give it to GitHub, and run `python -m blocks register {stage}`.",
        fast=True,
    ),
    Check(
        "Dockerfile",
        "the Dockerfile's RUN steps, and the scripts of package.json that its install runs",
        "one of them would touch a database",
        "Install with --ignore-scripts, and run `prisma generate` as a step of its own. Migrations are the release's.",
        fast=True,
    ),
    Check(
        "old workflow",
        ".github/workflows in the source repository",
        "one still deploys when a version is tagged: two would release the same tag",
        "Delete it, or disable it with `gh workflow disable`, and remove the role github_actions that it takes.",
        fast=True,
    ),
)

_DATABASE = (
    Check(
        "secrets",
        "each secret of service.secrets, by its description",
        "it is missing, about to be deleted, or another one than provision recorded",
        "Create it as docs/database.md says, then run `provision`, which records its ARN.",
    ),
    Check(
        "secret form",
        "its JSON key, and the form postgresql://user:password@host:port/db?schema=public",
        "the key is missing, or a part of the address is; the message says which part, never the value",
        "Write the secret again as docs/database.md says: special characters of user and password percent-encoded.",
    ),
    Check(
        "database instance",
        "preflight.database_instance in RDS",
        "it is missing, not available, or not PostgreSQL",
        f"Create it as docs/database.md says, or fix preflight.database_instance in {_SETTINGS}.",
    ),
    Check(
        "database backups",
        "its automated backups",
        "they are off",
        "aws rds modify-db-instance --db-instance-identifier {instance} --backup-retention-period 7 "
        "--apply-immediately",
    ),
    Check(
        "database encryption",
        "its storage",
        "it is not encrypted, which no later change adds",
        "Restore an encrypted copy of a snapshot, and point the secret at it.",
    ),
    Check(
        "database deletion protection",
        "its deletion protection",
        "it is off",
        "aws rds modify-db-instance --db-instance-identifier {instance} --deletion-protection --apply-immediately",
    ),
    Check(
        "database exposure",
        "whether it has a public address, and whether it then insists on TLS",
        "it has one, and neither rds.force_ssl nor sslmode=require in the address asks for TLS",
        "Set rds.force_ssl = 1 in its parameter group, or add sslmode=require to the address in the secret.",
    ),
    Check(
        "database inbound rule",
        "the inbound rules of its security groups",
        "none admits the environment's NAT address (or, in the same VPC, its tasks) on the database's port",
        "Add the rule as docs/database.md says.",
    ),
    Check(
        "database open to the world",
        "the same rules",
        "one admits 0.0.0.0/0 or ::/0 on the database's port",
        "Revoke that rule: aws ec2 revoke-security-group-ingress …",
    ),
    Check(
        "task",
        "a one-off task of the last release's image, in the private subnets",
        "it does not start: image, execution role, secrets, logs or capacity",
        "Its stop reason names what is missing; `provision` sets roles, network and log group right.",
    ),
    Check(
        "task role",
        "whose credentials that task is given",
        "not those of the role {cluster}-task",
        "Run `provision`, then release again: a task definition keeps the role that it was registered with.",
    ),
    Check(
        "database reachable",
        "the same task: name, port, TLS and login",
        "one of these fails",
        "Name: the secret's host. Port: the inbound rule. Login: user and password in the secret, and the database.",
    ),
)

_TRAFFIC = (
    Check(
        "listeners",
        "the production listener and both test listeners that provision recorded",
        "one is missing, or speaks another protocol than traffic.https says",
        "Run `provision`.",
        fast=True,
    ),
    Check(
        "test listeners reachable",
        "a connection from this machine to both test ports",
        "it is not accepted: no release could be smoke-tested",
        f"Add this machine's address to test_listener_cidrs in {_SETTINGS}, then run `provision`.",
        fast=True,
    ),
    Check(
        "certificate",
        "the ACM certificate of the HTTPS listener",
        f"it is not issued, ends within {LEAST_DAYS_OF_CERTIFICATE} days, or is not for traffic.host",
        "Renew it in ACM of {region}: an issued one renews itself while its DNS record stands.",
    ),
    Check(
        "DNS",
        "the addresses of traffic.host",
        "they are not the load balancer's",
        "Make a CNAME (or an alias) from traffic.host to the load balancer's name, which `provision` shows.",
        fast=True,
    ),
)

CHECKS: tuple[Check, ...] = (*_ACCOUNT, *_STATE, *_MACHINE, *_SOURCE, *_DATABASE, *_TRAFFIC)

_HEAD = ("Check", "Looks at", "Fails when", "Fix", "Fast")


class _Shown(dict[str, str]):
    """A fix's names as the documentation shows them: `<bucket>`."""

    def __missing__(self, key: str) -> str:
        return f"<{key}>"


def documented() -> str:
    """Return the catalogue as the table of docs/preflight.md."""
    return table(_rows(), _HEAD)


def _rows() -> Iterator[tuple[str, ...]]:
    names = _Shown()
    for check in CHECKS:
        fails = check.fails_when.format_map(names)
        yield check.name, check.looks_at, fails, check.fix.format_map(names), "yes" if check.fast else ""
