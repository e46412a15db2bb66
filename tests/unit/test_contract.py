"""Tests that the code agrees with the HTTP contract in docs/contract.md."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest

import suno_async
from suno_async import errors, inputs, models
from suno_async._protocol import replies
from suno_async._protocol import requests as _protocol_requests
from suno_async._protocol.envelope import Envelope
from suno_async._protocol.replies import (
    BalanceData,
    EstimateData,
    ModelsData,
    PersonaData,
    SchemaData,
    UploadData,
)
from suno_async._protocol.requests import (
    ESTIMATE_TASK,
    balance_request,
    create_request,
    estimate_request,
    models_request,
    persona_request,
    schema_request,
    task_info_request,
    upload_request,
)
from suno_async._protocol.task_info import ParamData, RecordData, ResultData, SongData
from suno_async.inputs import KINDS, GeneratePersona
from tests.mutations import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from suno_async.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
MUSIC = {"GenerateMusic", "ExtendMusic", "ExtendUpload", "CoverMusic"}

Row = dict[str, str]


def read_tables(text: str) -> dict[str, list[Row]]:
    """Return the rows of each table in a Markdown text, by the heading above the table.

    Each row is a dict: column name → cell.
    """
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
MARKS = ("specified", "openapi", "documented", "client", "seen", "guess", "ours")


def words(cell: str) -> list[str]:
    """Return all texts between backticks in a cell of a table."""
    return re.findall(r"`([^`]+)`", cell)


def first(rows: Iterable[Row], column: str) -> set[str]:
    """Return the first text between backticks in the cell `column` of each row."""
    return {words(row[column])[0] for row in rows if words(row[column])}


def resolve(reference: str) -> tuple[Any, str]:
    """Split a text such as ``Class.attribute``. Return the class and the name of the attribute."""
    owner, _, attribute = reference.partition(".")
    for module in (suno_async, models, replies):
        if hasattr(module, owner):
            return getattr(module, owner), attribute
    raise AssertionError(f"{reference}: no class of that name")


def fields_of(struct: Any) -> set[str]:  # noqa: ANN401 (any struct)
    """Return the names of a struct's fields, except the fields listed in its ``NOT_SENT``."""
    return set(struct.__struct_fields__) - set(getattr(struct, "NOT_SENT", ()))


def test_every_row_says_how_sure_it_is() -> None:
    """Every row of a table in docs/contract.md says how certain its content is."""
    assert {row["mark"] for row in TABLES["The HTTP contract"]} == set(MARKS[:-1])
    for heading, rows in TABLES.items():
        for row in rows:
            if "mark" not in row:
                assert any(mark in row["how sure"] for mark in MARKS), (heading, row)


def test_endpoints() -> None:
    """The client uses exactly the documented endpoints."""
    rows = TABLES["Endpoints"]
    for row in rows:
        owner, method = resolve(words(row["method"])[0])
        assert callable(getattr(owner, method)), row
    job = inputs.GenerateMusic(prompt="x")
    requests = {
        "task_info_request": [task_info_request("t")],
        "create_request": [create_request(job, None)],
        "balance_request": [balance_request()],
        "estimate_request": [
            estimate_request(job),
            estimate_request(job, path=ESTIMATE_TASK),
        ],
        "models_request": [models_request(None, None)],
        "schema_request": [schema_request("suno/x")],
        "persona_request": [persona_request(GeneratePersona(task_id="t", suno_id="s", name="n"))],
        "upload_request": [upload_request("audio/mpeg", ".mp3")],
    }
    names = set(vars(_protocol_requests))
    assert {name for name in names if name.endswith("_request")} == set(requests)
    sent = {f"{each.method} {each.path}" for group in requests.values() for each in group}
    assert {each.replace("{model}", "suno/x") for each in first(rows, "endpoint")} == sent
    assert len(rows) == len(sent)


@pytest.mark.parametrize(
    ("heading", "wire"),
    [
        ("Envelope", [Envelope]),
        ("Task record", [RecordData]),
        ("Result", [ResultData]),
        ("Song", [SongData]),
        (
            "Other answers",
            [EstimateData, ModelsData, SchemaData, UploadData],
        ),
    ],
)
def test_answers(heading: str, wire: list[Any]) -> None:
    """Every documented field of a reply is decoded, and every decoded field is documented."""
    rows = TABLES[heading]
    places = [resolve(place) for row in rows for place in words(row["where"])]
    for owner, name in places:
        is_field = name in getattr(owner, "__struct_fields__", ())
        assert is_field or (issubclass(owner, Exception) and name in vars(owner(429))), name
    documented = {each for each in first(rows, "field") if "." not in each}
    decoded = set[str]().union(*(fields_of(struct) for struct in wire))
    if heading == "Other answers":
        decoded |= fields_of(PersonaData) | fields_of(BalanceData)
    assert documented == decoded


