"""Where a secret variable of a container comes from: Secrets Manager or SSM, by name or ARN, never by value.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
"""

from __future__ import annotations

import re
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = ["SecretReference", "is_arn"]

# API_CreateSecret of Secrets Manager, and RDS's own names, which begin with `rds!`
_SECRET_NAME = re.compile(r"[A-Za-z0-9/_+=.@!-]{1,512}")
_SECRET_ARN = re.compile(
    r"arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):\d{12}:secret:[A-Za-z0-9/_+=.@!-]+-[A-Za-z0-9]{6}"
)
# https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html
_PARAMETER_NAME = re.compile(r"/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_PARAMETER_ARN = re.compile(r"arn:aws[a-z-]*:ssm:([a-z0-9-]+):\d{12}:parameter/[A-Za-z0-9_./-]+")


def is_arn(name: str) -> bool:
    """Whether a secret or parameter is named by its ARN."""
    return name.startswith("arn:")


class SecretReference(BaseModel):
    """A secret of Secrets Manager, whole or one JSON key of it, or a parameter of SSM's Parameter Store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret: str | None = Field(
        default=None, min_length=1, description="The secret's name, also one of RDS's own; in another account its ARN."
    )
    key: str | None = Field(
        default=None, min_length=1, description="The JSON key inside the secret; all of it if unset."
    )
    parameter: str | None = Field(
        default=None, min_length=1, max_length=1_011, description="The parameter's name, or its ARN."
    )

    @field_validator("secret")
    @classmethod
    def _is_a_secret(cls, secret: str | None) -> str | None:
        if secret is None or (_SECRET_ARN if is_arn(secret) else _SECRET_NAME).fullmatch(secret):
            return secret
        if is_arn(secret):
            raise ValueError(
                "is not the whole ARN of a secret, with the six characters at its end that AWS adds; a JSON key goes "
                "into key"
            )
        raise ValueError("is not a secret's name: AWS takes letters, digits and /_+=.@!-, at most 512")

    @field_validator("key")
    @classmethod
    def _is_a_key(cls, key: str | None) -> str | None:
        if key is not None and ":" in key:
            raise ValueError("has a colon, which ECS takes for the end of the key")
        return key

    @field_validator("parameter")
    @classmethod
    def _is_a_parameter(cls, parameter: str | None) -> str | None:
        if parameter is None or (_PARAMETER_ARN if is_arn(parameter) else _PARAMETER_NAME).fullmatch(parameter):
            return parameter
        raise ValueError("is neither a parameter's name, such as /shop/production/url, nor its ARN")

    @model_validator(mode="after")
    def _comes_from_one_place(self) -> Self:
        if (self.secret is None) == (self.parameter is None):
            raise ValueError("needs either secret or parameter")
        if self.parameter is not None and self.key is not None:
            raise ValueError("key goes with secret alone: ECS gives a parameter as a whole")
        return self

    @property
    def source(self) -> str:
        """By which `provision` records its ARN, and by which people know it."""
        return self.secret if self.secret is not None else f"parameter {self.parameter}"

    @property
    def region(self) -> str | None:
        """The region that its ARN names; None where it has only a name."""
        found = _SECRET_ARN.fullmatch(self.secret or "") or _PARAMETER_ARN.fullmatch(self.parameter or "")
        return found.group(1) if found else None

    def value_from(self, arn: str) -> str:
        """Return what ECS takes as `valueFrom`."""
        return f"{arn}:{self.key}::" if self.key is not None else arn
