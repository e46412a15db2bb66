"""Tests of the sandbox: refused requests, credits, estimates and input checks."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from suno_async import AuthenticationError, CoverMusic, GenerateMusic, SunoClient
from suno_async.sandbox import Sandbox
from suno_async.sandbox._accounts import Accounts
from suno_async.sandbox._callbacks import Callbacks
from suno_async.sandbox._input_rules import broken_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

URL = "https://files.example/a.mp3"
SONG: dict[str, Any] = {
    "model": "suno/music-generate",
    "input": {"mode": "simple", "model": "v5", "prompt": "a song"},
}


class Caller:
    """Sends plain HTTP requests, without a rate limit."""

    def __init__(self, sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
        self._sandbox = sandbox
        self._http = http
        self.headers: dict[str, str] = {}

    async def code(self, path: str = "account/balance", body: object = None) -> int:
        """Send a request and return the HTTP status. Store the headers of the reply."""
        return (await self._exchange(path, body))[0]

    async def data(self, path: str, body: object = None) -> Any:  # noqa: ANN401 (JSON)
        """Send a request and return the field ``data`` of the JSON reply."""
        return (await self._exchange(path, body))[1]["data"]

    async def _exchange(self, path: str, body: object) -> tuple[int, Any]:
        async with self._http.request(
            "GET" if body is None else "POST",
            f"{self._sandbox.url}/api/v1/client/{path}",
            json=body,
            headers={"x-api-key": self._sandbox.key},
        ) as reply:
            self.headers = dict(reply.headers)
            return reply.status, await reply.json()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Yield a sandbox whose jobs end within milliseconds; half of them fail."""
    async with Sandbox(seed=1, time_scale=1e5, failure_share=0.5, rate_limit=10**6) as server:
        yield server


@pytest.fixture
async def caller(sandbox: Sandbox) -> AsyncIterator[Caller]:
    """Yield a `Caller` that sends requests to the sandbox."""
    async with aiohttp.ClientSession() as http:
        yield Caller(sandbox, http)


async def test_refuse(sandbox: Sandbox, caller: Caller) -> None:
    """`Sandbox.refuse` refuses the given number of requests; later requests succeed again."""
    order = sandbox.refuse(401)
    assert [await caller.code() for _ in range(2)] == [401, 200]
    assert order.refused == 1
    sandbox.refuse(455, count=2, retry_after="9" * 400)
    sandbox.refuse(500)
    assert await caller.code() == 455
    assert caller.headers["Retry-After"] == "9" * 400
    assert [await caller.code() for _ in range(3)] == [455, 500, 200]


async def test_refuse_one_path(sandbox: Sandbox, caller: Caller) -> None:
    """With `path`, `Sandbox.refuse` affects only requests for this path."""
    (task_id,) = sandbox.add_tasks(1)
    task = f"job/TaskInfo?task_id={task_id}"
    sandbox.refuse(404, path="TaskInfo", count=None)
    # Only whole segments of a path match.
    sandbox.refuse(404, path="odels", count=None)
    models = sandbox.refuse(505, path="job/Models", count=None)
    assert [await caller.code(path) for path in (task, "job/Models", task)] == [404, 505, 404]
    assert await caller.code() == 200
    models.stop()
    assert [await caller.code(path) for path in (task, "job/Models")] == [404, 200]


async def test_refuse_for_a_while(sandbox: Sandbox, caller: Caller) -> None:
    """With `seconds`, `Sandbox.refuse` refuses requests only during this time."""
    sandbox.refuse(500, count=None, seconds=0.0)
    assert await caller.code() == 200
    sandbox.refuse(500, count=None, seconds=1e9)
    assert [await caller.code() for _ in range(3)] == [500] * 3


async def test_a_refused_create_has_no_effect(sandbox: Sandbox, caller: Caller) -> None:
    """A create request that is refused by `Sandbox.refuse` creates no task and costs no credits."""
    before = sandbox.credits
    sandbox.refuse(500, path="CreateTask")
    assert await caller.code("job/CreateTask", SONG) == 500
    assert (len(sandbox.tasks), sandbox.statistics.created, sandbox.credits) == (0, 0, before)


async def test_refusals_count_against_the_rate() -> None:
    """Requests count towards the rate limit even if `Sandbox.refuse` refuses them."""
    async with Sandbox(rate_limit=1) as sandbox, aiohttp.ClientSession() as http:
        caller = Caller(sandbox, http)
        order = sandbox.refuse(404, count=2)
        assert [await caller.code(), await caller.code(), order.refused] == [404, 429, 1]


async def test_top_up(sandbox: Sandbox, caller: Caller) -> None:
    """The credits can be read and set. Without enough credits, a create request returns 402."""
    sandbox.credits = 11
    assert await caller.code("job/CreateTask", SONG) == 402
    sandbox.credits += 1
    assert await caller.data("account/balance") == {"balance": 12}
    assert await caller.code("job/CreateTask", SONG) == 200


