"""Price, models, persona, upload and the results of each kind, as bytes."""

from __future__ import annotations

import json
from typing import Any

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
from suno_async._wire import read_created, read_task_info
from suno_async._wire_jobs import (
    UploadTarget,
    estimate_request,
    models_request,
    persona_request,
    read_estimate,
    read_models,
    read_schema,
    read_upload,
    schema_request,
    upload_request,
)
from suno_async.inputs import KINDS, SongOptions
from tests.test_wire import envelope

READERS = (read_estimate, read_models, read_schema, read_upload, read_created)


@pytest.mark.parametrize(
    ("data", "estimate"),
    [
        ({"estimated_credits": 2.5, "balance": 50, "affordable": True}, (2.5, 50, True)),
        ({"estimated_credits": "60", "balance": "50"}, (60, 50, False)),
        ({"estimated_credits": 0}, (0, None, None)),
        ({"credits": 12, "estimated": True, "new": []}, (12, None, None)),
    ],
)
def test_estimate(data: object, estimate: tuple[float, float | None, bool | None]) -> None:
    """A price is read in both of its shapes, and whether it can be paid is told or worked out."""
    price, balance, affordable = estimate
    expected = Estimate(estimated_credits=price, balance=balance, affordable=affordable)
    assert read_estimate(200, {}, envelope(data)) == expected


def test_models() -> None:
    """The list keeps what it says of each model, and passes over what has no name."""
    entries = [{"model": "suno/x", "modality": "audio"}, "suno/y", {"modality": "audio"}]
    assert read_models(200, {}, envelope({"models": entries})) == (
        ModelInfo("suno/x", {"model": "suno/x", "modality": "audio"}),
        ModelInfo("suno/y", {"model": "suno/y"}),
    )


def test_schema() -> None:
    """A schema keeps what the server says, and the name that was asked for if it says none."""
    data = {"input_schema": {"type": "object"}, "required_input_fields": ["prompt"]}
    schema = read_schema(200, {}, envelope(data), "suno/x")
    assert (schema.model, schema.input_schema) == ("suno/x", {"type": "object"})
    assert schema.required_input_fields == ("prompt",)


def test_upload_target() -> None:
    """Both URLs are read, and the one that lets write is not shown."""
    data = {"presigned_url": "https://store/secret", "file_url": "https://cdn/f.mp3"}
    target = read_upload(200, {}, envelope(data))
    assert target == UploadTarget("https://store/secret", "https://cdn/f.mp3")
    assert "secret" not in repr(target)
    with pytest.raises(ResponseError):
        read_upload(200, {}, envelope(data | {"presigned_url": "file:///etc/passwd"}))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "body", [b"", b"{", envelope(None), envelope([]), envelope("x"), envelope({"models": 1})]
)
def test_no_reply(read: Any, body: bytes) -> None:  # noqa: ANN401 (one reader of many types)
    """A body that holds no answer is an error of ours, unless nothing of the answer is required."""
    if read is read_schema and body == envelope({"models": 1}):
        return  # every field of a schema may be absent
    with pytest.raises(ResponseError):
        read(200, {}, body)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("code", [401, 402, 404, 422, 429, 455, 500, 505])
def test_refusals(read: Any, code: int) -> None:  # noqa: ANN401 (one reader of many types)
    """Every endpoint's errors are the contract's, whichever way they come."""
    for status in (200, code):
        with pytest.raises(APIError) as caught:
            read(status, {}, envelope(None, code))
        assert caught.value.code == code


def test_requests() -> None:
    """Requests go where the contract says, with what it says."""
    job = GenerateMusic(prompt="x")
    estimate = estimate_request(job, "https://me/back")
    assert (estimate.method, estimate.path.rsplit("/", 1)[-1]) == ("POST", "EstimateTask")
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
    """A name that would lead to another path is refused."""
    with pytest.raises(InvalidInputError):
        schema_request(name)


def info_of(kind: str, **result: object) -> Any:  # noqa: ANN401 (shortens the tests below)
    """A finished task's info."""
    record = {"task_id": "t1", "status": "success", "param": {"model": kind}, "result": result}
    return read_task_info(200, {}, envelope(record), "t1")


def test_stems() -> None:
    """Separation gives stems by the server's own names, and nothing else does."""
    info = info_of(SeparateVocals.KIND, media_info={"vocals": "https://v", "odd one": "https://o"})
    assert dict(info.stems) == {"vocals": "https://v", "odd one": "https://o"}
    assert (info.tracks, info.video_url, len(info.stems)) == ((), None, 2)


def test_video() -> None:
    """A video's URL is found by the kind of the task, or by its name where no kind is told."""
    assert info_of(MusicVideo.KIND, media_urls=["https://x/v"]).video_url == "https://x/v"
    assert info_of("", media_url="https://x/v.mp4?sig=1").video_url == "https://x/v.mp4?sig=1"
    assert info_of(GenerateMusic.KIND, media_urls=["https://x/a.mp3"]).video_url is None
    assert info_of("", media_urls=["https://[x"]).video_url is None


def test_tracks_lead_on() -> None:
    """A track knows its task, and its methods fill in ids, model and title unless given."""
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
    assert problem == "continue_at: must lie within the song's 100 s, not 100.5"
    assert track.persona("A", vocal_start=90, vocal_end=110).problems()


def test_song_options() -> None:
    """What a track's methods take is what every song takes."""
    options = set(SongOptions.__annotations__)
    assert options == set(GenerateMusic.__struct_fields__)
    assert set(ExtendMusic.__struct_fields__) > options < set(CoverMusic.__struct_fields__)


def test_every_kind_names_what_it_lacks() -> None:
    """An input of blanks is refused for each field that its kind requires, naming it."""
    for kind in KINDS.values():
        blanks: dict[str, Any] = dict.fromkeys(kind.REQUIRED, " ")
        problems = kind(**blanks).problems()
        assert {each.split(":")[0] for each in problems} >= set(kind.REQUIRED)
