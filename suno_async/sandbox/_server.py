"""The sandbox as an aiohttp server: routes, faults, and what was counted."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import msgspec
from aiohttp import web
from yarl import URL

from suno_async.sandbox._api import Api, Call, Refusal
from suno_async.sandbox._callbacks import Callbacks
from suno_async.sandbox._faults import GARBAGE, STATUSES, Fault, Faults
from suno_async.sandbox._jobs import Job, Jobs
from suno_async.sandbox._judge import Judge
from suno_async.sandbox._media import MP3, MP4, PNG
from suno_async.sandbox._rules import GENERATE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

#: The key a sandbox knows from the start.
KEY = "ak_sandbox00000000000000000000000000"


class SandboxStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a sandbox counted.

    Attributes:
        requests: Requests to the API, by whatever key.
        created: Tasks created over HTTP.
        rate_limited: Answers of 429.
        worst_window: The most requests of one key in any one sliding second, refused ones included.
        key_leaks: Requests for media, or to the store, that carried a key.
        callbacks: Callbacks that were answered with 2xx.
        faults: Faults injected, by name.
        paths: Requests by the path's last part.
    """

    requests: int
    created: int
    rate_limited: int
    worst_window: int
    key_leaks: int
    callbacks: int
    faults: dict[str, int]
    paths: dict[str, int]


