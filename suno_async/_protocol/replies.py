"""Decode all replies except task records. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard, cast

import msgspec

from suno_async._input_rules import task_id_problem
from suno_async._protocol.envelope import read_data, unreadable
from suno_async._protocol.lenient import Credits, Price, Reader, bounded, fields_of
from suno_async.errors import ResponseError
from suno_async.models import Estimate, ModelInfo, ModelSchema

if TYPE_CHECKING:
    from collections.abc import Mapping


class UploadTarget(msgspec.Struct, frozen=True):
    """The URLs of an upload.

    Attributes:
        presigned_url: The URL to which the file is sent with PUT, without the API key. The URL is
            secret, because anyone who has it can upload a file.
        file_url: The URL of the uploaded file, for the ``audio_url`` of an input.
    """

    presigned_url: str
    file_url: str

    def __repr__(self) -> str:
        return f"<UploadTarget {self.file_url}>"


class EstimateData(msgspec.Struct):
    """The data in a reply to a request for a price."""

    # The documented endpoint returns these two.
    credits: Price | None = None
    estimated: bool | None = None
    # The vendor's client reads these three from EstimateTask.
    estimated_credits: Price | None = None
    balance: Credits | None = None
    affordable: bool | None = None


class ModelsData(msgspec.Struct):
    """The data in a reply with the list of models."""

    models: list[dict[str, Any] | str]


class SchemaData(msgspec.Struct):
    """The data in a reply that contains the input schema of a model."""

    model: str | None = None
    input_schema: dict[str, Any] | None = None
    required_input_fields: list[str] | None = None


class UploadData(msgspec.Struct):
    """The data in a reply to a request for upload URLs."""

    presigned_url: str = ""
    file_url: str = ""


_estimate = Reader(EstimateData)

_models = Reader(ModelsData)

_schema = Reader(SchemaData)

_upload = Reader(UploadData)


def read_estimate(status: int, headers: Mapping[str, str], body: bytes) -> Estimate:
    """Decode the reply of ``estimate-credits`` or ``EstimateTask``: the price of a job.

    Raises:
        APIError: The reply reports an error. The error code determines the exception class.
        ResponseError: The reply contains no price.
    """
    data = read_data(status, headers, body, _estimate)
    price = data.credits if data.estimated_credits is None else data.estimated_credits
    if price is None:
        raise unreadable("no price in the reply", status, body)
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
    """Decode the list of models. Skip models without a name.

    Raises:
        APIError: The reply reports an error. The error code determines the exception class.
        ResponseError: The reply contains no list.
    """
    entries = read_data(status, headers, body, _models).models
    # All models together are bounded. `bounded` replaces what is too much by None.
    kept = cast("list[object]", bounded({"models": entries})["models"])
    details = [{"model": each} if isinstance(each, str) else fields_of(each) for each in kept]
    return tuple(
        ModelInfo(each["model"], each) for each in details if isinstance(each.get("model"), str)
    )


def read_schema(
    status: int, headers: Mapping[str, str], body: bytes, model: str = ""
) -> ModelSchema:
    """Decode the schema of a model. Parts that are missing in the reply are empty.

    If the reply does not contain the name of the model, use `model`.

    Raises:
        APIError: The reply reports an error. The error code determines the exception class.
        ResponseError: The data in the reply is not a JSON object.
    """
    data = read_data(status, headers, body, _schema)
    return ModelSchema(
        model=data.model or model,
        input_schema=bounded(data.input_schema or {}),
        required_input_fields=tuple(data.required_input_fields or ()),
    )


def read_upload(status: int, headers: Mapping[str, str], body: bytes) -> UploadTarget:
    """Decode the URLs of an upload.

    Raises:
        APIError: The reply reports an error. The error code determines the exception class.
        ResponseError: A URL is missing or is not an http(s) URL.
    """
    data = read_data(status, headers, body, _upload)
    # The error does not quote the body, because the presigned URL is secret.
    for name, url in (("presigned_url", data.presigned_url), ("file_url", data.file_url)):
        if not url.startswith(("https://", "http://")):
            raise ResponseError(f"the reply has no http(s) URL in {name}", status)
    return UploadTarget(data.presigned_url, data.file_url)


class CreatedData(msgspec.Struct):
    """The data in a reply to a request that creates a task."""

    task_id: str | None = None


class PersonaData(msgspec.Struct):
    """The data in a reply to a request that creates a persona."""

    # The reply may also repeat the task id of the request, which is not the id of the persona.
    persona_id: str | None = None


class BalanceData(msgspec.Struct):
    """The data in a reply with the balance."""

    balance: Credits | None = None


_created = Reader(CreatedData)

_persona = Reader(PersonaData)

_balance = Reader(BalanceData)


def read_created(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Decode the reply to a request that creates a task, and return the id of the task.

    Raises:
        APIError: The reply reports an error. The error code determines the exception class.
        ResponseError: The reply contains no usable id. So it is unknown whether the server created
            a task.
    """
    new = read_data(status, headers, body, _created).task_id
    if not _usable(new):
        raise unreadable("no usable task_id in the reply", status, body)
    return new


def read_persona(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Decode the reply to a request that creates a persona, and return the id of the persona.

    Raises:
        APIError: The reply reports an error. The error code determines the exception class.
        ResponseError: The reply contains no usable id. So it is unknown whether the server created
            a persona.
    """
    new = read_data(status, headers, body, _persona).persona_id
    if not _usable(new):
        raise unreadable("no usable persona_id in the reply", status, body)
    return new


def _usable(new_id: str | None) -> TypeGuard[str]:
    # U+FFFD replaces bytes that could not be decoded. An id that contains it is not usable.
    return new_id is not None and not task_id_problem(new_id) and "\ufffd" not in new_id


def read_balance(status: int, headers: Mapping[str, str], body: bytes) -> float:
    """Decode the balance of the account, in credits. The balance may be a fraction.

    Raises:
        APIError: The reply reports an error. The error code determines the exception class.
        ResponseError: The reply contains no balance.
    """
    balance = read_data(status, headers, body, _balance).balance
    if balance is None:
        raise unreadable("no balance in the reply", status, body)
    return balance
