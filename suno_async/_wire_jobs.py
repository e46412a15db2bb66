"""The wire format of what stands around a job: price, models, persona, upload. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from suno_async._wire import Request, create_request, read_data
from suno_async.errors import InvalidInputError, ResponseError
from suno_async.models import Estimate, ModelInfo, ModelSchema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from suno_async.inputs import GeneratePersona, Input

ESTIMATE_CREDITS = "/api/v1/client/job/estimate-credits"
ESTIMATE_TASK = "/api/v1/client/job/EstimateTask"
MODELS = "/api/v1/client/job/Models"
PERSONA = "/api/v1/client/job/suno-persona-generate"
UPLOAD_URL = "/api/v1/client/files/upload-url"

# Names stand in a path, so nothing that a path gives a meaning to may pass.
_MODEL = re.compile(r"[A-Za-z0-9_][\w.\-]*(/[A-Za-z0-9_][\w.\-]*)*", re.ASCII)


class UploadTarget(msgspec.Struct, frozen=True):
    """Where a file goes, and where it will be found.

    Attributes:
        presigned_url: Takes one PUT, without the key; whoever holds it may write.
        file_url: What to give as an input's ``audio_url``.
    """

    presigned_url: str
    file_url: str

    def __repr__(self) -> str:
        return f"<UploadTarget {self.file_url}>"


class _Estimate(msgspec.Struct):
    estimated_credits: float | None = None
    balance: float | None = None
    affordable: bool | None = None
    # An older path answers with these two.
    credits: float | None = None
    estimated: bool | None = None


class _Models(msgspec.Struct):
    models: list[dict[str, Any] | str]


class _Schema(msgspec.Struct):
    model: str | None = None
    input_schema: dict[str, Any] | None = None
    required_input_fields: list[str] | None = None


def estimate_request(
    job: Input, callback_url: str | None = None, path: str = ESTIMATE_CREDITS
) -> Request:
    """POST what a create would send, to be told its price; charges nothing."""
    return create_request(job, callback_url, path)


def models_request(modality: str | None, operation: str | None) -> Request:
    """GET the list of models."""
    given = {"modality": modality, "operation": operation}
    return Request("GET", MODELS, tuple((name, text) for name, text in given.items() if text))


def schema_request(model: str) -> Request:
    """GET one model's input schema; the slash in its name stays as it is.

    Raises:
        InvalidInputError: It cannot be the name of a model.
    """
    if not _MODEL.fullmatch(model):
        raise InvalidInputError((f"model: must be a name such as 'suno/x', not {model!r}",))
    return Request("GET", f"{MODELS}/{model}")


def persona_request(persona: GeneratePersona) -> Request:
    """POST a new persona; read by `suno_async._wire.read_created`."""
    return Request("POST", PERSONA, (), msgspec.json.encode(persona.payload()))


def upload_request(content_type: str, suffix: str) -> Request:
    """GET a place to put a file."""
    return Request("GET", UPLOAD_URL, (("content_type", content_type), ("ext", suffix)))


def read_estimate(status: int, headers: Mapping[str, str], body: bytes) -> Estimate:
    """Decode a price, in either of its two shapes.

    Raises:
        APIError: One of its classes, by the reply's code.
        ResponseError: No price in the reply.
    """
    data = read_data(status, headers, body, _Estimate)
    price = data.credits if data.estimated_credits is None else data.estimated_credits
    if price is None:
        raise ResponseError("no price in the reply", status)
    affordable = data.affordable
    if affordable is None and data.balance is not None:
        affordable = price <= data.balance
    return Estimate(estimated_credits=price, balance=data.balance, affordable=affordable)


def read_models(status: int, headers: Mapping[str, str], body: bytes) -> tuple[ModelInfo, ...]:
    """Decode the list of models; an entry without a name is left out.

    Raises:
        APIError: One of its classes, by the reply's code.
        ResponseError: No list in the reply.
    """
    entries = read_data(status, headers, body, _Models).models
    details: list[dict[str, Any]] = [
        {"model": entry} if isinstance(entry, str) else entry for entry in entries
    ]
    return tuple(
        ModelInfo(each["model"], each) for each in details if isinstance(each.get("model"), str)
    )


def read_schema(
    status: int, headers: Mapping[str, str], body: bytes, model: str = ""
) -> ModelSchema:
    """Decode one model's schema.

    Raises:
        APIError: One of its classes, by the reply's code.
        ResponseError: The reply is no such thing.
    """
    data = read_data(status, headers, body, _Schema)
    return ModelSchema(
        model=data.model or model,
        input_schema=data.input_schema or {},
        required_input_fields=tuple(data.required_input_fields or ()),
    )


def read_upload(status: int, headers: Mapping[str, str], body: bytes) -> UploadTarget:
    """Decode a place to put a file.

    Raises:
        APIError: One of its classes, by the reply's code.
        ResponseError: The reply names no such place.
    """
    target = read_data(status, headers, body, UploadTarget)
    if not target.presigned_url.startswith(("https://", "http://")):
        raise ResponseError("the presigned URL is not http(s)", status)
    return target
