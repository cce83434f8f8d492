"""Whether code that a build runs reaches the credentials of the machine that builds.

A machine in AWS gets them at a link-local address, and a container's packets are routed there like the machine's own.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from core.image_settings import Platform
from systems.docker import find_builder
from systems.processes import run_streamed

__all__ = ["Services", "answers_here", "reached_by_builds"]

_REACHED = re.compile(r"\bprobe: reached (\S+)$")
_LOOKED = re.compile(r"\bprobe: looked$")
_CONNECT_SECONDS = 0.3

# The token that IMDSv2 wants is asked for, since a hop limit stops that answer alone; without a token IMDSv1 answers.
# It always fails, so that no image is left of it.
_SCRIPT = """\
status() {
  header='X-aws-ec2-metadata-token-ttl-seconds'
  if command -v curl >/dev/null; then
    curl --noproxy '*' -s -o /dev/null -m 2 -w '%{http_code}' -X "$2" -H "$header: 60" "http://$1$3"
  elif command -v node >/dev/null; then
    node -e 'const [a, m, p, h] = process.argv.slice(1)
      const r = require("http").request(`http://${a}${p}`, { method: m, headers: { [h]: "60" }, timeout: 2000 })
      r.on("response", (s) => { console.log(s.statusCode); process.exit() })
      r.on("timeout", () => r.destroy()).on("error", () => {}).end()' "$1" "$2" "$3" "$header"
  elif command -v python3 >/dev/null; then
    python3 -c 'import http.client, sys
a, m, p, h = sys.argv[1:]
c = http.client.HTTPConnection(a, timeout=2)
c.request(m, p, headers={h: "60"})
print(c.getresponse().status)' "$1" "$2" "$3" "$header" 2>/dev/null
  elif command -v nc >/dev/null; then
    host=${1%:*} port=${1#*:}
    [ "$port" != "$1" ] || port=80
    printf '%s %s HTTP/1.0\\r\\nHost: %s\\r\\n%s: 60\\r\\nContent-Length: 0\\r\\n\\r\\n' "$2" "$3" "$host" "$header" |
      nc -w 2 "$host" "$port" 2>/dev/null | head -n 1 | cut -d ' ' -f 2
  else
    echo "probe: no tool"
    exit 1
  fi
}
case "$(status @INSTANCE@ PUT /latest/api/token) $(status @INSTANCE@ GET /latest/meta-data/)" in
  *"no tool"*) exit 1 ;;
  *200*) echo "probe: reached @INSTANCE@" ;;
esac
case "$(status @TASK@ GET /)" in
  *[1-9]*) echo "probe: reached @TASK@" ;;
esac
echo "probe: looked"
exit 1
"""


@dataclass(frozen=True)
class Services:
    """Where a machine's credentials are to be had: an EC2 instance's, and an ECS task's."""

    instance: str = "169.254.169.254"
    task: str = "169.254.170.2"


def _script(services: Services) -> str:
    return _SCRIPT.replace("@INSTANCE@", services.instance).replace("@TASK@", services.task)


def answers_here(services: Services | None = None) -> bool:
    """Whether this machine itself reaches one of them; elsewhere than in a cloud there is none."""
    asked = services or Services()
    with ThreadPoolExecutor(2) as pool:
        return any(pool.map(_connects, (asked.instance, asked.task)))


def _connects(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        with socket.create_connection((host, int(port or 80)), timeout=_CONNECT_SECONDS):
            return True
    except OSError:
        return False


def reached_by_builds(
    base: str,
    *,
    network: str,
    platform: Platform = "linux/amd64",
    environment: Mapping[str, str],
    folder: Path,
    timeout: float,
    services: Services | None = None,
) -> tuple[str, ...] | None:
    """Return the addresses that gave a `RUN` step upon the image `base` an answer that leads to credentials.

    None where that could not be looked at: `base` has no shell, or nothing to send a request with.
    """
    asked = services or Services()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "probe.sh").write_text(_script(asked))
    dockerfile = f'FROM {base}\nUSER 0\nCOPY probe.sh /pointsman-probe.sh\nRUN ["/bin/sh", "/pointsman-probe.sh"]\n'
    (folder / "Dockerfile").write_text(dockerfile)
    lines: list[str] = []
    command = [
        find_builder(environment.get("PATH", "")),
        "build",
        f"--platform={platform}",
        "--progress=plain",
        "--no-cache",
        f"--network={network}",
        str(folder),
    ]
    run_streamed(command, on_line=lines.append, environment=environment, timeout=timeout)
    if not any(_LOOKED.search(line) for line in lines):
        return None
    return tuple(dict.fromkeys(found.group(1) for line in lines if (found := _REACHED.search(line))))
