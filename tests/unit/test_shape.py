"""What a JSON value must look like: each place that differs is named, and what nobody named must be empty."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.shape import Computed, JsonText, Named, OneOf, Set, Text, Whole, differences

TWICE = '{"a": 2, "b": 1, "a": 1, "b": 1, "c": 1}'
PAIRS = Named("name", "value", {"LOG": "info"})


@pytest.mark.parametrize(
    ("value", "pattern", "unknown"),
    [
        pytest.param(1, 1, None, id="the same value"),
        pytest.param(None, False, None, id="nothing is as good as off"),
        pytest.param("", None, None, id="an empty text is as good as nothing"),
        pytest.param({}, False, None, id="an empty object is as good as off"),
        pytest.param({"a": 1, "b": None}, {"a": 1}, {"b": False}, id="another key that is empty"),
        pytest.param({"a": 1}, {"a": 1}, None, id="nothing is unknown"),
        pytest.param({"a": 1}, {"a": 1}, [True], id="marks of another form"),
        pytest.param(None, [], None, id="no list for an empty one"),
        pytest.param([1, 2], [1, 2], [False, False], id="a list, entry by entry"),
        pytest.param(
            [{"a": None}], [{"a": Computed("x")}], [{"a": True}], id="an entry's value that the apply will tell"
        ),
        pytest.param(["b", "a"], Set(("a", "b")), None, id="a set in another order"),
        pytest.param(3, Whole(), None, id="a whole number"),
        pytest.param("shop:7", Text(r"shop:\d+", "shop:…"), None, id="a text as described"),
        pytest.param("b", OneOf("a", "b"), None, id="the second of two"),
        pytest.param(None, Computed("x"), True, id="what the apply will tell"),
        pytest.param("x", Computed("x"), True, id="what is known though it might change"),
        pytest.param('{"a": 1}', JsonText({"a": 1}), None, id="JSON in a text"),
        pytest.param([{"name": "LOG", "value": "info"}], PAIRS, None, id="pairs"),
        pytest.param(None, Named("name", "value", {}), None, id="no pairs"),
    ],
)
def test_what_fits_has_no_differences(value: Any, pattern: Any, unknown: Any) -> None:
    assert differences("x", value, pattern, unknown) == []


@pytest.mark.parametrize(
    ("value", "pattern", "unknown", "said"),
    [
        pytest.param(1, 2, None, ["x would become 1, not 2"], id="another value"),
        pytest.param(1, True, None, ["x would become 1, not true"], id="a number is no truth"),
        pytest.param(0, False, None, ["x would become 0, not false"], id="zero is not nothing"),
        pytest.param(0, None, None, ["x would become 0, not null"], id="zero is set"),
        pytest.param(None, 1, True, ["x would be known only after the apply"], id="unknown"),
        pytest.param("y", Computed("x"), True, ['x would become "y", not "x"'], id="known, and another"),
        pytest.param(None, Computed("x"), False, ['x would become null, not "x"'], id="not there, and not unknown"),
        pytest.param(5, {"a": 1}, None, ["x would become 5, not an object"], id="no object"),
        pytest.param(
            {"a": 1, "b": 2}, {"a": 1}, None, ["x.b would become 2, which a slot does not have"], id="a key more"
        ),
        pytest.param({}, {"a": 1}, None, ["x.a would become null, not 1"], id="a key less"),
        pytest.param(
            {"a": 1}, {"a": 1}, {"b": True}, ["x.b would be known only after the apply"], id="a key more, later"
        ),
        pytest.param(
            {"a": 1},
            {"a": 1},
            {"b": {"c": [False, True]}},
            ["x.b would be known only after the apply"],
            id="deep, later",
        ),
        pytest.param(
            {"a": 2, "b": 3},
            {"a": 1, "b": 1},
            None,
            ["x.a would become 2, not 1", "x.b would become 3, not 1"],
            id="each fault",
        ),
        pytest.param(5, [1], None, ["x would become 5, not a list"], id="no list"),
        pytest.param([1], [1, 2], None, ["x would become [1], with 1 entries instead of 2"], id="too few entries"),
        pytest.param(None, [1], None, ["x would become [], with 0 entries instead of 1"], id="no entries"),
        pytest.param(
            [3, 4], [1, 2], None, ["x[0] would become 3, not 1", "x[1] would become 4, not 2"], id="each entry"
        ),
        pytest.param([3, 2], [1, 2], None, ["x[0] would become 3, not 1"], id="the first entry"),
        pytest.param([None], [1], [True], ["x[0] would be known only after the apply"], id="an entry, later"),
        pytest.param([1], [1], [True, True], [], id="marks of another length say nothing"),
        pytest.param(["a"], Set(("a", "b")), None, ['x would become ["a"], not ["a", "b"]'], id="a member less"),
        pytest.param(["a", "a"], Set(("a",)), None, ['x would become ["a", "a"], not ["a"]'], id="a member twice"),
        pytest.param("a", Set(("a",)), None, ['x would become "a", not ["a"]'], id="no set"),
        pytest.param(0, Whole(), None, ["x would become 0, not a whole number above 0"], id="zero"),
        pytest.param(True, Whole(), None, ["x would become true, not a whole number above 0"], id="a truth"),
        pytest.param("shop:x", Text(r"shop:\d+", "shop:…"), None, ['x would become "shop:x", not shop:…'], id="a text"),
        pytest.param(7, Text(r"\d+", "digits"), None, ["x would become 7, not digits"], id="no text"),
        pytest.param("c", OneOf("a", "b"), None, ['x would become "c", not "a"'], id="none of two: the first is told"),
        pytest.param(
            {"a": None}, OneOf({"a": "x"}), {"a": True}, ["x.a would be known only after the apply"], id="one of, later"
        ),
        pytest.param("{}", JsonText({"a": 1}), None, ["x.a would become null, not 1"], id="JSON that differs"),
        pytest.param(
            "nope",
            JsonText({}),
            None,
            ['x would become "nope", which is not valid JSON (Expecting value: line 1 column 1 (char 0))'],
            id="no JSON",
        ),
        pytest.param(
            TWICE,
            JsonText({"a": 1}),
            None,
            [f"x would become {json.dumps(TWICE)}, which is not valid JSON (a, b appears twice)"],
            id="a key of JSON twice: readers differ in which one counts",
        ),
        pytest.param([], PAIRS, None, ["x would lack LOG"], id="a pair less"),
        pytest.param(None, PAIRS, None, ["x would lack LOG"], id="no pairs"),
        pytest.param(
            [{"name": "LOG", "value": "all"}], PAIRS, None, ["x.LOG would differ"], id="a pair with another value"
        ),
        pytest.param(
            [{"name": "LOG", "value": "info"}, {"name": "A", "value": "s"}],
            PAIRS,
            None,
            ["x would gain A"],
            id="a pair more",
        ),
        pytest.param(
            [{"name": "LOG", "value": "info"}] * 2, PAIRS, None, ["x would have LOG 2 times"], id="a pair twice"
        ),
        pytest.param(
            [{"name": "LOG", "value": "info", "more": 1}],
            PAIRS,
            None,
            ["x would become something other than a list of name and value"],
            id="a pair of three",
        ),
        pytest.param(
            ["LOG"], PAIRS, None, ["x would become something other than a list of name and value"], id="no pair"
        ),
        pytest.param({}, PAIRS, None, ["x would become something other than a list of name and value"], id="an object"),
    ],
)
def test_each_place_that_differs_is_said(value: Any, pattern: Any, unknown: Any, said: list[str]) -> None:
    assert differences("x", value, pattern, unknown) == said


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 158, '"' + "x" * 158 + '"'),
        ("x" * 159, '"' + "x" * 159 + " …"),
        ("é", '"é"'),
        (object, f'"{object}"'),
    ],
)
def test_a_value_is_shown_as_json_and_cut(value: Any, shown: str) -> None:
    assert differences("x", value, 1) == [f"x would become {shown}, not 1"]