class Sandbox:
    """A local server that behaves as the API contract says, and is as strict.

    Args:
        seed: Draws the jobs and the faults.
        host: Address to listen on.
        port: 0 takes a free one.
        median: Median duration of a job in seconds; log-normal with `sigma`.
        sigma: Its shape.
        failure_share: Share of the jobs that fail.
        endless_share: Share of the jobs that never end.
        time_scale: Durations are divided by it, so that at 60 a minute passes in a second. The
            request rate and all timestamps stay real; below whole seconds the timestamps carry
            fractions, which the contract's do not.
        rate_limit: Requests a key may send in any sliding second.
        retry_after: Seconds that a 429 tells to wait; None tells nothing.
        credits: What the key's account holds.
        faults: What goes wrong.
        errors_as: How errors come: ``"both"`` HTTP status and envelope code, ``"envelope"`` the
            code in a 200, ``"status"`` the HTTP status with no envelope.
        callbacks_as: What callbacks carry: ``"record"`` the bare record, ``"envelope"`` the reply.
    """

    def __init__(  # noqa: PLR0913 (a test bench has many screws)
        self,
        *,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        median: float = 90.0,
        sigma: float = 0.5,
        failure_share: float = 0.03,
        endless_share: float = 0.0,
        time_scale: float = 1.0,
        rate_limit: int = 15,
        retry_after: float | None = None,
        credits: float = 1_000_000,  # noqa: A002 (the contract's word)
        faults: Faults | None = None,
        errors_as: str = "both",
        callbacks_as: str = "record",
    ) -> None:
        self.key = KEY
        self.faults = faults or Faults()
        self._jobs = Jobs(
            seed,
            median=median,
            sigma=sigma,
            failure_share=failure_share,
            endless_share=endless_share,
            time_scale=time_scale,
        )
        self._random = random.Random(seed + 1)  # noqa: S311 (a sandbox must be repeatable)
        self._host, self._port = host, port
        self._rate_limit = rate_limit
        self._retry_after = retry_after
        self._errors_as = errors_as
        self._callbacks_as = callbacks_as
        self._callbacks = Callbacks()
        self._answers = Api(
            self._jobs, {self.key: credits}, self._started, whole_seconds=time_scale == 1.0
        )
        self._store: dict[str, bytes] = {}
        self._judges: dict[str, Judge] = {}
        self._counts: Counter[str] = Counter()
        self._fault_counts: Counter[str] = Counter()
        self._paths: Counter[str] = Counter()
        self._runner: web.AppRunner | None = None
        self._stopping = asyncio.Event()
        self.url = ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def tasks(self) -> Mapping[str, Job]:
        """Every task by its id, with its true fate."""
        return self._jobs.by_id

    @property
    def statistics(self) -> SandboxStatistics:
        """What was counted so far."""
        judges = self._judges.values()
        return SandboxStatistics(
            requests=self._counts["requests"],
            created=self._answers.created,
            rate_limited=sum(judge.refused for judge in judges),
            worst_window=max((judge.worst_window for judge in judges), default=0),
            key_leaks=self._counts["key_leaks"],
            callbacks=self._callbacks.delivered,
            faults=dict(self._fault_counts),
            paths=dict(self._paths),
        )

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/api/{rest:.*}", self._api)
        app.router.add_get("/media/{name}", self._media)
        app.router.add_put("/store/{name}", self._put)
        app.router.add_get("/store/{name}", self._get)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = self._answers.url = str(URL.build(scheme="http", host=host, port=port))

    async def stop(self) -> None:
        """Stop listening, and cut what stalls."""
        self._stopping.set()
        await self._callbacks.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def add_tasks(
        self,
        count: int,
        *,
        created_ago: float = 0.0,
        spread: float = 0.0,
        durations: Sequence[float] | None = None,
    ) -> list[str]:
        """Start tasks without requests, as if created earlier by someone else; their ids.

        Args:
            count: How many.
            created_ago: Seconds since the creation of the youngest.
            spread: Seconds over which the creations are spread evenly, backwards from there.
            durations: Uncompressed seconds for each; drawn if None.
        """
        now = time.time() - created_ago
        body = {"model": GENERATE, "input": {"mode": "simple", "model": "v5", "prompt": "a song"}}
        return [
            self._jobs.create(
                now - spread * number / max(1, count - 1),
                body,
                None if durations is None else durations[number],
            ).task_id
            for number in range(count)
        ]

    async def _api(self, request: web.Request) -> web.StreamResponse:
        await self._delay(self.faults.latency_in)
        now = time.monotonic()
        self._counts["requests"] += 1
        self._paths[request.path.rsplit("/", 1)[-1]] += 1
        key = request.headers.get("x-api-key", "")
        judge = self._judges.setdefault(key, Judge(self._rate_limit))
        if not judge.allows(now):
            return self._error(429, "Rate limit exceeded")
        fault = self.faults.draw(self._random)
        if fault is None:
            answer: web.StreamResponse = await self._answer(request, key, now)
        else:
            self._fault_counts[fault.value] += 1
            is_create = request.method == "POST"
            if fault is Fault.SLOW or (is_create and self._random.random() < self.faults.after):
                answer = await self._answer(request, key, now)
                answer = await self._broken(request, fault, answer)
            else:
                answer = await self._broken(request, fault, None)
        await self._delay(self.faults.latency_out)
        return answer

    async def _answer(self, request: web.Request, key: str, now: float) -> web.Response:
        try:
            body = await request.read()
        except ConnectionError:
            # Whoever left in the middle of a body hears no answer.
            return web.Response(status=400)
        call = Call(
            method=request.method,
            path=request.path,
            query=request.query,
            content_type=request.content_type,
            body=body,
            key=key,
            now=time.time(),
            arrived=now,
        )
        try:
            return _reply(self._answers.answer(call))
        except Refusal as refusal:
            return self._error(refusal.code, refusal.message, refusal.errors)

    def _started(self, job: Job) -> None:
        url = job.body.get("callback_url")
        if url and math.isfinite(job.ends_at):
            self._callbacks.at(max(0.0, job.ends_at - time.time()), url, lambda: self._told(job))

    def _told(self, job: Job) -> object:
        record = self._answers.record(job, max(time.time(), job.ends_at))
        if self._callbacks_as == "record":
            return record
        return {"code": 200, "message": "success", "data": record}

    def _error(self, code: int, message: str, errors: list[str] | None = None) -> web.Response:
        headers: dict[str, str] = {}
        if code == 429 and self._retry_after is not None:  # noqa: PLR2004 (the contract's code)
            headers["Retry-After"] = str(self._retry_after)
        if self._errors_as == "status":
            return web.Response(status=code, text=message, headers=headers)
        body: dict[str, Any] = {"code": code, "message": message, "data": None}
        if errors:
            body["errors"] = errors
        status = 200 if self._errors_as == "envelope" else code
        return web.json_response(body, status=status, headers=headers)

    async def _broken(
        self, request: web.Request, fault: Fault, answer: web.Response | None
    ) -> web.StreamResponse:
        if fault is Fault.ERROR:
            status = self._random.choice(STATUSES)
            if self._random.random() < 0.5:  # noqa: PLR2004 (half)
                return web.Response(status=status, body=GARBAGE[0], content_type="text/html")
            return web.json_response({"code": status, "message": "fault"}, status=status)
        if fault is Fault.GARBAGE:
            return web.Response(body=self._random.choice(GARBAGE), content_type="application/json")
        if fault is Fault.SLOW and answer is not None:
            return await self._slowly(request, answer)
        if fault is Fault.STALL:
            await self._sleep(self.faults.stall_seconds)
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _slowly(self, request: web.Request, answer: web.Response) -> web.StreamResponse:
        body = answer.body if isinstance(answer.body, bytes) else b""
        response = web.StreamResponse(status=answer.status)
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        await self._sleep(self.faults.slow_seconds)
        await response.write(body[len(body) // 2 :])
        return response

    async def _media(self, request: web.Request) -> web.Response:
        if "x-api-key" in request.headers:
            self._counts["key_leaks"] += 1
            return web.Response(status=400, text="the key must never be sent here")
        name = request.match_info["name"]
        if name.endswith(".png"):
            return web.Response(body=PNG, content_type="image/png")
        if name.endswith(".mp4"):
            return web.Response(body=MP4, content_type="video/mp4")
        return web.Response(body=MP3, content_type="audio/mpeg")

    async def _put(self, request: web.Request) -> web.Response:
        """Take an upload as an object store takes a presigned one: exactly as announced."""
        name = request.match_info["name"]
        if "x-api-key" in request.headers:
            self._counts["key_leaks"] += 1
            return web.Response(status=400, text="the key must never be sent here")
        if request.query.get("signature") != "sandbox" or name not in self._answers.uploads:
            return web.Response(status=403, text="signature mismatch")
        if request.headers.get("Content-Type") != self._answers.uploads[name]:
            return web.Response(status=403, text="not the Content-Type that was signed")
        if request.content_length is None:
            return web.Response(status=411, text="Content-Length required")
        self._store[name] = b"".join([chunk async for chunk in request.content.iter_any()])
        return web.Response()

    async def _get(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._store:
            return web.Response(status=404)
        return web.Response(body=self._store[name], content_type=self._answers.uploads[name])

    async def _delay(self, span: tuple[float, float]) -> None:
        if span[1] > 0:
            await self._sleep(self._random.uniform(*span))

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass


def _reply(data: object) -> web.Response:
    return web.Response(
        body=msgspec.json.encode({"code": 200, "message": "success", "data": data}),
        content_type="application/json",
    )
