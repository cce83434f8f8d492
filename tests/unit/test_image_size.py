"""An image's layers are read from the registry, shown by their size, and a growth beyond the limit is warned of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.image_size import ImageSize, Layer, growth_warning, layers_of, shown_bytes
from operation.operation import Operation
from tasks.image_size import note_size
from tests.unit.facts import DIGEST, live, settings_with
from tests.unit.fakes import CONFIG, IMAGE, Block, FakeAws, unreachable

MB = 10**6
HISTORY = [
    {"created_by": "COPY base"},
    {"created_by": "ENV A=1", "empty_layer": True},
    {"created_by": "RUN npm ci"},
]
OTHER = "sha256:" + "cd" * 32


def layer(number: int, size: int) -> dict[str, Any]:
    return {"digest": f"sha256:{number:064x}", "size": size}


def image(*sizes: int, first: int = 0) -> ImageSize:
    layers = [Layer(f"sha256:{n:064x}", size, f"step {n}") for n, size in enumerate(sizes, first)]
    return ImageSize(tuple(layers))


@pytest.mark.parametrize(
    ("history", "made"),
    [
        (HISTORY, ["COPY base", "RUN npm ci"]),
        (HISTORY[:1], ["", ""]),
        ([], ["", ""]),
        (None, ["", ""]),
        ([{}, {}], ["", ""]),
    ],
)
def test_each_layer_is_what_made_it_or_nothing_where_the_history_does_not_fit(history: Any, made: list[str]) -> None:
    size = layers_of({"layers": [layer(1, 5), layer(2, 7)]}, {"history": history} if history is not None else {})
    assert [found.made_by for found in size.layers] == made
    assert size.total == 12


@pytest.mark.parametrize(
    ("now", "before", "limit", "warned"),
    [
        (image(10, 20), None, 0, None),
        (image(10 * MB), image(10 * MB), 0, None),
        (image(10 * MB, 5 * MB), image(10 * MB), 5 * MB, None),
        (
            image(10 * MB, 5 * MB + 1),
            image(10 * MB),
            5 * MB,
            "from 10.0 MB to 15.0 MB, by more than 5.0 MB, most of it",
        ),
        (image(9 * MB), image(10 * MB), 0, None),
    ],
)
def test_growth_is_warned_of_above_the_limit(
    now: ImageSize, before: ImageSize | None, limit: int, warned: str | None
) -> None:
    said = growth_warning(now, before, limit)
    assert (said is None) if warned is None else (said is not None and warned in said)


def test_a_warning_names_the_largest_layer_that_is_new() -> None:
    said = growth_warning(image(900 * MB, 1 * MB, 2 * MB), image(900 * MB), MB)
    assert said is not None
    assert "by 'step 2' (2.0 MB)" in said


def test_the_table_has_the_largest_first_and_says_which_layers_are_new() -> None:
    text = image(1 * MB, 3 * MB).describe("v2", image(1 * MB))
    assert "4.0 MB in 2 layers, 3.0 MB more than what is live; 3.0 MB are new" in text
    assert text.index("step 1") < text.index("step 0")
    assert "| 3.0 MB | new | `step 1` |" in text


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (155_400_000, "155.4 MB"), (2 * 10**9, "2.0 GB")]
)
def test_bytes_are_shown_in_decimal_units(size: int, shown: str) -> None:
    assert shown_bytes(size) == shown


# --- the step


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr("tasks.image_size.create_markdown_artifact", lambda **artifact: made.append(artifact))
    configuration = json.dumps({"history": HISTORY}).encode()
    monkeypatch.setattr("systems.ecr._read_configuration", lambda _url: configuration)
    return made


def hold(aws: FakeAws, digest: str, *sizes: int) -> None:
    manifest = {"config": {"digest": CONFIG}, "layers": [layer(size, size) for size in sizes]}
    aws.ecr.manifests[digest] = (IMAGE, manifest)


def ended(operation: Operation) -> tuple[str | None, str]:
    (found,) = [step for step in operation.journal.steps if step.name == "size"]
    return found.outcome, found.detail


def with_live(operation: Operation, digest: str) -> None:
    operation.records.change_environment(lambda r: r.model_copy(update={"live": live("v1.0.0", digest=digest)}))


def test_a_release_s_size_is_published_and_its_growth_warned_of(
    operation: Operation, aws: FakeAws, published: list[dict[str, Any]]
) -> None:
    assert isinstance(operation.block, Block)
    operation.block.settings = settings_with('[image]\nwarn_growth = "10MB"\n')
    hold(aws, DIGEST, 5 * MB, 20 * MB)
    hold(aws, OTHER, 5 * MB, 6 * MB)
    with_live(operation, OTHER)
    operation.pin_release(f"registry/team/shop@{DIGEST}")
    note_size.fn(operation)
    outcome, detail = ended(operation)
    assert outcome == "done"
    assert detail.startswith("WARNING: the image grew from 11.0 MB to 25.0 MB")
    assert "'RUN npm ci' (20.0 MB)" in detail
    (artifact,) = published
    assert artifact["key"] == "image-test"
    assert "`RUN npm ci`" in artifact["markdown"]


def test_what_is_live_and_gone_from_the_registry_is_not_compared(
    operation: Operation, aws: FakeAws, published: list[dict[str, Any]]
) -> None:
    hold(aws, DIGEST, 5 * MB, 20 * MB)
    with_live(operation, OTHER)
    operation.pin_release(f"registry/team/shop@{DIGEST}")
    note_size.fn(operation)
    assert ended(operation) == ("done", "25.0 MB in 2 layers")
    assert "than what is live" not in published[0]["markdown"]


def test_a_registry_that_does_not_answer_costs_the_table_and_no_release(
    operation: Operation, aws: FakeAws, published: list[dict[str, Any]]
) -> None:
    aws.ecr.broken["batch_get_image"] = unreachable
    operation.pin_release(f"registry/team/shop@{DIGEST}")
    note_size.fn(operation)
    outcome, detail = ended(operation)
    assert outcome == "skipped"
    assert detail.startswith("not known: ")
    assert published == []


def test_a_prefect_that_takes_no_artifact_costs_the_table_and_no_release(
    operation: Operation, aws: FakeAws, published: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_given: Any) -> None:
        raise ConnectionError("Prefect's server is away")

    monkeypatch.setattr("tasks.image_size.create_markdown_artifact", refuse)
    hold(aws, DIGEST, 5 * MB)
    operation.pin_release(f"registry/team/shop@{DIGEST}")
    note_size.fn(operation)
    assert ended(operation) == ("done", "5.0 MB in 1 layers")
