"""Tests of the readers (the functions that decode replies) with correct and damaged replies."""

from __future__ import annotations

import pytest

from suno_async import (
    APIError,
    AuthenticationError,
    Estimate,
    InsufficientCreditsError,
    MaintenanceError,
    RateLimitError,
    TaskNotFoundError,
    TaskStatus,
    ValidationError,
)
from suno_async._protocol.replies import (
    UploadTarget,
    read_balance,
    read_created,
    read_estimate,
    read_models,
    read_persona,
    read_schema,
    read_upload,
)
from suno_async._protocol.task_info import read_task_info
from tests import fuzz_readers
from tests.mutations import READERS, REFUSALS, SAMPLES, TASK_ID, Reply, check


@pytest.mark.parametrize("seed", range(10))
def test_damaged_replies(seed: int) -> None:
    """For 1,000 damaged replies, every reader returns a valid value or raises a `SunoError`."""
    assert fuzz_readers.find(seed, 1_000) is None


def test_the_check_finds_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fuzz_readers.find` reports a reader that raises an exception other than `SunoError`."""
    monkeypatch.setitem(READERS, "balance", _strict)
    assert "UnicodeDecodeError" in (fuzz_readers.find(0) or "")


def _strict(_status: int, _headers: object, body: bytes) -> str:
    return body.decode()


@pytest.mark.parametrize("case", sorted(SAMPLES))
def test_whole_replies(case: str) -> None:
    """For every undamaged sample, every reader returns a valid value or raises a `SunoError`."""
    check(Reply(case, SAMPLES[case], REFUSALS.get(case, 200)))


@pytest.mark.parametrize(
    ("case", "status"),
    [
        ("pending", TaskStatus.PENDING),
        ("running", TaskStatus.RUNNING),
        ("success", TaskStatus.SUCCESS),
        ("failed", TaskStatus.FAILED),
        ("vocal_separation", TaskStatus.SUCCESS),
        ("video", TaskStatus.SUCCESS),
        ("generation_failed", TaskStatus.FAILED),
    ],
)
def test_records(case: str, status: TaskStatus) -> None:
    """`read_task_info` returns the status, the id and the results of each sample task."""
    info = read_task_info(200, {}, SAMPLES[case], TASK_ID)
    assert (info.status, info.task_id, info.raw) == (status, TASK_ID, SAMPLES[case])
    assert len(info.tracks) == (2 if case == "success" else 0)
    assert list(info.stems) == (["vocals", "instrumental"] if case == "vocal_separation" else [])
    assert (info.video_url is not None) == (case == "video")
    assert (info.failure is not None) == (status is TaskStatus.FAILED)


def test_other_answers() -> None:
    """Every reader except `read_task_info` decodes its sample replies correctly."""
    assert read_created(200, {}, SAMPLES["created"]) == TASK_ID
    assert read_persona(200, {}, SAMPLES["persona"]) == "7c1b9f0e-6a2d-4c53-8f4e-0d1c2b3a4f5e"
    assert read_balance(200, {}, SAMPLES["balance"]) == 987.5
    documented = Estimate(estimated_credits=1.5, estimated=False)
    assert read_estimate(200, {}, SAMPLES["estimate_credits"]) == documented
    fallback = Estimate(estimated_credits=2, balance=50, affordable=True)
    assert read_estimate(200, {}, SAMPLES["estimate_task"]) == fallback
    assert len(read_models(200, {}, SAMPLES["models"])) == 4
    schema = read_schema(200, {}, SAMPLES["model_schema"])
    assert schema.required_input_fields == ("task_id", "suno_id")
    target = read_upload(200, {}, SAMPLES["upload_url"])
    assert isinstance(target, UploadTarget)
    assert target.file_url == "https://files.example.com/0.mp3"


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("key_missing", AuthenticationError),
        ("key_disabled", AuthenticationError),
        ("no_credits", InsufficientCreditsError),
        ("not_found", TaskNotFoundError),
        ("invalid", ValidationError),
        ("rate_exceeded", RateLimitError),
        ("maintenance", MaintenanceError),
    ],
)
def test_refusals(case: str, kind: type[APIError]) -> None:
    """`read_task_info` raises the right error for an error reply, even with HTTP status 200."""
    for status in {REFUSALS[case], 200}:
        with pytest.raises(kind) as caught:
            read_task_info(status, {}, SAMPLES[case], TASK_ID)
        assert caught.value.understood


def test_validation_errors() -> None:
    """The error for a refused input contains the message and the list of problems in the reply."""
    with pytest.raises(ValidationError) as caught:
        read_created(422, {}, SAMPLES["invalid"])
    assert caught.value.message == "Missing Params or Type Error"
    (error,) = caught.value.errors
    assert error.startswith("Value error, Invalid input for model suno/music-generate: mode:")