def test_param() -> None:
    """The client decodes exactly the documented fields of `param` in a task record."""
    documented = {each.partition(".")[2] for each in first(TABLES["Task record"], "field")} - {""}
    assert documented == fields_of(ParamData) == fields_of(models.TaskParam)


def test_what_a_user_holds() -> None:
    """Each field that a result class takes from the server has a row in docs/contract.md."""
    places = {
        place for rows in TABLES.values() for row in rows for place in words(row.get("where", ""))
    }
    own = {"TaskInfo.raw_status", "TaskInfo.failure", "Track.task_id", "Persona.name"}
    held = (models.TaskInfo, models.Track, models.Estimate, models.ModelInfo, models.ModelSchema)
    for struct in (*held, models.Persona, models.TaskFailure, models.TaskParam):
        for field in fields_of(struct):
            assert f"{struct.__name__}.{field}" in places | own


def test_kinds() -> None:
    """docs/contract.md lists every kind of job with its struct and the right methods of `Track`."""
    rows = TABLES["Kinds of job"]
    for row in rows:
        kind, struct = words(row["kind"]), words(row["struct"])[0]
        assert kind == [] or KINDS[kind[0]].__name__ == struct
        for way in words(row["method of a song"]):
            owner, method = resolve(way)
            assert getattr(owner, method).__annotations__["return"] == struct
    assert first(rows, "kind") == set(KINDS)


def test_fields_of_jobs() -> None:
    """The table of job fields lists each field together with all structs that have this field."""
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
    """The tables of models and of error codes in docs/contract.md agree with the source code."""
    rows = TABLES["Models of Suno"]
    assert {
        words(row["name"])[0]: words(row["version"])[0] for row in rows
    } == models.MODEL_VERSIONS
    codes = {int(row["code"]): words(row["error"])[0] for row in TABLES["Codes"]}
    assert codes == {code: kind.__name__ for code, kind in errors.CODES.items()}


async def test_the_sandbox_knows_every_endpoint(sandbox: Sandbox) -> None:
    """The sandbox serves every documented endpoint."""
    async with aiohttp.ClientSession() as http:
        for endpoint in sorted(first(TABLES["Endpoints"], "endpoint")):
            method, path = endpoint.replace("{model}", "suno/music-generate").split()
            async with http.request(
                method, sandbox.url + path, headers={"x-api-key": sandbox.key}
            ) as reply:
                assert reply.status in {200, 422}, endpoint


def test_samples_are_documented() -> None:
    """docs/contract.md lists all fields of the sample replies. Free-form content is not checked."""
    documented = set[str]()
    for heading in ("Envelope", "Task record", "Result", "Song", "Other answers"):
        documented |= first(TABLES[heading], "field")
    free = {"input", "input_schema", "media_info", "usage", "models"}
    for case, body in SAMPLES.items():
        assert field_names(json.loads(body), free) <= documented, case


def field_names(value: object, free: set[str], prefix: str = "") -> set[str]:
    """Return the names of all fields in a reply, including nested fields.

    Skip the fields inside the fields named in `free`. A field inside ``param`` has the prefix
    ``param.``.
    """
    if isinstance(value, list):
        items = cast("list[object]", value)
        return set[str]().union(*(field_names(each, free, prefix) for each in items))
    if not isinstance(value, dict):
        return set()
    found = set[str]()
    for name, each in cast("dict[str, object]", value).items():
        found.add(prefix + name)
        if name not in free:
            found |= field_names(each, free, "param." if name == "param" else "")
    return found


def test_links() -> None:
    """The links in docs/contract.md lead only to existing files and to the vendor's hosts."""
    page = (ROOT / "docs/contract.md").read_text("utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (ROOT / "docs" / link).exists(), link
    assert set(re.findall(r"https?://([^/\s`]+)", page)) <= VENDOR


VENDOR = {"api.crun.ai", "api.crunai.com", "crun.ai"}


def test_readme_and_tutorial() -> None:
    """The README links to docs/contract.md. The tutorial lists every method and job struct."""
    assert "docs/contract.md" in (ROOT / "README.md").read_text("utf-8")
    tutorial = (ROOT / "docs/tutorial.md").read_text("utf-8")
    rows = "\n".join(line for line in tutorial.splitlines() if line.startswith("|"))
    for owner in first(TABLES["Endpoints"], "method") | first(TABLES["Kinds of job"], "struct"):
        assert f"`{owner.removeprefix('SunoClient.')}" in rows, owner
