"""Every setting of an environment's file as a page: docs/configuration.md, made from the models and their notes."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from core.markdown import Markdown, code, table
from core.settings_notes import NOTES, Note

__all__ = ["Setting", "documented", "settings_of"]


@dataclass(frozen=True)
class Setting:
    """One setting, as its field says it."""

    section: str
    """The table of the file that it stands in, as TOML writes it, `[service]`; empty for the top of the file."""
    name: str
    type: str
    default: str
    """As TOML writes it; `required`, or `unset` where nothing is the default."""
    note: Note
    field: FieldInfo = field(repr=False)

    @property
    def path(self) -> str:
        """The setting as its note is called."""
        return _path(self.section, self.name)


def documented(model: type[BaseModel]) -> str:
    """Return the page's tables, one a section, in the order of the models."""
    sections: dict[str, list[Setting]] = {}
    for setting in settings_of(model):
        sections.setdefault(setting.section, []).append(setting)
    return "\n".join(f"## {_title(section)}\n\n{_table(settings)}" for section, settings in sections.items())


def settings_of(model: type[BaseModel], section: str = "") -> Iterator[Setting]:
    """Yield the settings of a model, its own first and then those of its sections."""
    nested = []
    for name, info in model.model_fields.items():
        inner, form = _section(info.annotation)
        if inner is None:
            yield _setting(section, name, info)
        else:
            nested.append((inner, form.format(_path(section, name))))
    for inner, path in nested:
        yield from settings_of(inner, path)


def _section(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """Return the model of a field that is a section, and how TOML writes its table; None for a plain setting."""
    for candidate, form in _forms(annotation):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate, form
    return None, ""


def _forms(annotation: Any) -> Iterator[tuple[Any, str]]:
    origin, given = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _forms(given[0])
    elif origin in (Union, types.UnionType):
        for one in given:
            yield from _forms(one)
    elif origin in (list, tuple):
        yield given[0], "[[{}]]"
    elif origin is dict:
        yield given[1], "[{}.<NAME>]"
    else:
        yield annotation, "[{}]"


def _setting(section: str, name: str, info: FieldInfo) -> Setting:
    return Setting(
        section, name, _type(info.annotation) + _limits(info), _default(info), NOTES[_path(section, name)], info
    )


def _path(section: str, name: str) -> str:
    """Return a setting as its note is called."""
    return f"{section.strip('[]')}.{name}".lstrip(".")


_WORDS = REQUIRED, UNSET = "required", "unset"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return REQUIRED
    default = info.get_default(call_default_factory=True)
    return UNSET if default is None else _toml(default)


def _toml(value: Any) -> str:
    """Return a value on one line, as TOML writes it."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, default=str, ensure_ascii=False)


_NAMES = {str: "text", int: "integer", float: "number", bool: "true or false", object: "anything"}


def _type(annotation: Any) -> str:
    origin, given = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(given[0])
    if origin is Literal:
        return " or ".join(_toml(one) for one in given)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(one) for one in given if one is not type(None))
    if origin in (list, tuple):
        return f"list of {_type(given[0])}"
    if origin is dict:
        return f"table of {_type(given[1])}"
    if hasattr(annotation, "__members__"):
        return " or ".join(_toml(one.value) for one in annotation)
    return _NAMES[annotation]


def _limits(info: FieldInfo) -> str:
    """Return the bounds of a number, in words."""
    least = most = ""
    for limit in info.metadata:
        match limit:
            case annotated_types.Ge():
                least = f"at least {limit.ge}"
            case annotated_types.Gt():
                least = f"more than {limit.gt}"
            case annotated_types.Le():
                most = f"at most {limit.le}"
    said = " and ".join(filter(None, (least, most)))
    return f", {said}" if said else ""


def _title(section: str) -> str:
    return f"`{section}`" if section else "The top of the file"


def _table(settings: list[Setting]) -> str:
    rows = [
        (
            code(setting.name),
            setting.type,
            code(setting.default) if setting.default not in _WORDS else setting.default,
            setting.note.unit,
            code(f"{setting.name} = {_toml(setting.note.example)}"),
            Markdown(f"{setting.note.what} {setting.note.breaks}".strip()),
        )
        for setting in settings
    ]
    return table(rows, head=("setting", "type", "default", "unit", "example", "what it is, and what it can break"))
