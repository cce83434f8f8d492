"""One run's work on an environment: the parts that it carries, together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from blocks.aws import issued_variables
from blocks.environment import PROJECT, ReleaseEnvironment
from core.colour import Colour
from core.errors import Permanent, Refused
from core.history import State
from core.infrastructure import refuse_foreign_infrastructure
from core.record import EnvironmentRecord, Infrastructure, NamedRelease, Owner
from core.release import Configuration, Pins, Release
from core.serving import Deployed, Serving
from core.settings import ACCOUNT, EnvironmentSettings
from core.slot import Slot, slot_of
from operation.journal import Journal, Observer
from operation.lease import Lease
from operation.workspace import Workspace
from systems.aws import AwsClients, aws_errors, bounded_config
from systems.ecs import Ecs
from systems.load_balancer import LoadBalancer
from systems.one_off import OneOffs
from systems.probes import Prober
from systems.processes import ATTEMPT_VARIABLE
from systems.records import RecordStore
from systems.terraform import Workplace
from systems.terraform_lock import StateLocks
from systems.terraform_provider import child_environment

__all__ = ["Operation", "open_account", "open_operation", "open_records"]


@dataclass(frozen=True)
class Operation:
    """What every step is handed: who acts on which environment, with which lease, and where it is written down."""

    block: ReleaseEnvironment
    aws: AwsClients
    records: RecordStore
    owner: Owner
    lease: Lease
    journal: Journal
    workspace: Workspace
    observers: Sequence[Observer] = ()

    @property
    def settings(self) -> EnvironmentSettings:
        """The environment's settings."""
        return self.block.settings

    @property
    def environment(self) -> str:
        """The environment's name."""
        return self.records.environment_name

    @property
    def record(self) -> EnvironmentRecord:
        """The environment's record as this process read or wrote it last."""
        return self.records.newest

    @property
    def infrastructure(self) -> Infrastructure:
        """What `provision` made; raises `Refused` before it did, and where the record names what is not ours."""
        found = self.record.infrastructure
        if found is None:
            raise Refused(
                f"{self.environment} has no infrastructure yet",
                do=f"Run `prefect deployment run provision/{self.environment}` first.",
            )
        refuse_foreign_infrastructure(found, self.settings)
        return found

    @property
    def release(self) -> Release:
        """The release of this attempt; raises `Permanent` before its image is known."""
        release = self.journal.attempt.release
        if release is None:
            raise Permanent("The release is not yet known", why="its image has not been built")
        return release

    @property
    def awaits_decision(self) -> bool:
        """Whether this attempt was prepared before, and only its approval was waited for."""
        return self.journal.attempt.state is State.AWAITING_APPROVAL

    @property
    def candidate(self) -> Slot:
        """The slot that this attempt may touch."""
        colour = self.journal.attempt.colour
        if colour is None:
            raise Permanent("This attempt has no slot", why="it ended before it held the environment")
        return self.slot(colour)

    @property
    def deployed(self) -> Deployed:
        """The release of this attempt as ECS knows it in its slot."""
        slot = self.journal.attempt.slot
        return self.deployed_as(self.release, self.candidate.colour, slot.task_definition_arn if slot else None)

    def deployed_as(self, release: Release, colour: Colour, definition: str | None) -> Deployed:
        """Return a release as ECS knows it; where the record knows no definition, its service's, if that names it.

        A release that names itself needs none. Raises `Permanent` if the service's definition names another release.
        """
        if definition is None and self.prober.version_path(release):
            definition = ""
        if definition is None:
            found = self.ecs.read(self.slot(colour).service)
            wanted = NamedRelease(image=release.image, version=release.version, revision=release.revision)
            if found is None or self.ecs.names(found.task_definition) != wanted:
                raise Permanent(
                    f"The {colour} slot does not run {release}",
                    why=f"its service has {found.task_definition.rpartition('/')[2] if found else 'no definition'}",
                )
            definition = found.task_definition
        return Deployed(release, colour, definition)

    def slot(self, colour: Colour) -> Slot:
        """Return the environment's slot of one colour."""
        return slot_of(self.settings, self.infrastructure, colour)

    @property
    def ecs(self) -> Ecs:
        """ECS under this run's lease."""
        return Ecs(self.aws, self.lease, self.settings.timing)

    @property
    def load_balancer(self) -> LoadBalancer:
        """The environment's load balancer, to read."""
        return LoadBalancer(self.aws, self.infrastructure)

    @property
    def prober(self) -> Prober:
        """HTTP probes of the environment's listeners, under this run's lease."""
        return Prober(self.settings, self.infrastructure.alb_dns_name, self.lease, self._serving)

    def _serving(self, deployed: Deployed, listener: Colour | None) -> Serving:
        """Read what AWS says of a release's targets, and of its colour's test listener or the production listener."""
        service, infrastructure = self.slot(deployed.colour).service, self.infrastructure
        arn = infrastructure.test_listener_arns[listener] if listener else infrastructure.production_listener_arn
        # The tasks last: one that registered since the targets were read is known then.
        view, targets = self.load_balancer.listener(arn), self.load_balancer.targets(service)
        return Serving(view, targets, self.ecs.running_tasks(service))

    @property
    def one_offs(self) -> OneOffs:
        """The environment's one-off tasks, under this run's lease."""
        return OneOffs(self.aws, self.lease, self.settings.timing, self.infrastructure)

    @property
    def terraform(self) -> Workplace:
        """Where and as whom this run's Terraform works; credentials are issued for each command."""
        settings = self.settings

        def environment() -> dict[str, str]:
            with aws_errors("issuing Terraform's credentials"):
                identity = issued_variables(self.block.aws_credentials, bounded_config(settings.timing))
            return child_environment(os.environ, {**identity, ATTEMPT_VARIABLE: self.owner.attempt})

        return Workplace(
            sources=PROJECT / "terraform",
            bucket=settings.state_bucket,
            account=settings.aws_account_number,
            region=settings.region,
            folder=self.workspace.folder,
            environment=environment,
            timeout=settings.timing.terraform,
        )

    @property
    def state_locks(self) -> StateLocks:
        """The environment's Terraform state locks."""
        settings = self.settings
        return StateLocks(
            self.aws("s3"),
            settings.state_bucket,
            settings.aws_account_number,
            self.environment,
            settings.timing.vacate,
        )

    def pin_release(self, image: str, pins: Pins | None = None) -> Release:
        """Write which release this attempt is, now that its image and what `pins` found are known; return it."""
        attempt = self.journal.entry
        if attempt is None:
            raise Permanent("This run has no attempt", why="it is not a release")
        release = Release(
            version=attempt.version,
            commit=attempt.commit,
            image=image,
            configuration=Configuration.of(self.settings, self.infrastructure.secret_sources, pins),
        )
        self.journal.change(lambda a: a.pinned(release))
        return release

    def with_journal_of_its_own(self) -> Operation:
        """Return an operation by the same process under the same lease, about something else: a dead run's attempt."""
        return replace(self, journal=Journal(self.owner, self.records, self.lease, self.observers))

    def close(self) -> None:
        """End the heartbeat, and remove the run's folders."""
        self.lease.stop_heartbeat()
        self.workspace.remove()


def open_records(environment: ReleaseEnvironment, aws: AwsClients) -> RecordStore:
    """Return the store of an environment's records."""
    settings = environment.settings
    return RecordStore(aws("s3"), settings.state_bucket, environment.stage, settings.aws_account_number)


def open_operation(
    block: ReleaseEnvironment,
    aws: AwsClients,
    owner: Owner,
    *,
    records: RecordStore | None = None,
    observers: Sequence[Observer] = (),
) -> Operation:
    """Return an operation on an environment that its process does not hold yet."""
    records = records or open_records(block, aws)
    lease = Lease(records, owner, block.settings.timing)
    journal = Journal(owner, records, lease, observers)
    return Operation(block, aws, records, owner, lease, journal, Workspace(owner.attempt), observers)


def open_account(operation: Operation) -> Operation:
    """Return an operation, by the same process, on what all environments of the account share: its lease is its own."""
    settings = operation.settings
    records = RecordStore(operation.aws("s3"), settings.state_bucket, ACCOUNT, settings.aws_account_number)
    return open_operation(operation.block, operation.aws, operation.owner, records=records)
