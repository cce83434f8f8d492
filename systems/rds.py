"""RDS, to read: an instance, and whether its parameters require TLS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.errors import Permanent
from core.preflight.database import Instance
from systems.aws import aws_errors, has_code

__all__ = ["find_instance", "requires_tls"]


def find_instance(rds: Any, identifier: str) -> Instance | None:
    """Return an instance, or None where RDS knows none of that name.

    https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DBInstance.html
    """
    try:
        with aws_errors(f"looking for the database {identifier}"):
            [found] = rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"]
    except Permanent as error:
        if has_code(error, "DBInstanceNotFound") or has_code(error, "DBInstanceNotFoundFault"):
            return None
        raise
    endpoint = found.get("Endpoint", {})
    return Instance(
        identifier=found["DBInstanceIdentifier"],
        status=found["DBInstanceStatus"],
        engine=found["Engine"],
        address=endpoint.get("Address", "no address yet"),
        port=int(endpoint.get("Port") or 5432),
        public=bool(found.get("PubliclyAccessible")),
        encrypted=bool(found.get("StorageEncrypted")),
        backup_days=int(found.get("BackupRetentionPeriod") or 0),
        deletion_protected=bool(found.get("DeletionProtection")),
        vpc_id=found.get("DBSubnetGroup", {}).get("VpcId", ""),
        security_groups=tuple(group["VpcSecurityGroupId"] for group in found.get("VpcSecurityGroups", ())),
        parameter_groups=tuple(group["DBParameterGroupName"] for group in found.get("DBParameterGroups", ())),
    )


def requires_tls(rds: Any, parameter_groups: Iterable[str]) -> bool:
    """Whether a parameter group sets rds.force_ssl.

    https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/PostgreSQL.Concepts.General.SSL.html
    """
    for group in parameter_groups:
        with aws_errors(f"reading the parameter group {group}"):
            pages = rds.get_paginator("describe_db_parameters").paginate(DBParameterGroupName=group)
            for page in pages:
                for parameter in page["Parameters"]:
                    if parameter["ParameterName"] == "rds.force_ssl" and parameter.get("ParameterValue") == "1":
                        return True
    return False
