"""docs/contract.md and the code say the same."""

# The structs of the wire are private, and what is compared.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

import suno_async
from suno_async import _wire, _wire_jobs, errors, inputs, models
from suno_async.inputs import KINDS, GeneratePersona

if TYPE_CHECKING:
    from collections.abc import Iterable

    from suno_async.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
MUSIC = {"GenerateMusic", "ExtendMusic", "ExtendUpload", "CoverMusic"}

Row = dict[str, str]


def read_tables(text: str) -> dict[str, list[Row]]:
    """The rows of each section's table, by the section's heading and the column's."""
    tables: dict[str, list[Row]] = defaultdict(list)
    heading, columns = "", list[str]()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("#"):
            heading, columns = line.lstrip("# "), []
        elif not line.startswith("|"):
            columns = []
        elif not columns:
            columns = cells
        elif not set(line) <= set("|-"):
            tables[heading].append(dict(zip(columns, cells, strict=True)))
    return tables


TABLES = read_tables((ROOT / "docs/contract.md").read_text("utf-8"))
MARKS = ("specified", "documented", "client", "seen", "guess", "ours")


def words(cell: str) -> list[str]:
    """What stands in code in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def first(rows: Iterable[Row], column: str) -> set[str]:
    """The first word in code of each row's cell."""
    return {words(row[column])[0] for row in rows if words(row[column])}


def resolve(reference: str) -> tuple[Any, str]:
    """A class and the name of one of its attributes, from ``Class.attribute``."""
    owner, _, attribute = reference.partition(".")
    for module in (suno_async, models, _wire_jobs):
        if hasattr(module, owner):
            return getattr(module, owner), attribute
    raise AssertionError(f"{reference}: no class of that name")


def fields_of(struct: Any) -> set[str]:  # noqa: ANN401 (any struct)
    """The fields of a struct, extra and local ones left out."""
    return set(struct.__struct_fields__) - set(getattr(struct, "NOT_SENT", ()))


def test_every_row_says_how_sure_it_is() -> None:
    """Every row of every table carries one of the marks that the page explains."""
    assert {
        row["mark"] for row in TABLES["The HTTP contract, as this library understands it"]
    } == set(MARKS[:-1])
    for heading, rows in TABLES.items():
        for row in rows:
            if "mark" not in row:
                assert any(mark in row["how sure"] for mark in MARKS), (heading, row)


def test_endpoints() -> None:
    """Every endpoint has its client method and its path on the wire, and the other way round."""
    rows = TABLES["Endpoints"]
    for row in rows:
        owner, method = resolve(words(row["method"])[0])
        assert callable(getattr(owner, method)), row
    documented = {each.split()[1].removesuffix("/{model}") for each in first(rows, "endpoint")}
    paths = {
        value
        for module in (_wire, _wire_jobs)
        for value in vars(module).values()
        if isinstance(value, str) and value.startswith("/api/")
    }
    assert documented == paths
    # A path may serve two endpoints, but each has a request of its own.
    requests = {
        name for module in (_wire, _wire_jobs) for name in vars(module) if name.endswith("_request")
    }
    assert len(rows) == len(requests)


@pytest.mark.parametrize(
    ("heading", "wire"),
    [
        ("Envelope", [_wire._Envelope]),
        ("Task record", [_wire._Record]),
        ("Result", [_wire._Result]),
        ("Song", [_wire._MusicItem]),
        (
            "Other answers",
            [_wire_jobs._Estimate, _wire_jobs._Models, _wire_jobs._Schema, _wire_jobs.UploadTarget],
        ),
    ],
)
def test_answers(heading: str, wire: list[Any]) -> None:
    """Every field of an answer is decoded and has its place, and the other way round."""
    rows = TABLES[heading]
    places = [resolve(place) for row in rows for place in words(row["where"])]
    for owner, name in places:
        is_field = name in getattr(owner, "__struct_fields__", ())
        assert is_field or (issubclass(owner, Exception) and name in vars(owner(429))), name
    documented = {each for each in first(rows, "field") if "." not in each}
    decoded = set[str]().union(*(fields_of(struct) for struct in wire))
    if heading == "Other answers":
        decoded |= fields_of(_wire._Created) - {"task_id"} | fields_of(_wire._Balance)
    assert documented == decoded


def test_param() -> None:
    """The echo of what was sent is documented field by field."""
    documented = {each.partition(".")[2] for each in first(TABLES["Task record"], "field")} - {""}
    assert documented == fields_of(_wire._Param) == fields_of(models.TaskParam)


def test_what_a_user_holds() -> None:
    """Every field of the results that a user holds has a row, but for those this library makes."""
    places = {
        place for rows in TABLES.values() for row in rows for place in words(row.get("where", ""))
    }
    own = {"TaskInfo.raw_status", "TaskInfo.failure", "Track.task_id", "Persona.name"}
    held = (models.TaskInfo, models.Track, models.Estimate, models.ModelInfo, models.ModelSchema)
    for struct in (*held, models.Persona, models.TaskFailure, models.TaskParam):
        for field in fields_of(struct):
            assert f"{struct.__name__}.{field}" in places | own


def test_kinds() -> None:
    """Every kind has its struct, and its way there from a song."""
    rows = TABLES["Kinds of job"]
    for row in rows:
        kind, struct = words(row["kind"]), words(row["struct"])[0]
        assert kind == [] or KINDS[kind[0]].__name__ == struct
        for way in words(row["made from a song by"]):
            owner, method = resolve(way)
            assert getattr(owner, method).__annotations__["return"] == struct
    assert first(rows, "kind") == set(KINDS)


def test_fields_of_jobs() -> None:
    """Every field of a job stands in the table with the structs that have it, and no other."""
    documented: dict[str, set[str]] = defaultdict(set)
    for row in TABLES["Fields of jobs"]:
        owners = set(words(row["of"]))
        if "music" in row["of"]:
            owners |= MUSIC
        for owner in owners:
            documented[owner].add(words(row["field"])[0])
    structs: list[type] = [*KINDS.values(), GeneratePersona]
    assert documented == {struct.__name__: fields_of(struct) for struct in structs}
    assert all(hasattr(inputs, owner) for owner in documented)


def test_models_and_codes() -> None:
    """The tables of models and codes are the code's own."""
    rows = TABLES["Models of Suno"]
    assert {
        words(row["name"])[0]: words(row["version"])[0] for row in rows
    } == models.MODEL_VERSIONS
    codes = {int(row["code"]): words(row["error"])[0] for row in TABLES["Codes"]}
    assert codes == {code: kind.__name__ for code, kind in errors.CODES.items()}


async def test_the_sandbox_knows_every_endpoint(sandbox: Sandbox) -> None:
    """The sandbox answers every documented endpoint: asked by a stranger, it wants a key."""
    async with aiohttp.ClientSession() as http:
        for endpoint in sorted(first(TABLES["Endpoints"], "endpoint")):
            method, path = endpoint.replace("{model}", "suno/music-generate").split()
            async with http.request(
                method, sandbox.url + path, headers={"x-api-key": sandbox.key}
            ) as reply:
                assert reply.status in {200, 422}, endpoint


def test_readme() -> None:
    """The README links the contract, and has a row for every endpoint and every kind."""
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "docs/contract.md" in readme
    rows = "\n".join(line for line in readme.splitlines() if line.startswith("|"))
    for owner in first(TABLES["Endpoints"], "method") | first(TABLES["Kinds of job"], "struct"):
        assert f"`{owner.removeprefix('SunoClient.')}" in rows, owner
