"""The sandbox as an aiohttp server: routes, faults, and counts."""

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

from suno_async.sandbox._accounts import Accounts
from suno_async.sandbox._api import ESTIMATE_PATHS, Api, Call
from suno_async.sandbox._callbacks import Callbacks
from suno_async.sandbox._faults import GARBAGE, STATUSES, Fault, Faults
from suno_async.sandbox._jobs import Job, Jobs
from suno_async.sandbox._judge import Judge
from suno_async.sandbox._refusals import OrderedRefusal, OrderedRefusals, Refusal
from suno_async.sandbox._rules import GENERATE
from suno_async.sandbox._store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

#: The key of every sandbox: ``ak_`` and 32 characters, as the vendor's client demands.
KEY = "ak_sandbox" + "0" * 25


class SandboxStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a sandbox counted.

    Attributes:
        requests: Requests to the API, with any key or none.
        created: Tasks created over HTTP.
        rate_limited: Requests refused with 429 because of the rate limit.
        worst_window: The most requests of one key in any one sliding second, refused ones included.
        key_leaks: Requests for media, or to the store, that carried a key.
        callbacks: Callbacks that were acknowledged by an HTTP 200.
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
    """A local server that implements the API contract as strictly as the real one.

    Args:
        seed: Seed of the jobs and the faults.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        median: Median duration of a job in seconds; durations are log-normal.
        sigma: Standard deviation of the durations' logarithm.
        failure_share: Share of the jobs that fail.
        endless_share: Share of the jobs that never end.
        time_scale: Durations are divided by it: at 60 a minute passes in a second. The request
            rate and all timestamps stay real. Only at 1 are the times of a record whole seconds,
            as the contract's are; otherwise they keep their fractions, because whole seconds are
            too coarse for short jobs.
        rate_limit: Requests that a key may send in any sliding second.
        retry_after: Seconds in the Retry-After header of a 429; None sends none.
        credits: Credits of the account.
        faults: Faults to inject at random.
        errors_as: How errors are sent: ``"both"`` as HTTP status and envelope code,
            ``"envelope"`` as the envelope code of an HTTP 200, ``"status"`` as the HTTP status
            of a plain text.
        callbacks_as: Body of callbacks: ``"record"`` the bare record, ``"envelope"`` the record
            in the envelope of TaskInfo.
        estimate_paths: Which estimate endpoints exist: ``"estimate-credits"``,
            ``"EstimateTask"``, or both.
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
        estimate_paths: Iterable[str] = ESTIMATE_PATHS,
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
        self._retry_after = None if retry_after is None else str(retry_after)
        self._errors_as = errors_as
        self._callbacks_as = callbacks_as
        self._callbacks = Callbacks()
        self._accounts = Accounts({self.key: credits})
        self._refusals = OrderedRefusals()
        self._answers = Api(
            self._jobs,
            self._accounts,
            self._started,
            whole_seconds=time_scale == 1.0,
            estimate_paths=estimate_paths,
        )
        self._store = Store(self._answers.uploads)
        self._judges: dict[str, Judge] = {}
        self._requests = 0
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
        """Every task by its id, with the outcome that was drawn for it."""
        return self._jobs.by_id

    @property
    def credits(self) -> float:
        """Credits of the account. Set it to top the account up, or to empty it."""
        return self._accounts.balance(self.key, time.time())

    @credits.setter  # noqa: A003 (as above)
    def credits(self, value: float) -> None:
        self._accounts.set_balance(self.key, time.time(), value)

    @property
    def statistics(self) -> SandboxStatistics:
        """Return the counts so far."""
        judges = self._judges.values()
        return SandboxStatistics(
            requests=self._requests,
            created=self._answers.created,
            rate_limited=sum(judge.refused for judge in judges),
            worst_window=max((judge.worst_window for judge in judges), default=0),
            key_leaks=self._store.key_leaks,
            callbacks=self._callbacks.delivered,
            faults=dict(self._fault_counts),
            paths=dict(self._paths),
        )

    async def start(self) -> None:
        """Start to listen."""
        app = web.Application()
        app.router.add_route("*", "/api/{rest:.*}", self._api)
        self._store.add_routes(app.router)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = self._answers.url = str(URL.build(scheme="http", host=host, port=port))

    async def stop(self) -> None:
        """Stop listening, and cut the connections that stall."""
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
        """Create tasks without requests, and return their ids; they cost nothing.

        Args:
            count: Number of tasks.
            created_ago: Age of the youngest in seconds.
            spread: Seconds between the creation of the oldest and the youngest; the others lie
                evenly between them.
            durations: Uncompressed seconds of each job; drawn if None.
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

    def disable_key(self, key: str | None = None) -> None:
        """Refuse a key (this sandbox's own by default) with 403 until `enable_key`."""
        self._accounts.enable(key or self.key, enabled=False)

    def enable_key(self, key: str | None = None) -> None:
        """Accept a disabled key again."""
        self._accounts.enable(key or self.key, enabled=True)

    def refuse(
        self,
        code: int,
        *,
        count: int | None = 1,
        seconds: float = math.inf,
        path: str | None = None,
        retry_after: float | str | None = None,
    ) -> OrderedRefusal:
        """Refuse the next requests with `code`, before they take effect.

        Requests that break the rate limit still get their 429, and do not count. Orders are used
        in the order of their calls.

        Args:
            code: Code of the answers, such as 401, 404 or 455.
            count: Number of requests to refuse; None has no limit.
            seconds: Real seconds after which nothing is refused any more.
            path: End of the paths to refuse, in whole segments, such as ``"TaskInfo"`` or
                ``"job/CreateTask"``; None refuses every path.
            retry_after: Value of the Retry-After header; None sends none.

        Returns:
            The order: `OrderedRefusal.refused` counts, and `OrderedRefusal.stop` ends it.
        """
        order = OrderedRefusal(
            code=code,
            path=path,
            retry_after=None if retry_after is None else str(retry_after),
            remaining=math.inf if count is None else count,
            until=time.monotonic() + seconds,
        )
        self._refusals.add(order)
        return order

    async def _api(self, request: web.Request) -> web.StreamResponse:
        await self._delay(self.faults.latency_in)
        now = time.monotonic()
        self._requests += 1
        self._paths[request.path.rsplit("/", 1)[-1]] += 1
        key = request.headers.get("x-api-key", "")
        judge = self._judges.setdefault(key, Judge(self._rate_limit))
        if not judge.allows(now):
            return self._error(Refusal(429, retry_after=self._retry_after))
        if ordered := self._refusals.find(request.path, now):
            return self._error(ordered)
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
            # The client closed the connection in the middle of the body: nobody reads this.
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
            return self._error(refusal)

    def _started(self, job: Job) -> None:
        url = job.body.get("callback_url")
        if url and math.isfinite(job.ends_at):
            self._callbacks.at(
                max(0.0, job.ends_at - time.time()), url, lambda: self._callback_body(job)
            )

    def _callback_body(self, job: Job) -> object:
        record = self._answers.record(job, max(time.time(), job.ends_at))
        if self._callbacks_as == "record":
            return record
        return {"code": 200, "message": "success", "data": record}

    def _error(self, refusal: Refusal) -> web.Response:
        code = refusal.code
        headers = {} if refusal.retry_after is None else {"Retry-After": refusal.retry_after}
        if self._errors_as == "status":
            return web.Response(status=code, text=refusal.message, headers=headers)
        body: dict[str, Any] = {"code": code, "message": refusal.message}
        if refusal.errors:
            body["errors"] = refusal.errors
        else:
            body["data"] = None
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