async def test_credits_add_up(sandbox: Sandbox, caller: Caller) -> None:
    """The account pays exactly the credits in its task records; a failed task costs nothing."""
    before = sandbox.credits
    costs: dict[str, set[float]] = {"success": set(), "failed": set()}
    total = 0.0
    for _ in range(20):
        task_id = (await caller.data("job/CreateTask", SONG))["task_id"]
        async with asyncio.timeout(20):
            while (record := await caller.data(f"job/TaskInfo?task_id={task_id}"))[
                "result"
            ] is None:
                assert record["credits"] == 12
        costs[record["status"]].add(record["credits"])
        total += record["credits"]
    assert costs == {"success": {12}, "failed": {0}}
    assert before - sandbox.credits == total


def test_reserved_credits() -> None:
    """A charge takes effect at once. A refund takes effect at the given time."""
    accounts = Accounts({"key": 20.0})
    accounts.charge("key", 100.0, 12.0)
    accounts.refund("key", 110.0, 12.0)
    assert [accounts.balance("key", now) for now in (100.0, 109.9, 110.0, 200.0)] == [8, 8, 20, 20]


async def test_disabled_key(sandbox: Sandbox, caller: Caller) -> None:
    """A disabled key is refused until it is enabled again."""
    async with SunoClient(sandbox.key, base_url=sandbox.url) as suno:
        sandbox.disable_key()
        with pytest.raises(AuthenticationError, match="API key disabled"):
            await suno.balance()
    sandbox.enable_key()
    assert await caller.code() == 200


async def test_unknown_key() -> None:
    """`disable_key` raises `KeyError` if the sandbox does not know the key."""
    with pytest.raises(KeyError):
        Sandbox().disable_key("ak_other")


async def test_estimates(sandbox: Sandbox, caller: Caller) -> None:
    """The two estimate endpoints reply in different forms. An estimate costs no credits."""
    before = sandbox.credits
    assert await caller.data("job/estimate-credits", SONG) == {"credits": 12, "estimated": False}
    other = await caller.data("job/EstimateTask", SONG)
    assert other == {"estimated_credits": 12, "balance": before, "affordable": True}
    sounds = {"model": "suno/sounds-generate", "input": {"prompt": "rain"}}
    assert (await caller.data("job/estimate-credits", sounds))["credits"] == 2.5
    assert (sandbox.credits, len(sandbox.tasks)) == (before, 0)


@pytest.mark.parametrize("served", ["estimate-credits", "EstimateTask"])
async def test_one_estimate(served: str) -> None:
    """With `estimate_paths`, one of the two estimate endpoints works, and the other returns 404."""
    async with Sandbox(estimate_paths=(served,)) as sandbox, aiohttp.ClientSession() as http:
        codes = {
            path: await Caller(sandbox, http).code(f"job/{path}", SONG)
            for path in ("estimate-credits", "EstimateTask")
        }
    assert codes == {"estimate-credits": 404, "EstimateTask": 404} | {served: 200}


@pytest.mark.parametrize(
    "ids",
    [
        {"suno_id": ""},
        {"suno_id": " \n"},
        {"task_id": ""},
        {"task_id": "\t"},
        {"task_id": "a\x00b"},
        {"task_id": "a\x85b"},
        {"task_id": "x" * 129},
        {"task_id": " ", "suno_id": "x"},
    ],
)
def test_invalid_ids(ids: dict[str, Any]) -> None:
    """Both the client and the sandbox reject an invalid id, even in an optional field."""
    cover = CoverMusic(audio_url=URL, prompt="a tango", **ids)
    assert {each.partition(":")[0] for each in cover.problems()} & ids.keys()
    body = {"model": cover.KIND, "input": cover.payload()}
    errors = broken_rules(body, lambda _task_id, _suno_id: None)
    assert {each.partition(":")[0] for each in errors} & ids.keys()


def test_optional_ids() -> None:
    """A `CoverMusic` job with an `audio_url` needs no ids, but may have a task id or a song id."""
    allowed: list[dict[str, Any]] = [{}, {"task_id": "x" * 128}, {"suno_id": "x"}]
    for ids in allowed:
        cover = CoverMusic(audio_url=URL, prompt="a tango", **ids)
        body = {"model": cover.KIND, "input": cover.payload()}
        assert not cover.problems()
        assert not broken_rules(body, lambda _task_id, _suno_id: None)


@pytest.mark.parametrize(("status", "delivered"), [(200, 1), (204, 0), (500, 0)])
async def test_acknowledged_callbacks(status: int, delivered: int) -> None:
    """A callback counts as acknowledged only if the receiver answers with HTTP 200."""
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(request: web.Request) -> web.Response:
        await arrived.put(await request.read())
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/back", listen)
    runner = web.AppRunner(app)
    async with contextlib.AsyncExitStack() as stack:
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        callbacks = Callbacks()
        stack.push_async_callback(callbacks.close)
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/back"
        callbacks.post_later(0.0, url, lambda: {"task_id": "a"})
        async with asyncio.timeout(20):
            assert await arrived.get() == b'{"task_id":"a"}'
            await callbacks.wait()
        assert callbacks.delivered == delivered


async def test_record_while_it_runs() -> None:
    """A job is paid for at its creation, and its record shows the credits at once."""
    async with (
        Sandbox(median=1e6, failure_share=0.0, credits=20) as sandbox,
        SunoClient(sandbox.key, base_url=sandbox.url) as suno,
    ):
        task = await suno.create(GenerateMusic(prompt="a song"))
        info = await suno.task_info(task.id)
        assert (info.raw_status, info.credits, sandbox.credits) == ("pending", 12, 8)
