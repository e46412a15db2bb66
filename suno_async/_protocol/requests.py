"""Build the requests that `docs/contract.md` describes. No I/O."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from suno_async.errors import InvalidInputError

if TYPE_CHECKING:
    from suno_async.inputs import GeneratePersona, Input

TASK_INFO = "/api/v1/client/job/TaskInfo"
CREATE_TASK = "/api/v1/client/job/CreateTask"
BALANCE = "/api/v1/client/account/balance"
MODELS = "/api/v1/client/job/Models"
PERSONA = "/api/v1/client/job/suno-persona-generate"
UPLOAD_URL = "/api/v1/client/files/upload-url"

#: The documented path for estimates.
ESTIMATE_CREDITS = "/api/v1/client/job/estimate-credits"

#: The path for estimates that the vendor's own client calls.
ESTIMATE_TASK = "/api/v1/client/job/EstimateTask"

# A model name becomes part of a path, so no segment may be "..", and "?" is not allowed.
_MODEL = re.compile(r"[A-Za-z0-9_][\w.\-]*(/[A-Za-z0-9_][\w.\-]*)*", re.ASCII)


class Request(msgspec.Struct, frozen=True):
    """A request to the API. It contains no secret.

    Attributes:
        method: The HTTP method.
        path: The path on the API host.
        params: The query parameters.
        body: The JSON body; None if there is none.
    """

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


def task_info_request(task_id: str) -> Request:
    """Return the GET request for the record of a task."""
    return Request("GET", TASK_INFO, (("task_id", task_id),))


def create_request(job: Input, callback_url: str | None, path: str = CREATE_TASK) -> Request:
    """Return the POST request that creates a task. The server charges credits for the task.

    If `path` is an endpoint for estimates, the request asks for the price of the task. Then it
    creates nothing and costs nothing.
    """
    body: dict[str, Any] = {"model": job.KIND, "input": job.payload()}
    if callback_url:
        body["callback_url"] = callback_url
    return Request("POST", path, (), msgspec.json.encode(body))


def balance_request() -> Request:
    """Return the GET request for the number of credits in the account."""
    return Request("GET", BALANCE)


def estimate_request(
    job: Input, callback_url: str | None = None, path: str = ESTIMATE_CREDITS
) -> Request:
    """Return the POST request that asks for the price of a job. An estimate costs no credits.

    Args:
        job: The job to estimate.
        callback_url: The callback URL that the request to create this job would contain.
        path: The path of the endpoint: `ESTIMATE_CREDITS` or `ESTIMATE_TASK`.
    """
    return create_request(job, callback_url, path)


def models_request(modality: str | None, operation: str | None) -> Request:
    """Return the GET request for the list of models.

    If `modality` or `operation` is given, the list contains only the models that match it.
    """
    given = {"modality": modality, "operation": operation}
    return Request("GET", MODELS, tuple((name, text) for name, text in given.items() if text))


def schema_request(model: str) -> Request:
    """Return the GET request for the input schema of a model.

    Raises:
        InvalidInputError: `model` cannot be the name of a model.
    """
    if not _MODEL.fullmatch(model):
        raise InvalidInputError((f"model: must be a name such as 'suno/x', not {model!r}",))
    return Request("GET", f"{MODELS}/{model}")


def persona_request(persona: GeneratePersona) -> Request:
    """Return the POST request that creates a persona. `read_persona` decodes the reply."""
    return Request("POST", PERSONA, (), msgspec.json.encode(persona.payload()))


def upload_request(content_type: str, suffix: str) -> Request:
    """Return the GET request for two URLs: one to upload a new file, and one to download it."""
    return Request("GET", UPLOAD_URL, (("content_type", content_type), ("ext", suffix)))
