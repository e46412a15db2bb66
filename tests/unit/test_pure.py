"""Tests of errors, inputs, polling policies and ids, without any I/O."""

from __future__ import annotations

import copy
import json
import math
import pickle
from typing import Any

import pytest

import suno_async
from suno_async import (
    ConfigurationError,
    CreditLimitError,
    DownloadError,
    Estimate,
    GenerateMusic,
    InvalidInputError,
    PollPolicy,
    ResponseError,
    SunoError,
)
from suno_async._checks import check_job, check_task_id
from suno_async.cli.task_ids import final_statuses, read_ids

ERRORS = [
    each
    for name in suno_async.__all__
    if isinstance(each := getattr(suno_async, name), type) and issubclass(each, SunoError)
]


#: Arguments for the error classes that cannot be created from a single number.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "InvalidInputError": (("field: rule",),),
    "InputChangedError": ("run", "key", 3),
    "RunInUseError": ("run", "process 7"),
    "DownloadsFailedError": ((DownloadError("no song"),), ()),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_survive(kind: type[SunoError]) -> None:
    """Every public error is the same after pickling and after copying."""
    error = kind(*ARGUMENTS.get(kind.__name__, (429,)))
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 (our own)
        assert (type(twin), str(twin)) == (kind, str(error))
        # Errors inside other errors do not compare as equal, so compare the text of everything.
        assert repr((twin.args, vars(twin))) == repr((error.args, vars(error)))


def test_numbers_in_messages() -> None:
    """The message of an error shows large and nearly equal numbers exactly, and nothing unknown."""
    above = CreditLimitError(1_000_000, Estimate(estimated_credits=1_000_001.0))
    assert "cost 1000001 credits, but max_credits is 1000000" in str(above)
    assert "cost 10.000001 " in str(CreditLimitError(10, Estimate(estimated_credits=10.000001)))
    assert str(ResponseError("not valid HTTP")) == "not valid HTTP"
    assert str(ResponseError("too large", 200)) == "too large (HTTP 200)"
    assert str(ResponseError("not JSON", 200, "<p>")) == "not JSON (HTTP 200): '<p>'"


def test_public_names() -> None:
    """The names in ``suno_async.__all__`` are sorted."""
    assert sorted(suno_async.__all__) == suno_async.__all__


@pytest.mark.parametrize("bad", ["", "  ", "a\nb", "a\x7f", "x" * 129, 7, None, b"id"])
def test_bad_ids(bad: object) -> None:
    """An invalid task id raises an `InvalidInputError` that names `task_id`."""
    with pytest.raises(InvalidInputError, match="task_id"):
        check_task_id(bad)


def test_all_rules_at_once() -> None:
    """One error lists every broken rule of an input, each with its field."""
    job = GenerateMusic(mode="custom", title="t" * 101, style_weight=1.5)
    with pytest.raises(InvalidInputError) as caught:
        check_job(job)
    text = str(caught.value)
    assert all(name in text for name in ("title", "tags", "lyrics", "style_weight"))


def test_extra_fields() -> None:
    """Fields in `extra` are sent unchanged."""
    job = GenerateMusic(prompt="x", extra={"brand_new": 1})
    assert job.payload()["brand_new"] == 1
    assert "extra" not in job.payload()


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval": 0},
        {"growth": 0.5},
        {"deadline": 1},
        {"jitter": -1},
        {"min_saving": -1},
        {"schedule": "fifo"},
        {"eager": True, "eager_interval": 20},
        {"eager": True, "schedule": "backoff"},
        {"growth": 1e6},
        {"interval": math.inf, "max_interval": math.inf, "deadline": None},
        *(
            {name: value}
            for name in ("max_interval", "jitter", "deadline", "min_saving", "eager_interval")
            for value in (math.inf, math.nan)
        ),
    ],
)
def test_policy_rules(wrong: dict[str, Any]) -> None:
    """A polling policy with invalid or contradictory values raises a `ConfigurationError`."""
    with pytest.raises(ConfigurationError):
        PollPolicy(**wrong)


def test_read_ids() -> None:
    """Ids are read from text, CSV and JSONL; duplicates, comments and blank lines are skipped."""
    assert read_ids(["a", "", "# no", "b", "a"]) == ["a", "b"]
    assert read_ids(["title,task_id", "x,1", '"y, z",2']) == ["1", "2"]
    assert read_ids(['{"task_id": "a"}', '{"id": "b"}', '"c"']) == ["a", "b", "c"]
    rows = [{"task_id": "", "status": "not_created"}, {"task_id": "", "status": "unknown"}]
    rows += [{"task_id": "a", "status": "undecided"}]
    assert read_ids(map(json.dumps, rows)) == ["a"]
    with pytest.raises(InvalidInputError, match="line 1"):
        read_ids(['{"status": []}'])
    with pytest.raises(InvalidInputError, match=r"line 2.*line 3"):
        read_ids(["ok", '{"x": 1}', "{broken"])


def test_final_statuses() -> None:
    """In a truncated results file, only complete rows with a final status are read."""
    lines = [
        '{"task_id": "a", "status": "success"}',
        '{"task_id": "b", "status": "undecided"}',
        '{"ta',
    ]
    assert list(final_statuses(lines)) == ["a"]
