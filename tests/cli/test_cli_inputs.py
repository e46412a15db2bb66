"""Files with job inputs: inputs are read back unchanged. Errors name the lines with problems."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suno_async import (
    CoverMusic,
    ExtendMusic,
    ExtendUpload,
    GenerateMusic,
    GenerateSounds,
    Input,
    InvalidInputError,
    MusicVideo,
    SeparateVocals,
)
from suno_async.cli.job_inputs import KINDS_BY_NAME, read_inputs
from suno_async.inputs import KINDS

NAMES = {kind: name for name, kind in KINDS_BY_NAME.items()}

# No lone surrogates: they are not valid in JSON, and the input rules refuse them.
characters = st.characters(exclude_categories=["Cs"])
words = st.text(characters, min_size=1, max_size=40).filter(str.strip)
ids = st.text(st.characters(categories=["L", "Nd"], include_characters='-_#,"'), min_size=1).filter(
    lambda text: len(text) <= 128
)
shares = st.floats(0, 1)
moments = st.floats(0, 600) | st.integers(0, 600)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | words
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(words, inner))
extras = st.dictionaries(words, values, max_size=3)

SONG: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(["v5", "v5.5", "v9"]),
    "instrumental": st.booleans(),
    "vocal_gender": st.sampled_from(["m", "f"]),
    "style_weight": shares,
    "weirdness_constraint": shares,
    "negative_tags": words,
    "persona_id": words,
    "extra": extras,
    "prompt": words,
    "title": words,
    "tags": words,
    "lyrics": words,
    "mode": st.sampled_from(["simple", "custom"]),
}
FIELDS: dict[type[Input], dict[str, st.SearchStrategy[Any]]] = {
    GenerateMusic: SONG,
    ExtendMusic: SONG
    | {"task_id": ids, "suno_id": ids, "continue_at": moments, "audio_weight": shares}
    | {"song_duration": st.floats(600, 900)},
    ExtendUpload: SONG | {"audio_url": words.map("https://x/".__add__), "continue_at": moments},
    CoverMusic: SONG | {"task_id": ids, "suno_id": ids, "audio_weight": shares},
    MusicVideo: {"task_id": ids, "suno_id": ids, "author": words, "brand": words, "extra": extras},
    SeparateVocals: {
        "task_id": ids,
        "suno_id": ids,
        "mode": st.sampled_from(["vocal", "instrumental"]),
        "extra": extras,
    },
    GenerateSounds: {"prompt": words, "loop": scalars, "bpm": scalars, "key": scalars},
}
ALWAYS = {"prompt", "title", "tags", "lyrics", "task_id", "suno_id", "audio_url", "continue_at"}


def _of_kind(kind: type[Input]) -> st.SearchStrategy[Input]:
    fields = FIELDS[kind]
    always = {name: each for name, each in fields.items() if name in ALWAYS}
    others = {name: each for name, each in fields.items() if name not in ALWAYS}
    return st.fixed_dictionaries(always, optional=others).map(lambda given: kind(**given))


inputs = st.one_of([_of_kind(kind) for kind in FIELDS])


def read(text: str) -> list[Input]:
    """Return the inputs in a file that contains `text`."""
    return read_inputs(io.StringIO(text, newline=None))


def problems_of(text: str) -> tuple[str, ...]:
    """Read a file that contains `text`, and expect an error. Return the problems in this error."""
    with pytest.raises(InvalidInputError) as caught:
        read(text)
    return caught.value.problems


def test_every_kind_has_a_short_name() -> None:
    """The command line has a short name for every kind of job."""
    assert set(KINDS_BY_NAME.values()) == set(KINDS.values()) == set(FIELDS)


@given(st.lists(st.tuples(inputs, st.booleans(), st.booleans()), max_size=3))
def test_jsonl_reads_back(jobs: list[tuple[Input, bool, bool]]) -> None:
    """JSONL inputs are read back unchanged if `kind` is a long name, a short name or absent."""
    lines = ["\ufeff# a comment", "", "  "]
    for job, short, absent in jobs:
        kind = {} if absent else {"kind": NAMES[type(job)] if short else job.KIND}
        needless = absent and isinstance(job, GenerateMusic)
        fields = msgspec.to_builtins(job) | (kind if needless or kind else {"kind": job.KIND})
        lines.append(json.dumps(fields, ensure_ascii=short))
    assert read("\n".join(lines)) == [job for job, _, _ in jobs]


@given(st.lists(inputs, max_size=3))
def test_the_wire_form_reads_back(jobs: list[Input]) -> None:
    """A request body can be read as an input, and this input produces the same body."""
    sent = [(job.KIND, msgspec.structs.replace(job, extra={}).payload()) for job in jobs]
    lines = [json.dumps({"model": kind, "input": payload}) for kind, payload in sent]
    assert [(job.KIND, job.payload()) for job in read_inputs(lines)] == sent


@given(st.lists(inputs, min_size=1, max_size=3))
def test_csv_reads_back(jobs: list[Input]) -> None:
    """One CSV table can contain inputs of all kinds. Spaces around its cells are removed."""
    rows = [_cells(job) for job in jobs]
    out = io.StringIO()
    table = csv.DictWriter(out, list(dict.fromkeys(name for row in rows for name in row)))
    table.writeheader()
    table.writerows(rows)
    expected = [msgspec.convert(_stripped(msgspec.to_builtins(job)), type(job)) for job in jobs]
    assert read_inputs(io.StringIO(out.getvalue(), newline="")) == expected


def _cells(job: Input) -> dict[str, str]:
    given: dict[str, Any] = msgspec.to_builtins(job)
    text = {"extra"} | ({"loop", "bpm", "key"} & given.keys())
    cells = {
        name: value if isinstance(value, str) and name not in text else json.dumps(value)
        for name, value in given.items()
        if value is not None
    }
    return {"kind": NAMES[type(job)]} | cells


def _stripped(given: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.strip()
        if isinstance(value, str) and name not in {"loop", "bpm", "key"}
        else value
        for name, value in given.items()
    }


starts = st.sampled_from(["", "{", "[", '{"kind":"cover",', '{"input":', "prompt,kind\n", '"', "#"])
garbage = st.tuples(starts, st.text()).map("".join)
objects = st.dictionaries(
    st.sampled_from(["kind", "model", "input", "prompt", "extra", "bpm", "song_duration", "x"])
    | st.sampled_from([name for kind in FIELDS.values() for name in kind])
    | st.text(),
    values | st.floats() | st.sampled_from([*KINDS_BY_NAME, *KINDS]),
)


@given(
    st.lists(
        garbage | objects.map(json.dumps) | st.sampled_from(["[" * 5000, "1" * 5000]), max_size=4
    )
)
def test_garbage(lines: list[str]) -> None:
    """For any text, `read_inputs` returns valid inputs or raises an error with line numbers."""
    jobs, problems = list[Input](), tuple[str, ...]()
    try:
        jobs = read_inputs(lines)
    except InvalidInputError as error:
        problems = error.problems
    assert not any(job.problems() for job in jobs)
    assert all(problem.startswith("line ") for problem in problems)


def test_every_problem_of_every_line() -> None:
    """One error lists all problems, each with its line, its field and the broken rule."""
    lines: list[dict[str, Any]] = [
        {"prompt": "x", "style_weight": 2, "title": "t" * 101},
        {"kind": "covr"},
        {"kind": "extend", "prompt": "x", "audio_url": "https://x", "task_id": "a", "suno_id": "b"},
        {"promt": "x"},
        {"model": "v5", "input": {}},
        {"model": "suno/music-generate", "input": {"prompt": "x"}, "callback_url": "https://x"},
    ]
    problems = problems_of("\n".join(map(json.dumps, lines)) + "\nno JSON\n[1]")
    expected = [
        "line 1: title: at most 100 characters, this one has 101",
        "line 1: style_weight: must be from 0 to 1, not 2",
        "line 1: tags: required in custom mode",
        "line 1: lyrics: required in custom mode",
        "line 2: kind: must be one of generate, extend,",
        "line 3: audio_url: not a field of extend, but of extend-upload, cover",
        "line 4: promt: not a field of generate (did you mean prompt?); put fields newer than",
        "line 4: prompt: required in simple mode",
        "line 5: model: must be one of generate,",
        'line 6: callback_url: not allowed next to "model" and "input"',
        "line 7: not JSON",
        "line 8: must be a JSON object",
    ]
    assert len(problems) == len(expected)
    assert [each for each in problems if not any(map(each.startswith, expected))] == []


def test_model_of_a_flat_object_is_the_song_s() -> None:
    """If a JSON object has no field `input`, its `model` is the music model, not the job kind."""
    wire = {"model": "suno/music-generate", "input": {"model": "v4", "prompt": "y"}}
    lines = [json.dumps({"model": "v5.5", "prompt": "x"}), json.dumps(wire)]
    assert read_inputs(lines) == [
        GenerateMusic(model="v5.5", prompt="x"),
        GenerateMusic(model="v4", prompt="y"),
    ]


def test_csv_cells() -> None:
    """Cells are converted to the type of their field; an empty cell means an absent field."""
    text = (
        "\ufeffkind, prompt,negative_tags,instrumental,style_weight,extra,bpm,\n"
        '\n# a comment\n,"one, \n# two",null,TRUE,0.5,"{""n"": 1}"\n'
        "sounds,12,,,,,90,\nsounds,x,,,,,fast\n"
    )
    assert read(text) == [
        GenerateMusic(
            prompt="one, \n# two",
            negative_tags="null",
            instrumental=True,
            style_weight=0.5,
            extra={"n": 1},
        ),
        GenerateSounds(prompt="12", bpm=90),
        GenerateSounds(prompt="x", bpm="fast"),
    ]


def test_csv_problems() -> None:
    """A CSV problem starts with the number of the header line, or of the first line of the row."""
    assert problems_of("promt,title,title,z\nx\n") == (
        "line 1: promt: not a field of any input (did you mean prompt?)",
        "line 1: z: not a field of any input",
        "line 1: title: appears twice in the header",
    )
    rows = 'prompt,instrumental,continue_at\n"a\nb",maybe\nc,1,2\nd,0,,e\n"f'
    assert problems_of(rows) == (
        "line 2: instrumental: must be True or False, not 'maybe'",
        "line 4: continue_at: not a field of generate, but of extend, extend-upload",
        "line 5: column 4: has no name in the header",
        "line 6: not CSV: unexpected end of data",
    )


def test_a_single_object_on_several_lines() -> None:
    """A JSON object on several lines is one input. An error names the first line of the object."""
    text = json.dumps({"prompt": "x", "extra": {"a": [1, 2]}}, indent=2)
    assert read("\n" + text) == [GenerateMusic(prompt="x", extra={"a": [1, 2]})]
    assert problems_of("\n\n" + json.dumps({"promt": "x"}, indent=2))[0].startswith("line 3: promt")
