"""HTTP probes of a release: its smoke checks, and answers in a row that name it. Each on a connection of its own."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from core.colour import Colour
from core.errors import Permanent
from core.lease import HeldLease
from core.release import Release
from core.settings import EnvironmentSettings, SmokeCheck
from core.smoke import CheckResult, Identity, Streak, Verdict, judge_check, judge_identity
from systems.http import Endpoint, ask
from systems.log import run_logger

__all__ = ["Prober", "addresses_of", "endpoint_of", "identify"]


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


def identify(
    settings: EnvironmentSettings, endpoint: Endpoint, address: str, release: Release, *, within: float = 5.0
) -> CheckResult:
    """Ask one address once which release it is; return whether it is the one expected."""
    path = settings.traffic.version_path
    answer = ask(endpoint, address, SmokeCheck(path=path, within_seconds=within))
    try:
        answered = json.loads(answer.body) if answer.status == 200 else None
    except ValueError:
        answered = None
    if not isinstance(answered, dict):
        answered = None
    return judge_identity(path, Identity(release.version, release.revision), answered, answer)


@dataclass(frozen=True)
class Prober:
    """Asks an environment's listeners, while its lease is watched."""

    settings: EnvironmentSettings
    alb_dns_name: str
    lease: HeldLease

    def endpoint(self, colour: Colour | None = None) -> Endpoint:
        """Return the test listener of a colour, or the production listener."""
        return endpoint_of(self.settings, self.alb_dns_name, colour)

    def run_checks(self, colour: Colour, release: Release) -> list[CheckResult]:
        """Return the verdict on each smoke check of a release, asked at its test listener; its identity comes first."""
        endpoint = self.endpoint(colour)
        address = addresses_of(endpoint)[0]
        results: list[CheckResult] = []
        for check in (None, *self.settings.smoke.checks):
            result = self._until_it_passes(endpoint, address, check, release)
            run_logger().info("%s: %s, expected %s, got %s", result.check, result.verdict, result.expected, result.got)
            results.append(result)
        return results

    def _until_it_passes(
        self, endpoint: Endpoint, address: str, check: SmokeCheck | None, release: Release
    ) -> CheckResult:
        attempts = self.settings.smoke.attempts
        for attempt in range(1, attempts + 1):
            self.lease.check()
            if check is None:
                result = identify(self.settings, endpoint, address, release)
            else:
                result = judge_check(check, ask(endpoint, address, check))
            if result.verdict is Verdict.PASS or attempt == attempts:
                return result
            time.sleep(self.settings.timing.poll)
        raise AssertionError("settings have at least one attempt")

    def see_release(self, endpoint: Endpoint, release: Release, *, patience: float) -> int:
        """Return how many answers it took until each address gave enough in a row from `release`.

        Each is asked on a fresh connection. Raises `Permanent` if one address answered wrongly for longer than
        `patience` seconds. Right answers may be slow.
        """
        total = 0
        for address in addresses_of(endpoint):
            streak = Streak(time.monotonic())
            while streak.right < self.settings.traffic.answers:
                self.lease.check()
                result = identify(self.settings, endpoint, address, release, within=max(5.0, patience / 2))
                streak = streak.after(right=result.verdict is Verdict.PASS, now=time.monotonic())
                total += 1
                if streak.right == 0:
                    if streak.wrong_for > patience:
                        raise Permanent(
                            f"{endpoint} does not serve {release}",
                            why=f"expected {self.settings.traffic.answers} answers in a row from {result.expected} at "
                            f"{address}, got {result.got}",
                        )
                    self._pause()
        return total

    def see_settled(self, release: Release, colour: Colour) -> None:
        """Wait until each address of the production listener answered from `release` alone for a while.

        Raises `Permanent` if one goes on answering wrongly: then nothing may be stopped.
        """
        timing, endpoint = self.settings.timing, self.endpoint()
        streaks = {address: Streak(time.monotonic()) for address in addresses_of(endpoint)}
        while True:
            for address, streak in streaks.items():
                self.lease.check()
                result = identify(self.settings, endpoint, address, release)
                streaks[address] = streak.after(right=result.verdict is Verdict.PASS, now=time.monotonic())
                if streaks[address].right == 0 and streaks[address].wrong_for > timing.confirm:
                    raise Permanent(
                        f"The {colour.other} slot was left running",
                        why=f"{endpoint} does not serve {release.version} at {address}: {result.got}",
                        do="Find out why, then run `retire`.",
                    )
            at = time.monotonic()
            if all(streak.lasted(at) >= timing.weights_settle for streak in streaks.values()):
                return
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
