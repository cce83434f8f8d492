"""What Terraform's child process is given, and whether its provider is kept on this machine."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from core.errors import Permanent
from core.preflight.machine import LockFile

__all__ = [
    "child_environment",
    "kept_provider",
    "locked_version",
    "mirror_directories",
    "read_lock_file",
    "required_version",
    "terraform_version",
]

# A provider is code of others: it gets what it needs by name, and nothing of the worker's beside that.
_PASSED_ON = frozenset(
    {
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "LC_ALL",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_DATA_DIRS",
        "TF_CLI_CONFIG_FILE",
        "TF_PLUGIN_CACHE_DIR",
        "TF_REGISTRY_CLIENT_TIMEOUT",
        "TF_REGISTRY_DISCOVERY_RETRY",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "AWS_CA_BUNDLE",
        "AWS_USE_DUALSTACK_ENDPOINT",
        "AWS_USE_FIPS_ENDPOINT",
    }
)
_SETTLED = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
_ADDRESS = Path("registry.terraform.io/hashicorp/aws")


def child_environment(parent: Mapping[str, str], identity: Mapping[str, str]) -> dict[str, str]:
    """Return Terraform's variables: the named ones of `parent`, and `identity`, which no key of it joins."""
    passed = {name: value for name, value in parent.items() if name.upper() in _PASSED_ON}
    passed |= {name: value for name, value in parent.items() if name.startswith("AWS_ENDPOINT_URL")}
    # Terraform warns at each command of a configuration file that is named and not there.
    if not Path(passed.get("TF_CLI_CONFIG_FILE", "/")).exists():
        del passed["TF_CLI_CONFIG_FILE"]
    return {**passed, **identity, **_SETTLED}


def locked_version(root: Path) -> str:
    """Return the version of the AWS provider that a root's lock file names."""
    lock = (root / ".terraform.lock.hcl").read_text()
    found = re.search(r'provider "registry\.terraform\.io/hashicorp/aws" \{\s*version\s*=\s*"([^"]+)"', lock)
    return found.group(1) if found else "of any version"


def mirror_directories(variables: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders in which Terraform looks for providers before it asks a registry.

    https://developer.hashicorp.com/terraform/cli/config/config-file#implied-local-mirror-directories
    """
    if home := variables.get("HOME"):
        yield Path(home) / ".terraform.d/plugins"
        yield Path(variables.get("XDG_DATA_HOME") or Path(home) / ".local/share") / "terraform/plugins"
    shared = variables.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    yield from (Path(folder) / "terraform/plugins" for folder in shared.split(":") if folder)


def kept_provider(version: str, variables: Mapping[str, str]) -> bool:
    """Whether `init` finds the AWS provider without a registry, or somebody configured where it comes from."""
    home = Path(variables.get("HOME", "/nonexistent"))
    if "TF_CLI_CONFIG_FILE" in variables or (home / ".terraformrc").exists():
        return True
    layouts = (f"{version}/*_*", f"terraform-provider-aws_{version}_*.zip")
    return any(any((folder / _ADDRESS).glob(layout)) for folder in mirror_directories(variables) for layout in layouts)


def terraform_version(variables: Mapping[str, str]) -> str:
    """Return the version of Terraform on this machine; raise `Permanent` where there is none."""
    try:
        done = subprocess.run(
            ["terraform", "version", "-json"],
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        return str(json.loads(done.stdout)["terraform_version"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise Permanent("Terraform was not found", why=str(error), do="Install it on the worker.") from error


def required_version(root: Path) -> str:
    """Return the versions of Terraform that a root accepts, as it writes them; empty if it does not say."""
    found = re.search(r'required_version\s*=\s*"([^"]+)"', (root / "versions.tf").read_text())
    return found.group(1) if found else ""


def read_lock_file(root: Path) -> LockFile | None:
    """Return what a root's lock file says of the AWS provider; None where there is none, or it says nothing of it."""
    file = root / ".terraform.lock.hcl"
    text = file.read_text() if file.exists() else ""
    found = re.search(r'provider "registry\.terraform\.io/hashicorp/aws" \{(.*?)^\}', text, re.DOTALL | re.MULTILINE)
    if found is None:
        return None
    return LockFile(locked_version(root), len(re.findall(r'"(?:h1|zh):', found.group(1))))
