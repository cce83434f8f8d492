"""`python -m sandbox.demo`: the sandbox from nothing, releases and rollbacks under traffic, and a measured report."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from core.errors import Permanent, PointsmanError
from core.history import State
from sandbox.kept_secrets import prefect_auth
from sandbox.operator import Operator, Run
from sandbox.parts import Sandbox
from sandbox.settings import CODE
from sandbox.traffic import Client, Requests

__all__ = ["main"]


@dataclass
class Report:
    """What was measured."""

    releases: list[dict[str, Any]] = field(default_factory=list)
    rollbacks: list[dict[str, Any]] = field(default_factory=list)


class Demo:
    """The demonstration, act by act; each act checks from outside that it is as said."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.sandbox = Sandbox(CODE, say=self.say)
        self.report = Report()

    def say(self, line: str) -> None:
        """Print a line with the seconds since the start."""
        print(f"{time.monotonic() - self._began:6.1f} s  {line}", flush=True)

    def play(self) -> None:
        """Play all acts; PointsmanError where something is not as it must be."""
        self.sandbox.reset()
        self.operator = Operator(self.sandbox, self.say)
        self.say("Provisioning: AWS's load balancers take their minute")
        self._expect(self.operator.provision(), "COMPLETED")
        self.release("v1.0.0", None)
        with Client(self.operator.application) as client:
            self.release("v1.1.0", client)
            self.rollback(client, "v1.1.0", "v1.0.0", warm=True)
            self.rollback(client, "v1.0.0", "v1.1.0", warm=True, to_version="v1.1.0")
            self.fail("v1.2.0", client)
            self.rollback(client, "v1.1.0", "v1.0.0", warm=False)
            seen = client.seen()
        self.say(f"Over all of it the client sent {seen.sent} requests; {seen.failed} failed")
        if seen.failed:
            raise Permanent(f"{seen.failed} requests failed", why="; ".join(seen.failures[:5]))

    def release(self, version: str, client: Client | None) -> None:
        """Push a tag, deliver its webhook, and see it live."""
        commit, run, requests, seconds = self._release(version, client)
        self._expect(run, "COMPLETED")
        record, history = self.operator.record(), self.operator.history(version)
        live = record.live
        answered = self.operator.answering(self.operator.settings.ports.production)
        if live is None or live.release.version != version or history.state is not State.HEALTHY:
            raise Permanent(f"{version} is not live", why=f"the record says {live and live.release}, {history.state}")
        if answered["version"] != version or answered["revision"] != live.release.revision:
            raise Permanent(f"{version} does not answer", why=f"/version says {answered}")
        if self.operator.weights()[live.colour] != 100:
            raise Permanent(f"{version} does not carry all traffic", why=f"weights are {self.operator.weights()}")
        self._note_release(version, commit, run, requests, seconds)

    def fail(self, version: str, client: Client) -> None:
        """Release a version whose smoke test fails, and see that the live one keeps all traffic."""
        before = self.operator.record().live
        commit, run, requests, seconds = self._release(version, client)
        self._expect(run, "FAILED")
        history, live = self.operator.history(version), self.operator.record().live
        if history.state is not State.FAILED or before is None or live is None or live.release != before.release:
            raise Permanent(
                f"{version} should have failed with {before and before.release} live", why=str(history.state)
            )
        self.say(f"  as it must: {run.message}")
        self._note_release(version, commit, run, requests, seconds)

    def rollback(self, client: Client, left: str, to: str, *, warm: bool, to_version: str | None = None) -> None:
        """Roll back by hand, as `prefect deployment run rollback/sandbox` does."""
        self.say(f"Rolling back from {left} to {to}, {'warm' if warm else 'cold'}")
        before, began = client.seen(), time.monotonic()
        run_id = self.operator.run("rollback", **({"to_version": to_version} if to_version else {}))
        run = self.operator.wait(run_id)
        seconds = time.monotonic() - began
        self._expect(run, "COMPLETED")
        answered = self.operator.answering(self.operator.settings.ports.production)
        if answered["version"] != to or ("warm" in run.message) is not warm:
            raise Permanent(f"{to} is not live, {'warm' if warm else 'cold'}", why=f"{answered}; {run.message}")
        requests = client.since(before)
        self.report.rollbacks.append(
            {
                "from": left,
                "to": to,
                "warm": warm,
                "seconds": round(run.seconds, 3),
                "seconds_from_command": round(seconds, 3),
                "flow_run_id": run_id,
                "requests": {"sent": requests.sent, "failed": requests.failed},
            }
        )
        self.say(f"  {run.message} {requests.sent} requests meanwhile, {requests.failed} failed")

    def _release(self, version: str, client: Client | None) -> tuple[str, Run, Requests, float]:
        self.say(f"Pushing the tag {version} and delivering its webhook")
        before = client.seen() if client else Requests()
        commit = self.operator.push(version)
        began = time.monotonic()
        run_id = self.operator.deliver(version, commit)
        self.say(f"  {self.operator.page(run_id)}")
        run = self.operator.wait(run_id)
        seconds = time.monotonic() - began
        return commit, run, client.since(before) if client else Requests(), seconds

    def _note_release(self, version: str, commit: str, run: Run, requests: Requests, seconds: float) -> None:
        attempt = self.operator.history(version).attempts[-1]
        self.report.releases.append(
            {
                "version": version,
                "commit": commit,
                "image_digest": attempt.release.image_digest if attempt.release else None,
                "colour": attempt.colour,
                "state": attempt.state,
                "flow_run_id": run.id,
                "seconds": round(run.seconds, 3),
                "seconds_from_delivery": round(seconds, 3),
                "steps": [{"name": s.name, "seconds": s.seconds, "outcome": s.outcome} for s in attempt.steps],
                "requests": {"sent": requests.sent, "failed": requests.failed},
            }
        )

    def _expect(self, run: Run, type_: str) -> None:
        if run.type != type_:
            raise Permanent(f"{run.name} ended {run.state}", why=run.message, do=self.operator.page(run.id))

    def write(self) -> None:
        """Write the report and print the table and the addresses."""
        ports = self.operator.settings.ports
        urls = {
            "prefect": self.sandbox.settings.prefect_url,
            "application": self.operator.application,
            "test_blue": f"http://127.0.0.1:{ports.test_blue}",
            "test_green": f"http://127.0.0.1:{ports.test_green}",
            "webhook": f"{self.sandbox.settings.webhook_url}/webhooks/github",
        }
        report = {"releases": self.report.releases, "rollbacks": self.report.rollbacks, "urls": urls}
        path = self.sandbox.settings.directories.home / "report.json"
        path.write_text(json.dumps(report, indent=1) + "\n")
        print(f"\n{'version':9}{'state':9}{'colour':8}{'digest':22}{'seconds':>8}{'requests':>10}{'failed':>8}")
        for entry in self.report.releases:
            requests = entry["requests"]
            print(
                f"{entry['version']:9}{entry['state']:9}{entry['colour']:8}{(entry['image_digest'] or '-')[:19]:22}"
                f"{entry['seconds']:8.1f}{requests['sent']:10}{requests['failed']:8}"
            )
            steps = ", ".join(f"{s['name']} {s['seconds'] or 0:.1f}" for s in entry["steps"])
            print(f"         {steps}")
            print(f"         {self.operator.page(entry['flow_run_id'])}")
        print(f"\n{'rollback':21}{'':27}{'seconds':>8}{'requests':>10}{'failed':>8}")
        for entry in self.report.rollbacks:
            requests, kind = entry["requests"], "warm" if entry["warm"] else "cold"
            print(
                f"{entry['from'] + ' → ' + entry['to']:21}{kind:27}{entry['seconds']:8.1f}"
                f"{requests['sent']:10}{requests['failed']:8}"
            )
        print("\n" + "\n".join(f"{name:12} {url}" for name, url in urls.items()))
        print(f"{'login':12} {prefect_auth(self.sandbox.settings)}: what Prefect's UI asks for")
        print(f"{'report':12} {path}\n\nIt goes on running; `make down` ends it.")


def main() -> int:
    """Play the demonstration; return 0 if all was as said."""
    demo = Demo()
    try:
        demo.play()
        demo.write()
    except (PointsmanError, OSError, httpx.HTTPError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
