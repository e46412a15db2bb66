"""The endpoints of the simulated API. They calculate the reply to each request. No I/O."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from suno_async.sandbox._input_rules import broken_persona_rules, broken_rules
from suno_async.sandbox._jobs import price_of
from suno_async.sandbox._models import MODELS, describe_model, list_models
from suno_async.sandbox._refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from suno_async.sandbox._accounts import Accounts
    from suno_async.sandbox._jobs import Job, Jobs

_PREFIX = "/api/v1/client/"
_SCHEMAS = "job/Models/"

#: The endpoints that estimate a price. The first is documented. The vendor's client uses the
#: second.
ESTIMATE_PATHS = ("estimate-credits", "EstimateTask")


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        method: HTTP method.
        path: Path of the URL.
        query: Query of the URL.
        content_type: Media type of the body.
        body: The body.
        key: The API key; empty if there is none.
        now: Time of arrival in Unix seconds.
        arrived: Time of arrival in monotonic seconds.
    """

    method: str
    path: str
    query: Mapping[str, str]
    content_type: str
    body: bytes
    key: str
    now: float
    arrived: float


class Endpoints:
    """The endpoints of the simulated API.

    Args:
        jobs: The jobs of the sandbox.
        accounts: The API keys and their credits.
        on_create: Function that is called with each new job.
        whole_seconds: Whether times in task records are rounded down to whole seconds.
        estimate_paths: Which endpoints of `ESTIMATE_PATHS` exist in the sandbox.

    Attributes:
        url: Base URL of the sandbox.
        created: Number of tasks that requests have created.
        uploads: Maps the file name in the URL of each upload to the content type that the client
            announced.
    """

    def __init__(
        self,
        jobs: Jobs,
        accounts: Accounts,
        on_create: Callable[[Job], None],
        *,
        whole_seconds: bool,
        estimate_paths: Iterable[str] = ESTIMATE_PATHS,
    ) -> None:
        self._jobs = jobs
        self._accounts = accounts
        self._on_create = on_create
        self._whole_seconds = whole_seconds
        self.url = ""
        self.created = 0
        self.uploads: dict[str, str] = {}
        self._endpoints: dict[tuple[str, str], Callable[[Call], object]] = {
            ("GET", "job/TaskInfo"): self._task_info,
            ("POST", "job/CreateTask"): self._create,
            ("POST", "job/suno-persona-generate"): self._persona,
            ("GET", "account/balance"): self._balance,
            ("GET", "job/Models"): _models,
            ("GET", "files/upload-url"): self._upload_url,
        }
        estimates = {"estimate-credits": self._estimate, "EstimateTask": self._estimate_task}
        for path in estimate_paths:
            self._endpoints["POST", f"job/{path}"] = estimates[path]

    def answer(self, call: Call) -> object:
        """Return the ``data`` field of the reply to a request.

        Raises:
            Refusal: The reply is an error.
        """
        self._accounts.check(call.key)
        path = call.path.removeprefix(_PREFIX)
        if call.method == "GET" and path.startswith(_SCHEMAS):
            kind = path.removeprefix(_SCHEMAS)
            if kind not in MODELS:
                raise Refusal(404, "Model not found")
            return describe_model(kind)
        endpoint = self._endpoints.get((call.method, path))
        if endpoint is None:
            raise Refusal(404, "No such endpoint")
        return endpoint(call)

    def record(self, job: Job, now: float) -> dict[str, Any]:
        """Return the record of a task at `now` (Unix seconds)."""
        return job.record(now, self.url, whole_seconds=self._whole_seconds)

    def _task_info(self, call: Call) -> object:
        task_id = call.query.get("task_id", "")
        if not task_id:
            raise _invalid(["task_id: required"])
        job = self._jobs.by_id.get(task_id)
        if job is None:
            raise Refusal(404)
        job.polls.append(call.arrived)
        return self.record(job, call.now)

    def _create(self, call: Call) -> object:
        body = self._job_body(call)
        price = price_of(body)
        self._accounts.charge(call.key, call.now, price)
        self.created += 1
        job = self._jobs.create(call.now, body)
        if job.fails:
            self._accounts.refund(call.key, job.ends_at, price)
        self._on_create(job)
        return {"task_id": job.task_id}

    def _estimate(self, call: Call) -> object:
        return {"credits": price_of(self._job_body(call)), "estimated": False}

    def _estimate_task(self, call: Call) -> object:
        price = price_of(self._job_body(call))
        balance = self._accounts.balance(call.key, call.now)
        return {"estimated_credits": price, "balance": balance, "affordable": price <= balance}

    def _balance(self, call: Call) -> object:
        return {"balance": self._accounts.balance(call.key, call.now)}

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
            raise _invalid(errors, _kind_of(body))
        return cast("dict[str, Any]", body)

    def _length_at(self, now: float) -> Callable[[str, str], float | None]:
        return lambda task_id, song: self._jobs.length_of(task_id, song, now)


def _invalid(errors: list[str], kind: str = "") -> Refusal:
    about = f"Invalid input for model {kind}: " if kind else ""
    return Refusal(422, errors=[f"Value error, {about}{error}" for error in errors])


def _kind_of(body: object) -> str:
    """Return the kind of job in the body of a request; empty if the kind is missing or unknown."""
    kind = cast("dict[str, Any]", body).get("model") if isinstance(body, dict) else None
    return kind if isinstance(kind, str) and kind in MODELS else ""


def _json(call: Call) -> Any:  # noqa: ANN401 (JSON)
    if call.content_type != "application/json":
        raise _invalid(["Content-Type: must be application/json"])
    try:
        # Unlike json.loads, this refuses NaN and lone surrogates.
        return msgspec.json.decode(call.body)
    except (ValueError, RecursionError):
        raise _invalid(["body: not JSON"]) from None


def _models(call: Call) -> object:
    return {"models": list_models(call.query.get("modality"), call.query.get("operation"))}
