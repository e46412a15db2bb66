"""Requests and replies of estimates, models, personas and uploads; results of each kind of job."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from suno_async import (
    APIError,
    CoverMusic,
    Estimate,
    ExtendMusic,
    GenerateMusic,
    GeneratePersona,
    InvalidInputError,
    ModelInfo,
    MusicVideo,
    ResponseError,
    SeparateVocals,
    Track,
)
from suno_async._protocol.replies import (
    UploadTarget,
    read_created,
    read_estimate,
    read_models,
    read_persona,
    read_schema,
    read_upload,
)
from suno_async._protocol.requests import (
    ESTIMATE_TASK,
    estimate_request,
    models_request,
    persona_request,
    schema_request,
    upload_request,
)
from suno_async._protocol.task_info import read_task_info
from suno_async.inputs import KINDS, SongOptions
from tests.unit.test_wire import envelope

READERS = (read_estimate, read_models, read_schema, read_upload, read_created, read_persona)


@pytest.mark.parametrize(
    ("data", "estimate"),
    [
        (
            {"estimated_credits": 2.5, "balance": 50, "affordable": True},
            Estimate(estimated_credits=2.5, balance=50, affordable=True),
        ),
        (
            {"estimated_credits": "60", "balance": "50"},
            Estimate(estimated_credits=60, balance=50, affordable=False),
        ),
        ({"estimated_credits": 0}, Estimate(estimated_credits=0)),
        ({"credits": 1.5, "estimated": False}, Estimate(estimated_credits=1.5, estimated=False)),
        ({"credits": 12, "estimated": True}, Estimate(estimated_credits=12, estimated=True)),
        ({"credits": "12", "estimated": "?"}, Estimate(estimated_credits=12)),
        ({"credits": 12, "balance": "nan", "new": []}, Estimate(estimated_credits=12)),
    ],
)
def test_estimate(data: object, estimate: Estimate) -> None:
    """The reply of each of the two estimate endpoints is decoded to an `Estimate`."""
    assert read_estimate(200, {}, envelope(data)) == estimate


@pytest.mark.parametrize("price", [None, -1, "nan", "inf", True, [], 10**400])
def test_no_price(price: object) -> None:
    """`read_estimate` raises an error if the price is missing, negative or otherwise invalid."""
    for name in ("credits", "estimated_credits"):
        with pytest.raises(ResponseError):
            read_estimate(200, {}, envelope({name: price, "balance": 50}))


def test_models() -> None:
    """`read_models` keeps all fields of each model, and skips entries without a name."""
    entries = [{"model": "suno/x", "modality": "audio"}, "suno/y", {"modality": "audio"}, 7]
    assert read_models(200, {}, envelope({"models": entries})) == (
        ModelInfo("suno/x", {"model": "suno/x", "modality": "audio"}),
        ModelInfo("suno/y", {"model": "suno/y"}),
    )


def test_schema() -> None:
    """`read_schema` returns the input schema and the required fields that the server sent."""
    data = {"input_schema": {"type": "object"}, "required_input_fields": ["prompt"]}
    schema = read_schema(200, {}, envelope(data), "suno/x")
    assert (schema.model, schema.input_schema) == ("suno/x", {"type": "object"})
    assert schema.required_input_fields == ("prompt",)


def test_upload_target() -> None:
    """The secret upload URL appears in no repr and no error."""
    data = {"presigned_url": "https://store/secret", "file_url": "https://cdn/f.mp3"}
    target = read_upload(200, {}, envelope(data))
    assert target == UploadTarget("https://store/secret", "https://cdn/f.mp3")
    assert "secret" not in repr(target)
    for wrong in ({"presigned_url": "file:///etc/passwd"}, {"file_url": None}, {"file_url": "x"}):
        with pytest.raises(ResponseError) as caught:
            read_upload(200, {}, envelope(data | wrong))
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "body", [b"", b"{", envelope(None), envelope([]), envelope("x"), envelope({"models": 1})]
)
def test_no_reply(read: Any, body: bytes) -> None:  # noqa: ANN401 (one reader of many types)
    """Each function in `READERS` raises `ResponseError` for a reply without usable data."""
    if read is read_schema and body == envelope({"models": 1}):
        return  # every field of a schema is optional
    with pytest.raises(ResponseError):
        read(200, {}, body)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("code", [401, 402, 404, 422, 429, 455, 500, 505])
def test_refusals(read: Any, code: int) -> None:  # noqa: ANN401 (one reader of many types)
    """Each function in `READERS` raises an `APIError` if the body contains an error code."""
    for status in (200, code):
        with pytest.raises(APIError) as caught:
            read(status, {}, envelope(None, code))
        assert caught.value.code == code


def test_ids_of_tasks_and_personas() -> None:
    """The id of a task is never taken for the id of a persona, or the other way round."""
    both = envelope({"task_id": "t1", "persona_id": "p1"})
    assert (read_created(200, {}, both), read_persona(200, {}, both)) == ("t1", "p1")
    with pytest.raises(ResponseError, match="no usable persona_id"):
        read_persona(200, {}, envelope({"task_id": "t1"}))
    with pytest.raises(ResponseError, match="no usable task_id"):
        read_created(200, {}, envelope({"persona_id": "p1"}))


def test_reply_without_a_price() -> None:
    """The error for a reply without a price shows the start of the reply."""
    with pytest.raises(ResponseError, match=r"no price in the reply.*balance"):
        read_estimate(200, {}, envelope({"balance": 7}))


def test_requests() -> None:
    """Requests have the paths, parameters and bodies that the API contract describes."""
    job = GenerateMusic(prompt="x")
    estimate = estimate_request(job, "https://me/back")
    assert (estimate.method, estimate.path) == ("POST", "/api/v1/client/job/estimate-credits")
    fallback = estimate_request(job, "https://me/back", ESTIMATE_TASK)
    assert fallback == msgspec.structs.replace(estimate, path="/api/v1/client/job/EstimateTask")
    sent = json.loads(estimate.body or b"")
    assert sent == {
        "model": job.KIND,
        "callback_url": "https://me/back",
        "input": job.payload(),
    }
    assert models_request("audio", None).params == (("modality", "audio"),)
    assert schema_request("suno/x").path.endswith("/job/Models/suno/x")
    assert upload_request("audio/mpeg", ".mp3").params == (
        ("content_type", "audio/mpeg"),
        ("ext", ".mp3"),
    )
    persona = persona_request(GeneratePersona(task_id="t", suno_id="s", name="n", song_duration=2))
    assert json.loads(persona.body or b"") == {"task_id": "t", "suno_id": "s", "name": "n"}


@pytest.mark.parametrize("name", ["", "..", "suno/../x", "suno//x", "a?b", "a b", "/x", "x/"])
def test_model_names(name: str) -> None:
    """A model name that would change the path of the request raises `InvalidInputError`."""
    with pytest.raises(InvalidInputError):
        schema_request(name)


def info_of(kind: str, **result: object) -> Any:  # noqa: ANN401 (shortens the tests below)
    """Return the record of a finished task with this kind and this result."""
    record = {"task_id": "t1", "status": "success", "param": {"model": kind}, "result": result}
    return read_task_info(200, {}, envelope(record), "t1")


def test_stems() -> None:
    """The stems (separated voices or instruments) have the names that the server sent."""
    info = info_of(SeparateVocals.KIND, media_info={"vocals": "https://v", "odd one": "https://o"})
    assert dict(info.stems) == {"vocals": "https://v", "odd one": "https://o"}
    assert (info.tracks, info.video_url, len(info.stems)) == ((), None, 2)


def test_video() -> None:
    """`video_url` is the URL of the first video, or None."""
    assert info_of(MusicVideo.KIND, media_urls=["https://x/v"]).video_url == "https://x/v"
    assert info_of("", media_url="https://x/v.mp4?sig=1").video_url == "https://x/v.mp4?sig=1"
    assert info_of(GenerateMusic.KIND, media_urls=["https://x/a.mp3"]).video_url is None
    assert info_of("", media_urls=["https://[x"]).video_url is None


@pytest.mark.parametrize("name", ["media_urls", "media_url"])
@pytest.mark.parametrize("urls", ["https://x/v.mp4", ["https://x/v.mp4"], ["https://x/v.mp4", 7]])
def test_media_urls(name: str, urls: object) -> None:
    """Result URLs are read from `media_urls` or `media_url`, as a list or a single string."""
    info = info_of(MusicVideo.KIND, **{name: urls})
    assert info.media_urls == ("https://x/v.mp4",)
    assert info.video_url == "https://x/v.mp4"


def test_tracks_lead_on() -> None:
    """Methods such as `Track.cover` return job inputs that contain the ids of the track."""
    item = {"suno_id": "s1", "title": "Rain", "model_name": "chirp-fenix", "duration": 100}
    (track,) = info_of(GenerateMusic.KIND, suno_data=[item]).tracks
    assert isinstance(track, Track)
    ids: dict[str, Any] = {"task_id": "t1", "suno_id": "s1"}
    assert track.video(author="me") == MusicVideo(**ids, author="me")
    assert track.separate() == SeparateVocals(**ids, mode="vocal")
    assert track.persona("Ann").payload() == {**ids, "name": "Ann"}
    cover = track.cover(prompt="as a bossa nova")
    assert cover == CoverMusic(**ids, model="v5.5", prompt="as a bossa nova")
    cover = track.cover(tags="bossa", instrumental=True, model="v6")
    assert (cover.title, cover.model, cover.problems()) == ("Rain", "v6", ())
    extended = track.extend(continue_at=60, lyrics="la", tags="slow", title="More")
    assert (extended.title, extended.effective_mode, extended.problems()) == ("More", "custom", ())
    assert "song_duration" not in extended.payload()
    (problem,) = track.extend(continue_at=100.5, prompt="x").problems()
    assert problem == "continue_at: must be within the song's 100 s, not 100.5"
    assert track.persona("A", vocal_start=90, vocal_end=110).problems()


def test_default_title() -> None:
    """A track passes its title only to jobs in custom mode. Blank tags do not make a job custom."""
    track = Track(task_id="t1", suno_id="s1", title="Rain")
    for job in (
        track.cover(prompt="as a bossa nova", tags=""),
        track.extend(prompt="as a bossa nova", lyrics=""),
        track.cover(prompt="as a bossa nova", tags="slow", mode="simple"),
    ):
        assert (job.title, job.effective_mode, job.problems()) == (None, "simple", ())
    assert track.cover(mode="custom").title == "Rain"


def test_song_options() -> None:
    """`SongOptions` has the same fields as `GenerateMusic`.

    `ExtendMusic` and `CoverMusic` have these fields, and others.
    """
    options = set(SongOptions.__annotations__)
    assert options == set(GenerateMusic.__struct_fields__)
    assert set(ExtendMusic.__struct_fields__) > options < set(CoverMusic.__struct_fields__)


def test_every_kind_names_what_it_lacks() -> None:
    """An input whose required fields are blank reports a problem for each of these fields."""
    for kind in KINDS.values():
        blanks: dict[str, Any] = dict.fromkeys(kind.REQUIRED, " ")
        problems = kind(**blanks).problems()
        assert {each.split(":")[0] for each in problems} >= set(kind.REQUIRED)
