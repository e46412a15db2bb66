"""Read every reply but task records. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from suno_async._input_rules import task_id_problem
from suno_async._protocol.lenient import (
    Credits,
    Reader,
    bounded,
)
from suno_async.errors import ResponseError

if TYPE_CHECKING:
    from collections.abc import Mapping

from typing import TYPE_CHECKING

from suno_async._protocol.envelope import read_data, unreadable
from suno_async._protocol.lenient import Price
from suno_async.models import Estimate, ModelInfo, ModelSchema

if TYPE_CHECKING:
    from collections.abc import Mapping


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


class _Created(msgspec.Struct):
    task_id: str | None = None
    persona_id: str | None = None


class _Balance(msgspec.Struct):
    balance: Credits | None = None


_created = Reader(_Created)


_balance = Reader(_Balance)


def read_created(status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Decode the reply to a create; return the id of the new task or persona.

    Raises:
        APIError: The server refused the create.
        ResponseError: The reply holds no usable id. It is not known whether anything was created.
    """
    created = read_data(status, headers, body, _created)
    new = created.task_id or created.persona_id
    # U+FFFD stands for bytes that could not be read, so the rest of the id is of no use.
    if not new or task_id_problem(new) or "\ufffd" in new:
        raise unreadable("no usable task_id in the reply", status, body)
    return new


def read_balance(status: int, headers: Mapping[str, str], body: bytes) -> float:
    """Decode the balance, in credits; it may be a fraction.

    Raises:
        APIError: The server refused; the class depends on the reply's code.
        ResponseError: The reply holds no balance.
    """
    balance = read_data(status, headers, body, _balance).balance
    if balance is None:
        raise unreadable("no balance in the reply", status, body)
    return balance
