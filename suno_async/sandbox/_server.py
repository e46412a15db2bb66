"""The sandbox: a local aiohttp server that simulates the API."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Self

from aiohttp import web
from yarl import URL

from suno_async.sandbox._accounts import Accounts
from suno_async.sandbox._callbacks import Callbacks
from suno_async.sandbox._endpoints import ESTIMATE_PATHS, Call, Endpoints
from suno_async.sandbox._fault_injection import FaultInjector
from suno_async.sandbox._faults import Fault, Faults
from suno_async.sandbox._file_store import FileStore
from suno_async.sandbox._input_rules import GENERATE
from suno_async.sandbox._jobs import Job, Jobs
from suno_async.sandbox._rate_judge import RateJudge
from suno_async.sandbox._refusals import OrderedRefusal, OrderedRefusals, Refusal
from suno_async.sandbox._replies import error_reply, success_reply
from suno_async.sandbox._statistics import SandboxStatistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

#: The key of every sandbox: ``ak_`` and 32 characters, because the vendor's client requires it.
KEY = "ak_sandbox" + "0" * 25


class Sandbox:
    """A local server that simulates the API and is as strict as the API contract.

    Use it as an async context manager, or call `start` and `stop`.

    Args:
        seed: Seed of the jobs and the faults.
        host: Address to listen on.
        port: Port to listen on; 0 means any free port.
        median: Median duration of a job in seconds. Durations are log-normal.
        sigma: Standard deviation of the logarithm of the durations.
        failure_share: Share of the jobs that fail, from 0 to 1.
        endless_share: Share of the jobs that never end, from 0 to 1.
        time_scale: Durations of jobs are divided by this number. At 60, a job of a minute takes a
            second. The rate limit and the delays of `faults` are not scaled. If `time_scale` is 1,
            the timestamps of a task are whole seconds. Otherwise they have fractions.
        rate_limit: Maximum number of requests with one key in any period of one second.
        retry_after: Seconds in the Retry-After header of the replies to requests above the rate
            limit. If None, the header is not sent.
        credits: Credits of the account at the start.
        song_seconds: Length of each song in seconds. Each second of a downloaded song takes 4 kB.
        faults: Faults to inject at random; None means no faults.
        errors_as: How errors are sent. ``"status"``: as HTTP status with a plain text.
            ``"envelope"``: with HTTP 200, and the error code in the JSON body. ``"both"``: as HTTP
            status and in the JSON body.
        callbacks_as: Body of callbacks. ``"record"``: only the task record. ``"envelope"``: the
            same JSON as the reply to a status request.
        estimate_paths: The estimate endpoints that exist: ``"estimate-credits"``,
            ``"EstimateTask"``, or both.

    Attributes:
        key: The key of the account.
        url: The base URL; empty until the server has started.
        time_scale: The number by which durations of jobs are divided.
        faults: Faults to inject at random. You may assign other faults at any time.
    """

    def __init__(  # noqa: PLR0913 (each describes one part of the server)
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
        song_seconds: float = 2.0,
        faults: Faults | None = None,
        errors_as: str = "both",
        callbacks_as: str = "record",
        estimate_paths: Iterable[str] = ESTIMATE_PATHS,
    ) -> None:
        self.key = KEY
        self.url = ""
        self.time_scale = time_scale
        self.faults = faults or Faults()
        self._jobs = Jobs(
            seed,
            median=median,
            sigma=sigma,
            failure_share=failure_share,
            endless_share=endless_share,
            time_scale=time_scale,
            song_seconds=song_seconds,
        )
        self._injector = FaultInjector(seed + 1)
        self._host, self._port = host, port
        self._rate_limit = rate_limit
        self._retry_after = None if retry_after is None else str(retry_after)
        self._errors_as = errors_as
        self._callbacks_as = callbacks_as
        self._callbacks = Callbacks()
        self._accounts = Accounts({self.key: credits})
        self._refusals = OrderedRefusals()
        self._endpoints = Endpoints(
            self._jobs,
            self._accounts,
            self._schedule_callback,
            whole_seconds=time_scale == 1.0,
            estimate_paths=estimate_paths,
        )
        self._store = FileStore(self._endpoints.uploads, song_seconds)
        self._judges: dict[str, RateJudge] = {}
        self._requests = 0
        self._fault_counts: Counter[str] = Counter()
        self._paths: Counter[str] = Counter()
        self._runner: web.AppRunner | None = None

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
        """All tasks by id. The duration and the outcome of a task are decided at its creation."""
        return self._jobs.by_id

    @property
    def credits(self) -> float:
        """Current credits of the account. Assign a number to change them."""
        return self._accounts.balance(self.key, time.time())

    @credits.setter  # noqa: A003 (as above)
    def credits(self, value: float) -> None:
        self._accounts.set_balance(self.key, time.time(), value)

    @property
    def statistics(self) -> SandboxStatistics:
        """The numbers of requests, created tasks, callbacks and faults so far."""
        judges = self._judges.values()
        return SandboxStatistics(
            requests=self._requests,
            created=self._endpoints.created,
            rate_limited=sum(judge.refused for judge in judges),
            worst_window=max((judge.worst_window for judge in judges), default=0),
            key_leaks=self._store.key_leaks,
            callbacks=self._callbacks.delivered,
            faults=dict(self._fault_counts),
            paths=dict(self._paths),
        )

    async def start(self) -> None:
        """Start listening.

        Raises:
            OSError: The address is in use, or not available.
        """
        self._injector.start()
        app = web.Application()
        app.router.add_route("*", "/api/{rest:.*}", self._handle)
        self._store.add_routes(app.router)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = self._endpoints.url = str(URL.build(scheme="http", host=host, port=port))

    async def stop(self) -> None:
        """Stop listening, close all connections, and cancel callbacks that were not delivered."""
        self._injector.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        # Last, because a create in flight may have scheduled a callback.
        await self._callbacks.close()

    def add_tasks(
        self,
        count: int,
        *,
        created_ago: float = 0.0,
        spread: float = 0.0,
        durations: Sequence[float] | None = None,
    ) -> list[str]:
        """Create tasks directly, without API requests. Return their ids, the youngest task first.

        The tasks cost no credits.

        Args:
            count: Number of tasks.
            created_ago: Age of the youngest task in seconds. Not divided by the time scale.
            spread: Age difference in seconds between the oldest and the youngest task. Not divided
                by the time scale. The tasks are evenly spaced.
            durations: Duration of each task in seconds, before the division by the time scale. Give
                at least `count` values, in the order of the returned ids. If None, durations are
                random.
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
        """Disable a key until `enable_key` is called. Requests with the key get the error code 403.

        Args:
            key: The key to disable; None means the key of this sandbox.

        Raises:
            KeyError: The key is unknown.
        """
        self._accounts.enable(key or self.key, enabled=False)

    def enable_key(self, key: str | None = None) -> None:
        """Accept a disabled key again.

        Args:
            key: The key to enable; None means the key of this sandbox.

        Raises:
            KeyError: The key is unknown.
        """
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
        """Answer the next API requests with an error code.

        Refused requests change neither tasks nor credits. Requests above the rate limit still get a
        429. Each call adds an *order* to refuse requests. If several orders apply to a request, the
        oldest one is used.

        Args:
            code: Error code of the replies, such as 401, 404 or 455.
            count: Number of requests to refuse; None means no limit.
            seconds: Seconds until the order ends. They are not divided by the time scale.
            path: The last segments of the path of the requests to refuse, such as ``"TaskInfo"`` or
                ``"job/CreateTask"``. None means any path.
            retry_after: Value of the Retry-After header. If None, the header is not sent.

        Returns:
            The order. Its attribute ``refused`` is the number of requests refused so far. Its
            method ``stop`` ends the order.
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

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """Answer an API request normally, with an error, or with a fault.

        Send an error if the request is above the rate limit, or if an order of `Sandbox.refuse`
        applies to the request. Otherwise, decide at random whether to inject a fault.
        """
        faults, injector = self.faults, self._injector
        await injector.delay(faults.latency_in)
        now = time.monotonic()
        self._requests += 1
        self._paths[request.path.rsplit("/", 1)[-1]] += 1
        key = request.headers.get("x-api-key", "")
        judge = self._judges.setdefault(key, RateJudge(self._rate_limit))
        if not judge.allows(now):
            return self._error(Refusal(429, retry_after=self._retry_after))
        if ordered := self._refusals.find(request.path, now):
            return self._error(ordered)
        fault = injector.draw(faults)
        if fault is None:
            answer: web.StreamResponse = await self._answer(request, key, now)
        else:
            self._fault_counts[fault.value] += 1
            is_create = request.method == "POST"
            handled = injector.takes_effect(fault, faults, is_create=is_create)
            normal = await self._answer(request, key, now) if handled else None
            if fault is Fault.SLOW:
                # The injector itself sends a slow answer.
                await injector.delay(faults.latency_out)
                return await injector.reply(request, fault, faults, normal)
            answer = await injector.reply(request, fault, faults, normal)
        await injector.delay(faults.latency_out)
        return answer

    async def _answer(self, request: web.Request, key: str, now: float) -> web.Response:
        try:
            body = await request.read()
        except ConnectionError:
            # The client closed the connection in the middle of the body, so it reads no reply.
            return web.Response(status=400)
        except web.RequestPayloadError:
            reply = self._error(Refusal(422, errors=["Value error, body: cannot be decompressed"]))
            # aiohttp cannot read the rest of the body either.
            reply.force_close()
            return reply
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
            return success_reply(self._endpoints.answer(call))
        except Refusal as refusal:
            return self._error(refusal)

    def _schedule_callback(self, job: Job) -> None:
        url = job.body.get("callback_url")
        if url and math.isfinite(job.ends_at):
            seconds = max(0.0, job.ends_at - time.time())
            self._callbacks.post_later(seconds, url, lambda: self._callback_body(job))

    def _callback_body(self, job: Job) -> object:
        record = self._endpoints.record(job, max(time.time(), job.ends_at))
        if self._callbacks_as == "record":
            return record
        return {"code": 200, "message": "success", "data": record}

    def _error(self, refusal: Refusal) -> web.Response:
        return error_reply(refusal, self._errors_as)
