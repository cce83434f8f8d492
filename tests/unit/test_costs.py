"""The page on costs computes: each row from its price, each total from its rows, each difference from its sum."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal

import pytest

from blocks.environment import PROJECT

PAGE = (PROJECT / "docs/costs.md").read_text()


def table(heading: str) -> list[list[str]]:
    """The rows below a heading, without the table's head."""
    text = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip(" *") for cell in row] for row in rows[2:]]


def number(text: str) -> Decimal:
    return Decimal(text.replace("−", "-").replace(" ", ""))


def cents(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP)


PRICES = {part: number(price) for part, price, *_ in table("Prices")}
ENVIRONMENTS = ["Production", "A cheap staging"]


def rows_of(environment: str) -> Iterator[tuple[str, Decimal, Decimal]]:
    for part, amount, _, cost in table(environment):
        if part != "Total":
            yield part, number(amount), number(cost)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_part_costs_its_amount_at_its_price(environment: str) -> None:
    wrong = {part: cents(amount * PRICES[part]) for part, amount, cost in rows_of(environment)}
    assert wrong == {part: cost for part, _, cost in rows_of(environment)}
    assert len(wrong) > 10


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_total_is_the_sum_of_its_parts(environment: str) -> None:
    [total] = [number(cost) for part, _, _, cost in table(environment) if part == "Total"]
    assert total == sum(cost for _, _, cost in rows_of(environment))


def test_each_difference_is_its_sum() -> None:
    rows = table("What makes it cheaper, or safer")
    assert {variable: number(cost) for variable, _, _, cost in rows} == {
        variable: sum(number(term) for term in re.findall(r"[+−]\s*[\d.]+", terms)) for variable, _, terms, _ in rows
    }
    assert len(rows) > 5


def test_what_a_difference_takes_away_is_what_production_pays() -> None:
    paid = {cost for _, _, cost in rows_of("Production")}
    address = cents(730 * PRICES["Public IPv4 address"])
    task = {cost for _, _, cost in rows_of("A cheap staging")}
    for variable, _, terms, _ in table("What makes it cheaper, or safer"):
        for term in re.findall(r"−\s*[\d.]+", terms):
            assert -number(term) in paid | task | {address, 3 * address}, f"{variable}: {term}"


def test_each_price_says_where_it_is_from_and_when_it_was_read() -> None:
    for part, _, _, usage, page, read in table("Prices"):
        assert re.fullmatch(r"`APS1-[\w:.-]+`", usage), part
        assert re.fullmatch(r"\[[\w ]+\]\(https://aws\.amazon\.com/[\w/-]+/pricing/([\w-]+/)?\)", page), part
        assert re.fullmatch(r"20\d\d-\d\d|to be checked", read), part


def test_each_variable_that_it_names_exists() -> None:
    declared = set(re.findall(r'variable "(\w+)"', (PROJECT / "terraform/environment/variables.tf").read_text()))
    named = {re.match(r"`(\w+)", cell) for cell, *_ in table("What makes it cheaper, or safer")}
    assert {found.group(1) for found in named if found} - declared == {"desired_count"}
