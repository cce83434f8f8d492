"""HTTP probes of a release: its smoke checks, and answers in a row that name it. Each on a connection of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from core.colour import Colour
from core.errors import Permanent
from core.lease import HeldLease
from core.release import Release
from core.serving import Deployed, Serving
from core.settings import EnvironmentSettings, SmokeCheck
from core.smoke import CheckResult, Streak, Verdict, judge_check
from systems.http import Endpoint, ask
from systems.log import run_logger
from systems.recognition import ByAnswer, ByTargets, Recognition

__all__ = ["Prober", "Sighting", "addresses_of", "endpoint_of"]


def endpoint_of(settings: EnvironmentSettings, alb_dns_name: str, colour: Colour | None) -> Endpoint:
    """Return the test listener of a colour, or the production listener for None."""
    traffic = settings.traffic
    scheme = "https" if traffic.https and colour is None else "http"
    production = 443 if traffic.https else settings.ports.production
    port = production if colour is None else settings.ports.test(colour)
    host = (traffic.host if colour is None else None) or alb_dns_name
    given = [traffic.connect_to] if isinstance(traffic.connect_to, str) else traffic.connect_to or []
    return Endpoint(scheme, host, port, tuple(given))


def addresses_of(endpoint: Endpoint) -> tuple[str, ...]:
    """Return the addresses to ask; those that this machine has no route to are left out, with a word."""
    found = endpoint.addresses()
    if found.left_out:
        run_logger().info("%s is not probed at %s: no route from this machine", endpoint, ", ".join(found.left_out))
    return found.reachable


@dataclass(frozen=True)
class Sighting:
    """A release seen at a listener: how many requests it took, and in words what they proved."""

    asked: int
    proof: str


@dataclass(frozen=True)
class Prober:
    """Asks an environment's listeners, while its lease is watched."""

    settings: EnvironmentSettings
    alb_dns_name: str
    lease: HeldLease
    evidence: Callable[[Deployed, Colour | None], Serving]
    """Reads what AWS says of a release's targets and of a listener: a colour's test listener, or the production one."""

    def endpoint(self, colour: Colour | None = None) -> Endpoint:
        """Return the test listener of a colour, or the production listener."""
        return endpoint_of(self.settings, self.alb_dns_name, colour)

    def version_path(self, release: Release) -> str:
        """Return where a release names itself, empty if nowhere: as it did when it was made, by the file if unknown."""
        recorded = release.configuration.version_path
        return (self.settings.traffic.version_path or "") if recorded is None else recorded

    def recognise(self, deployed: Deployed, listener: Colour | None, endpoint: Endpoint | None = None) -> Recognition:
        """Return how a release is recognised at a listener: by the path that it names itself at, or by its targets."""
        endpoint = endpoint or self.endpoint(listener)
        if path := self.version_path(deployed.release):
            return ByAnswer(endpoint, deployed, self._question(path, listener))
        health = deployed.release.configuration.health_check(self.settings.service.health_check_path)
        return ByTargets(
            endpoint,
            deployed,
            health,
            self._question(health.path, listener),
            read=lambda: self.evidence(deployed, listener),
            every=self.settings.timing.poll,
        )

    def _question(self, path: str, listener: Colour | None) -> SmokeCheck:
        """Return the question for a path: at a test listener as smoke checks are asked, else as anybody asks."""
        check = SmokeCheck(path=path)
        return check if listener is None else self.settings.smoke.as_sent(check)

    def run_checks(self, deployed: Deployed) -> tuple[list[CheckResult], str]:
        """Return the verdict on each smoke check of a release at its test listener, and what its identity was seen by.

        The first verdict is that on its identity.
        """
        recognition = self.recognise(deployed, deployed.colour)
        address = addresses_of(recognition.endpoint)[0]
        looks: list[Callable[[], CheckResult]] = [partial(recognition.look, address, 5.0)]
        smoke = self.settings.smoke
        looks += [partial(_run, recognition.endpoint, address, smoke.as_sent(check)) for check in smoke.checks]
        results: list[CheckResult] = []
        for look in looks:
            result = self._until_it_passes(look)
            run_logger().info("%s: %s, expected %s, got %s", result.check, result.verdict, result.expected, result.got)
            results.append(result)
        return results, recognition.proof()

    def _until_it_passes(self, look: Callable[[], CheckResult]) -> CheckResult:
        attempts = self.settings.smoke.attempts
        for attempt in range(1, attempts + 1):
            self.lease.check()
            result = look()
            if result.verdict is Verdict.PASS or attempt == attempts:
                return result
            time.sleep(self.settings.timing.poll)
        raise AssertionError("settings have at least one attempt")

    def see_candidate(self, deployed: Deployed) -> Sighting:
        """See a release at its own test listener, before it gets traffic; raises `Permanent` as `see_release` does."""
        return self.see_release(self.recognise(deployed, deployed.colour), patience=self.settings.timing.identify)

    def see_live(self, deployed: Deployed) -> Sighting:
        """See a release at the production listener, after weights moved; raises `Permanent` as `see_release` does.

        Where answers do not name the release, each address is watched for `timing.weights_settle` as well: as long as
        weights may need to reach it.
        """
        recognition, timing = self.recognise(deployed, None), self.settings.timing
        seen = self.see_release(recognition, patience=timing.confirm)
        if recognition.names_the_release:
            return seen
        wrong = self._watch(recognition)
        if wrong is not None:
            raise Permanent(f"{recognition.endpoint} does not serve {deployed.release}", why=wrong)
        return Sighting(seen.asked, f"{seen.proof} for {timing.weights_settle:g} s")

    def see_release(self, recognition: Recognition, *, patience: float) -> Sighting:
        """Return what was seen once each address gave enough right answers in a row.

        Each is asked on a fresh connection. Raises `Permanent` if one address answered wrongly for longer than
        `patience` seconds. Right answers may be slow.
        """
        total = 0
        for address in addresses_of(recognition.endpoint):
            streak = Streak(time.monotonic())
            while streak.right < self.settings.traffic.answers:
                self.lease.check()
                result = recognition.look(address, max(5.0, patience / 2))
                streak = streak.after(right=result.verdict is Verdict.PASS, now=time.monotonic())
                total += 1
                if streak.right == 0:
                    if streak.wrong_for > patience:
                        raise Permanent(
                            f"{recognition.endpoint} does not serve {recognition.deployed.release}",
                            why=f"expected {self.settings.traffic.answers} answers in a row from {result.expected} at "
                            f"{address}, got {result.got}",
                        )
                    self._pause()
        return Sighting(total, recognition.proof())

    def see_settled(self, deployed: Deployed) -> None:
        """Wait until each address of the production listener answered from the release alone for a while.

        Raises `Permanent` if one goes on answering wrongly: then nothing may be stopped.
        """
        recognition = self.recognise(deployed, None)
        wrong = self._watch(recognition)
        if wrong is not None:
            raise Permanent(
                f"The {deployed.colour.other} slot was left running",
                why=f"{recognition.endpoint} does not serve {deployed.release.version} {wrong}",
                do="Find out why, then run `retire`.",
            )

    def _watch(self, recognition: Recognition) -> str | None:
        """Ask each address by turns until all answered rightly for `timing.weights_settle`; return None then.

        Return in words what one answered that went on answering wrongly for longer than `timing.confirm`.
        """
        timing = self.settings.timing
        streaks = {address: Streak(time.monotonic()) for address in addresses_of(recognition.endpoint)}
        while True:
            for address, streak in streaks.items():
                self.lease.check()
                result = recognition.look(address, 5.0)
                streaks[address] = streak.after(right=result.verdict is Verdict.PASS, now=time.monotonic())
                if streaks[address].right == 0 and streaks[address].wrong_for > timing.confirm:
                    return f"at {address}: {result.got}"
            at = time.monotonic()
            if all(streak.lasted(at) >= timing.weights_settle for streak in streaks.values()):
                return None
            self._pause()

    def wait_for_weights(self) -> None:
        """Wait as long as weights may need to reach every address, where no release is known to answer."""
        end = time.monotonic() + self.settings.timing.weights_settle
        while time.monotonic() < end:
            self.lease.check()
            self._pause()

    def _pause(self) -> None:
        """What is probed may just be changing."""
        time.sleep(min(self.settings.timing.poll, 1.0))


def _run(endpoint: Endpoint, address: str, check: SmokeCheck) -> CheckResult:
    return judge_check(check, ask(endpoint, address, check))
