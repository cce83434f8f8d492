"""docs/configuration.md is made from the settings and their notes, and says everything of each."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, create_model

from blocks.environment import PROJECT
from core.settings import EnvironmentSettings
from core.settings_notes import NOTES
from core.settings_page import Setting, documented, settings_of

PAGE = PROJECT / "docs/configuration.md"
SETTINGS = {setting.path: setting for setting in settings_of(EnvironmentSettings)}


def test_the_page_is_made_from_the_models() -> None:
    assert documented(EnvironmentSettings) in PAGE.read_text(), "run `make configuration`"


def test_each_note_is_of_a_setting() -> None:
    assert NOTES.keys() == SETTINGS.keys()


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_each_example_is_valid_and_is_not_the_default(setting: Setting) -> None:
    model = create_model("One", **{setting.name: (setting.field.annotation, setting.field)})  # type: ignore[call-overload]
    model.model_validate({setting.name: setting.note.example})
    assert setting.note.example != setting.field.default


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_each_note_is_a_sentence(setting: Setting) -> None:
    for text in filter(None, (setting.note.what, setting.note.breaks)):
        assert text[0].isupper() or text.startswith("`"), text
        assert text.endswith("."), text
    if setting.type.startswith(("integer", "number")):
        assert setting.note.unit or setting.path.endswith(("_port", "status")) or setting.section == "[ports]"


class Inner(BaseModel):
    kept: Annotated[int, Field(ge=1, le=9)] = 3


class Outer(BaseModel):
    mode: Literal["a", "b"] | None = None
    named: dict[str, Inner] = {}
    several: list[Inner] = []
    one: Inner = Inner()
    must: float = Field(gt=0)


def test_what_is_nested_is_a_table_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("mode", "must", "named.<NAME>.kept", "several.kept", "one.kept"):
        monkeypatch.setitem(NOTES, path, NOTES["queue"])
    found = [(s.section, s.name, s.type, s.default) for s in settings_of(Outer)]
    assert found == [
        ("", "mode", '"a" or "b"', "unset"),
        ("", "must", "number, more than 0", "required"),
        ("[named.<NAME>]", "kept", "integer, at least 1 and at most 9", "3"),
        ("[[several]]", "kept", "integer, at least 1 and at most 9", "3"),
        ("[one]", "kept", "integer, at least 1 and at most 9", "3"),
    ]
