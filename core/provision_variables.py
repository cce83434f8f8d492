"""Which variables of a Terraform root a settings file may set, and which the release itself sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from core.errors import Refused

__all__ = ["SET_BY_US", "refuse_unknown_variables"]

_COMMON = {name: name for name in ("region", "aws_account_number", "namespace", "name")}
SET_BY_US: Mapping[str, Mapping[str, str]] = {
    "account": {**_COMMON, "state_bucket": "state_bucket"},
    "environment": {
        **_COMMON,
        "stage": "stage",
        "container_port": "[service] container_port",
        "health_check_path": "[service] health_check_path",
        "health_check_matcher": "[service] health_check_matcher",
        "production_listener_port": "[ports] production",
        "test_listener_ports": "[ports] test_blue and test_green",
        "listener_weights": "the release record",
        "secret_names": "[service.secrets]",
        "secret_arns": "[service.secrets]",
        "parameter_names": "[service.secrets]",
        "task_policy_arns": "[service] task_policies",
        "sidecar_repositories": "[[service.containers]]",
        "secret_key_arns": "[service] secret_keys",
        "build_secret_names": "[image.secrets] and [image.registries]",
        "base_image_repositories": "[image] base_repositories",
        "pipeline_role_name": "the root account",
        "reconciler_role_name": "the root account",
        "permissions_boundary_arn": "the root account",
    },
}
"""For each root, the variables that are set from elsewhere, and from where."""


def refuse_unknown_variables(stage: str, given: Mapping[str, Iterable[str]], known: Mapping[str, set[str]]) -> None:
    """Raise `Refused` naming each of the `given` names, by root, that the root lacks or that is set from elsewhere.

    Terraform only warns of a name that no root declares, and goes on without it.
    """
    faults = [
        fault
        for root, names in given.items()
        for name in sorted(names)
        if (fault := _fault(root, name, known[root] - SET_BY_US[root].keys()))
    ]
    if faults:
        raise Refused(f"environments/{stage}.toml has invalid settings", why="; ".join(faults), do="Fix the file.")


def _fault(root: str, name: str, known: set[str]) -> str | None:
    where = f"[provision.{root}] {name}"
    if source := SET_BY_US[root].get(name):
        return f"{where} is set by {source}"
    if name in known:
        return None
    near = get_close_matches(name, sorted(known), n=1)
    return f"{where} is not a variable of terraform/{root}" + (f"; did you mean {near[0]}?" if near else "")
