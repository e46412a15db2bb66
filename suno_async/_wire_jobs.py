"""Build requests and read replies of the endpoints around a job: price, models and others. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from suno_async._lenient import Credits, Price, Reader, bounded
from suno_async._wire import Request, create_request, read_data
from suno_async.errors import InvalidInputError, ResponseError
from suno_async.models import Estimate, ModelInfo, ModelSchema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from suno_async.inputs import GeneratePersona, Input

#: The documented estimate, and the one that the vendor's own client calls.
ESTIMATE_CREDITS = "/api/v1/client/job/estimate-credits"
ESTIMATE_TASK = "/api/v1/client/job/EstimateTask"
MODELS = "/api/v1/client/job/Models"
PERSONA = "/api/v1/client/job/suno-persona-generate"
UPLOAD_URL = "/api/v1/client/files/upload-url"

# A name becomes part of a path, so it must not hold "..", "?" and the like.
_MODEL = re.compile(r"[A-Za-z0-9_][\w.\-]*(/[A-Za-z0-9_][\w.\-]*)*", re.ASCII)


class UploadTarget(msgspec.Struct, frozen=True):
    """Where to send a file, and its URL afterwards.

    Attributes:
        presigned_url: Accepts one PUT, without the key. Secret: it lets anyone write.
        file_url: The value for an input's ``audio_url``.
    """

    presigned_url: str
    file_url: str

    def __repr__(self) -> str:
        return f"<UploadTarget {self.file_url}>"


class _Estimate(msgspec.Struct):
    # The documented endpoint returns these two,
    credits: Price | None = None
    estimated: bool | None = None
    # the vendor's client reads these three from EstimateTask.
    estimated_credits: Price | None = None
    balance: Credits | None = None
    affordable: bool | None = None


class _Models(msgspec.Struct):
    models: list[dict[str, Any] | str]


class _Schema(msgspec.Struct):
    model: str | None = None
    input_schema: dict[str, Any] | None = None
    required_input_fields: list[str] | None = None


class _Upload(msgspec.Struct):
    presigned_url: str = ""
    file_url: str = ""


_estimate = Reader(_Estimate)
_models = Reader(_Models)
_schema = Reader(_Schema)
_upload = Reader(_Upload)


def estimate_request(
    job: Input, callback_url: str | None = None, path: str = ESTIMATE_CREDITS
) -> Request:
    """POST the body of a create to an estimate endpoint; charges nothing.

    Args:
        job: The job to estimate.
        callback_url: As it would be sent to CreateTask.
        path: `ESTIMATE_CREDITS`, or `ESTIMATE_TASK` where that is not found.
    """
    return create_request(job, callback_url, path)


def models_request(modality: str | None, operation: str | None) -> Request:
    """GET the list of models."""
    given = {"modality": modality, "operation": operation}
    return Request("GET", MODELS, tuple((name, text) for name, text in given.items() if text))


def schema_request(model: str) -> Request:
    """GET one model's input schema; the slash in its name is sent as it is.

    Raises:
        InvalidInputError: The text cannot be the name of a model.
    """
    if not _MODEL.fullmatch(model):
        raise InvalidInputError((f"model: must be a name such as 'suno/x', not {model!r}",))
    return Request("GET", f"{MODELS}/{model}")


def persona_request(persona: GeneratePersona) -> Request:
    """POST a new persona; `suno_async._wire.read_created` reads the reply."""
    return Request("POST", PERSONA, (), msgspec.json.encode(persona.payload()))


def upload_request(content_type: str, suffix: str) -> Request:
    """GET a URL that accepts a file."""
    return Request("GET", UPLOAD_URL, (("content_type", content_type), ("ext", suffix)))


def read_estimate(status: int, headers: Mapping[str, str], body: bytes) -> Estimate:
    """Decode the reply of either estimate endpoint.

    Raises:
        APIError: The server refused; the class depends on the reply's code.
        ResponseError: The reply holds no price.
    """
    data = read_data(status, headers, body, _estimate)
    price = data.credits if data.estimated_credits is None else data.estimated_credits
    if price is None:
        raise ResponseError("no price in the reply", status)
    affordable = data.affordable
    if affordable is None and data.balance is not None:
        affordable = price <= data.balance
    return Estimate(
        estimated_credits=price,
        balance=data.balance,
        affordable=affordable,
        estimated=data.estimated,
    )


def read_models(status: int, headers: Mapping[str, str], body: bytes) -> tuple[ModelInfo, ...]:
    """Decode the list of models; entries without a name are left out.

    Raises:
        APIError: The server refused; the class depends on the reply's code.
        ResponseError: The reply holds no list.
    """
    entries = read_data(status, headers, body, _models).models
    details: list[dict[str, Any]] = [
        {"model": entry} if isinstance(entry, str) else bounded(entry) for entry in entries
    ]
    return tuple(
        ModelInfo(each["model"], each) for each in details if isinstance(each.get("model"), str)
    )


def read_schema(
    status: int, headers: Mapping[str, str], body: bytes, model: str = ""
) -> ModelSchema:
    """Decode one model's schema.

    Raises:
        APIError: The server refused; the class depends on the reply's code.
        ResponseError: The reply holds no schema.
    """
    data = read_data(status, headers, body, _schema)
    return ModelSchema(
        model=data.model or model,
        input_schema=bounded(data.input_schema or {}),
        required_input_fields=tuple(data.required_input_fields or ()),
    )


def read_upload(status: int, headers: Mapping[str, str], body: bytes) -> UploadTarget:
    """Decode where to send a file.

    Raises:
        APIError: The server refused; the class depends on the reply's code.
        ResponseError: The reply lacks a URL, or one is not http(s).
    """
    data = read_data(status, headers, body, _upload)
    # The body is not quoted: the presigned URL is secret.
    for name, url in (("presigned_url", data.presigned_url), ("file_url", data.file_url)):
        if not url.startswith(("https://", "http://")):
            raise ResponseError(f"{name} is not http(s)", status)
    return UploadTarget(data.presigned_url, data.file_url)
