"""What the API answers, endpoint by endpoint. Pure: no sockets, no faults, no clock."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from suno_async.inputs import KINDS
from suno_async.sandbox._jobs import price_of
from suno_async.sandbox._rules import MUSIC, broken_persona_rules, broken_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from suno_async.sandbox._jobs import Job, Jobs

_PREFIX = "/api/v1/client/"
_SCHEMAS = "job/Models/"
_OPERATIONS = {kind: kind.partition("/")[2] for kind in KINDS}


class Refusal(Exception):  # noqa: N818 (a refusal is an answer, not a fault of the sandbox)
    """An answer that is an error of the contract."""

    def __init__(self, code: int, message: str, errors: list[str] | None = None) -> None:
        super().__init__(code, message, errors)
        self.code = code
        self.message = message
        self.errors = errors


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `now` in Unix seconds, `arrived` in monotonic ones."""

    method: str
    path: str
    query: Mapping[str, str]
    content_type: str
    body: bytes
    key: str
    now: float
    arrived: float


class Api:
    """The endpoints, the accounts, and the jobs behind them.

    Attributes:
        url: Where the sandbox listens.
        created: Tasks created over HTTP.
        uploads: Content type each upload was announced with, by the name in its URL.
    """

    def __init__(
        self,
        jobs: Jobs,
        credits_of: dict[str, float],
        started: Callable[[Job], None],
        *,
        whole_seconds: bool,
    ) -> None:
        self._jobs = jobs
        self._credits = credits_of
        self._started = started
        self._whole_seconds = whole_seconds
        self.url = ""
        self.created = 0
        self.uploads: dict[str, str] = {}
        self._endpoints: dict[tuple[str, str], Callable[[Call], object]] = {
            ("GET", "job/TaskInfo"): self._task_info,
            ("POST", "job/CreateTask"): self._create,
            ("POST", "job/EstimateTask"): self._estimate,
            ("POST", "job/suno-persona-generate"): self._persona,
            ("GET", "account/balance"): self._balance,
            ("GET", "job/Models"): _models,
            ("GET", "files/upload-url"): self._upload_url,
        }

    def answer(self, call: Call) -> object:
        """The ``data`` of the answer.

        Raises:
            Refusal: The answer is an error.
        """
        if call.key not in self._credits:
            raise Refusal(401, "Invalid API key")
        path = call.path.removeprefix(_PREFIX)
        if call.method == "GET" and path.startswith(_SCHEMAS):
            return _schema(path.removeprefix(_SCHEMAS))
        endpoint = self._endpoints.get((call.method, path))
        if endpoint is None:
            raise Refusal(404, "No such endpoint")
        return endpoint(call)

    def record(self, job: Job, now: float) -> dict[str, Any]:
        """A task's record at `now`."""
        return job.record(now, self.url, whole_seconds=self._whole_seconds)

    def _task_info(self, call: Call) -> object:
        task_id = call.query.get("task_id", "")
        if not task_id:
            raise _invalid(["task_id: required"])
        job = self._jobs.by_id.get(task_id)
        if job is None:
            raise Refusal(404, "Task not found")
        job.polls.append(call.arrived)
        return self.record(job, call.now)

    def _create(self, call: Call) -> object:
        body = self._job_body(call)
        price = price_of(body)
        if self._credits[call.key] < price:
            raise Refusal(402, "Insufficient credits")
        self._credits[call.key] -= price
        self.created += 1
        job = self._jobs.create(call.now, body)
        self._started(job)
        return {"task_id": job.task_id}

    def _estimate(self, call: Call) -> object:
        price = price_of(self._job_body(call))
        balance = self._credits[call.key]
        return {"estimated_credits": price, "balance": balance, "affordable": price <= balance}

    def _balance(self, call: Call) -> object:
        return {"balance": self._credits[call.key]}

    def _persona(self, call: Call) -> object:
        body = _json(call)
        if errors := broken_persona_rules(body, self._length_at(call.now)):
            raise _invalid(errors)
        name = f"{body['task_id']} {body['suno_id']} {body['name']}"
        return {"persona_id": str(uuid.uuid5(uuid.NAMESPACE_OID, name))}

    def _upload_url(self, call: Call) -> object:
        query = call.query
        kind, suffix = query.get("content_type", ""), query.get("ext", "")
        errors = [] if "/" in kind else ["content_type: required"]
        if not suffix.startswith(".") or not suffix[1:].isalnum():
            errors.append("ext: must be a suffix such as .mp3")
        if errors:
            raise _invalid(errors)
        name = f"{len(self.uploads)}{suffix}"
        self.uploads[name] = kind
        url = f"{self.url}/store/{name}"
        return {"presigned_url": f"{url}?signature=sandbox", "file_url": url}

    def _job_body(self, call: Call) -> dict[str, Any]:
        body = _json(call)
        if errors := broken_rules(body, self._length_at(call.now)):
            raise _invalid(errors)
        return cast("dict[str, Any]", body)

    def _length_at(self, now: float) -> Callable[[str, str], float | None]:
        return lambda task_id, song: self._jobs.length_of(task_id, song, now)


def _invalid(errors: list[str]) -> Refusal:
    return Refusal(422, "Validation failed", errors)


def _json(call: Call) -> Any:  # noqa: ANN401 (JSON)
    if call.content_type != "application/json":
        raise _invalid(["Content-Type: application/json"])
    try:
        return json.loads(call.body)
    except ValueError:
        raise _invalid(["body: not JSON"]) from None


def _models(call: Call) -> object:
    models = [
        {"model": kind, "modality": _modality(kind), "operation": operation}
        for kind, operation in _OPERATIONS.items()
    ]
    wanted = {name: call.query[name] for name in ("modality", "operation") if call.query.get(name)}
    return {"models": [model for model in models if wanted.items() <= model.items()]}


def _modality(kind: str) -> str:
    return "video" if kind.endswith("video") else "audio"


def _schema(kind: str) -> dict[str, Any]:
    if kind not in KINDS:
        raise Refusal(404, "Model not found")
    struct = KINDS[kind]
    _, parts = msgspec.json.schema_components([struct], ref_template="#/$defs/{name}")
    schema = dict(parts[struct.__name__])
    for name in struct.NOT_SENT:
        schema["properties"].pop(name, None)
    required = list(struct.REQUIRED) + (["mode"] if kind in MUSIC else [])
    return {
        "model": kind,
        "input_schema": schema | {"required": required},
        "required_input_fields": required,
    }
