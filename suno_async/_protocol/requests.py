"""Build requests as `docs/contract.md` describes them. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from suno_async.errors import InvalidInputError

if TYPE_CHECKING:
    from suno_async.inputs import GeneratePersona, Input

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suno_async.inputs import Input


TASK_INFO = "/api/v1/client/job/TaskInfo"


CREATE_TASK = "/api/v1/client/job/CreateTask"


BALANCE = "/api/v1/client/account/balance"


class Request(msgspec.Struct, frozen=True):
    """One request to send. `params` and `body` hold no secret."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


def task_info_request(task_id: str) -> Request:
    """GET one task's record (contract, "Endpoints")."""
    return Request("GET", TASK_INFO, (("task_id", task_id),))


def create_request(job: Input, callback_url: str | None, path: str = CREATE_TASK) -> Request:
    """POST a new task, which charges credits (contract, "Endpoints")."""
    body: dict[str, Any] = {"model": job.KIND, "input": job.payload()}
    if callback_url:
        body["callback_url"] = callback_url
    return Request("POST", path, (), msgspec.json.encode(body))


def balance_request() -> Request:
    """GET the account's balance (contract, "Endpoints")."""
    return Request("GET", BALANCE)


#: The documented estimate, and the one that the vendor's own client calls.
ESTIMATE_CREDITS = "/api/v1/client/job/estimate-credits"


ESTIMATE_TASK = "/api/v1/client/job/EstimateTask"


MODELS = "/api/v1/client/job/Models"


PERSONA = "/api/v1/client/job/suno-persona-generate"


UPLOAD_URL = "/api/v1/client/files/upload-url"


# A name becomes part of a path, so it must not hold "..", "?" and the like.
_MODEL = re.compile(r"[A-Za-z0-9_][\w.\-]*(/[A-Za-z0-9_][\w.\-]*)*", re.ASCII)


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
    """POST a new persona; `suno_async._protocol.replies.read_created` reads the reply."""
    return Request("POST", PERSONA, (), msgspec.json.encode(persona.payload()))


def upload_request(content_type: str, suffix: str) -> Request:
    """GET a URL that accepts a file."""
    return Request("GET", UPLOAD_URL, (("content_type", content_type), ("ext", suffix)))
