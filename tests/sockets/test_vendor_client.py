"""The sandbox works with the vendor's own command-line client.

The tests send the same requests as ``runtime/crun_cli.py`` of CrunTeam/crun-agent-skills. They
check that the replies contain what the vendor's client needs.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import pytest
from yarl import URL

from suno_async.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

API = "/api/v1/client/"
AGENT = {"User-Agent": "crun-agent-skills/1", "Accept-Encoding": "identity", "Connection": "close"}
SIMPLE = {"mode": "simple", "model": "v5", "prompt": "a song"}
GENERATE = "suno/music-generate"
KINDS = {
    "suno/music-cover": {"music-cover", "music-generate"},
    "suno/music-extend": {"music-extend", "music-generate"},
    "suno/music-extend-upload": {"music-extend", "music-extend-upload", "music-generate"},
    GENERATE: {"music-generate", "text-to-music"},
    "suno/music-video": {"music-video"},
    "suno/sounds-generate": {"sound-effects"},
    "suno/vocal-separatio": {"vocal-separation"},
}


class Vendor(NamedTuple):
    """Sends the same requests as the vendor's client."""

    http: aiohttp.ClientSession
    sandbox: Sandbox

    async def exchange(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        key: str | None = None,
    ) -> tuple[int, Any]:
        """Send an API request; return the HTTP status and the decoded reply."""
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "X-API-KEY": self.sandbox.key if key is None else key,
            **AGENT,
        }
        async with self.http.request(
            method,
            self.sandbox.url + API + path,
            params=query,
            data=None if body is None else json.dumps(body).encode(),
            headers={name: value for name, value in headers.items() if value},
        ) as reply:
            return reply.status, await reply.json()

    async def ask(self, method: str, path: str, *args: Any) -> Any:  # noqa: ANN401 (JSON)
        """Send a request, check that the reply reports success, and return its ``data``."""
        status, answer = await self.exchange(method, path, *args)
        assert (status, answer["code"]) == (200, 200), answer
        return answer["data"]

    async def create(self, model: str, given: dict[str, Any], **more: str) -> str:
        """Create a task, and return its id."""
        body = {"model": model, "input": given, **more}
        return str((await self.ask("POST", "job/CreateTask", None, body))["task_id"])

    async def status(self, task_id: str) -> Any:  # noqa: ANN401 (JSON)
        """Return the record of a task."""
        return await self.ask("GET", "job/TaskInfo", {"task_id": task_id})

    async def wait(self, task_id: str) -> Any:  # noqa: ANN401 (JSON)
        """Poll a task until it has ended, and return its record."""
        async with asyncio.timeout(20):
            while (info := await self.status(task_id))["status"] not in {"success", "failed"}:
                pass
        return info

    async def download(self, url: str) -> bytes:
        """Download a media file without sending the API key."""
        async with self.http.get(url, headers=AGENT) as reply:
            assert reply.status == 200
            return await reply.read()

    async def upload(self, content: bytes, content_type: str, suffix: str) -> str:
        """Upload a file, and return the URL that serves it."""
        target = await self.ask(
            "GET", "files/upload-url", {"content_type": content_type, "ext": suffix}
        )
        presigned = URL(target["presigned_url"])
        assert (presigned.scheme in {"http", "https"}, bool(presigned.host)) == (True, True)
        headers = {"Content-Type": content_type, "Content-Length": str(len(content))}
        async with self.http.put(presigned, data=content, headers=headers) as reply:
            assert 200 <= reply.status < 300
        return str(target["file_url"])


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    """Yield a `Vendor` that is connected to a sandbox whose jobs end within milliseconds."""
    async with (
        Sandbox(seed=1, time_scale=1e5, failure_share=0.0, rate_limit=10**6) as sandbox,
        aiohttp.ClientSession() as http,
    ):
        yield Vendor(http, sandbox)


async def test_key(vendor: Vendor) -> None:
    """The key of a sandbox has the form that the vendor's client requires."""
    assert vendor.sandbox.key.startswith("ak_")
    # The vendor's client accepts no other length.
    assert len(vendor.sandbox.key) == 35


async def test_credits(vendor: Vendor) -> None:
    """The request that the vendor's command `credits` sends returns the balance of the account."""
    assert await vendor.ask("GET", "account/balance") == {"balance": 1_000_000}


@pytest.mark.parametrize(
    "operation",
    [
        *("text-to-music", "sound-effects", "vocal-separation", "music-generate", "music-extend"),
        *("music-extend-upload", "music-cover", "music-video"),
    ],
)
async def test_models_list(vendor: Vendor, operation: str) -> None:
    """The command `models list` receives exactly the models that support the given operation."""
    listed = (await vendor.ask("GET", "job/Models", {"operation": operation}))["models"]
    expected = {model for model, operations in KINDS.items() if operation in operations}
    assert {each["model"] for each in listed} == expected
    for each in listed:
        assert set(each["operations"]) == KINDS[each["model"]]


async def test_models_list_without_filters(vendor: Vendor) -> None:
    """Without filters, the command `models list` receives every model."""
    listed = (await vendor.ask("GET", "job/Models"))["models"]
    assert {each["model"] for each in listed} == set(KINDS)


async def test_models_list_with_two_filters(vendor: Vendor) -> None:
    """With two filters, the command `models list` receives the models that match both."""
    query = {"modality": "video", "operation": "music-video"}
    (video,) = (await vendor.ask("GET", "job/Models", query))["models"]
    assert (video["model"], video["modality"]) == ("suno/music-video", "video")


@pytest.mark.parametrize("model", KINDS)
async def test_models_describe(vendor: Vendor, model: str) -> None:
    """`models describe` sends the slash in a model's name unescaped, and gets the input schema."""
    described = await vendor.ask("GET", f"job/Models/{model}")
    assert described["model"] == model
    assert set(described["required_input_fields"]) <= set(described["input_schema"]["properties"])
    assert described["input_schema"]["type"] == "object"


async def test_estimate(vendor: Vendor) -> None:
    """A reply to EstimateTask has the price, the balance, and whether the balance is enough."""
    body = {"model": GENERATE, "input": SIMPLE}
    answer = await vendor.ask("POST", "job/EstimateTask", None, body)
    assert answer == {"estimated_credits": 12, "balance": 1_000_000, "affordable": True}
    vendor.sandbox.credits = 11.5
    answer = await vendor.ask("POST", "job/EstimateTask", None, body)
    assert answer == {"estimated_credits": 12, "balance": 11.5, "affordable": False}


async def inputs_of(vendor: Vendor, model: str) -> dict[str, Any]:
    """Return a valid input for a model."""
    if model == GENERATE:
        return SIMPLE
    if model == "suno/sounds-generate":
        return {"prompt": "rain"}
    if model == "suno/music-extend-upload":
        url = await vendor.upload(b"ID3" + bytes(100_000), "audio/mpeg", ".mp3")
        return SIMPLE | {"audio_url": url}
    song = await vendor.wait(await vendor.create(GENERATE, SIMPLE))
    ids = {"task_id": song["task_id"], "suno_id": song["result"]["suno_data"][0]["suno_id"]}
    return ids if model in {"suno/music-video", "suno/vocal-separatio"} else SIMPLE | ids


@pytest.mark.parametrize("model", KINDS)
async def test_run(vendor: Vendor, model: str) -> None:
    """For every model, a task succeeds, its record is complete, and its files can be downloaded."""
    given = await inputs_of(vendor, model)
    task_id = await vendor.create(model, given)
    assert len(task_id) == 36
    info = await vendor.wait(task_id)
    assert (info["task_id"], info["status"], info["provider"]) == (task_id, "success", "Suno")
    assert info["param"] == {"model": model, "callback_url": None, "input": given}
    assert info["model_version"].startswith("suno")
    assert info["credits"] > 0
    result = info["result"]
    assert (result["code"], result["message"]) == (200, "success")
    files: list[str] = result.get("media_urls", [])
    stems: dict[str, str] = result.get("media_info", {})
    assert bool(files) != bool(stems)
    assert bool(stems) == (model == "suno/vocal-separatio")
    for url in (*files, *stems.values()):
        assert PurePosixPath(URL(url).path).suffix in {".mp3", ".mp4"}
        assert await vendor.download(url)
    assert vendor.sandbox.statistics.key_leaks == 0


async def test_upload(vendor: Vendor) -> None:
    """The key is sent with the request for the upload URL, but not with the uploaded file."""
    content = bytes(range(256)) * 100
    url = await vendor.upload(content, "audio/x-wav", ".wav")
    assert await vendor.download(url) == content
    assert vendor.sandbox.statistics.key_leaks == 0


async def test_callback_url(vendor: Vendor) -> None:
    """The callback URL of a create request is also part of the task record."""
    url = "http://127.0.0.1:9/callback"
    task_id = await vendor.create(GENERATE, SIMPLE, callback_url=url)
    assert (await vendor.status(task_id))["param"]["callback_url"] == url


async def test_separation_names_its_own_model(vendor: Vendor) -> None:
    """The record of a vocal separation has the model version ``suno-vocal-separation``."""
    given = await inputs_of(vendor, "suno/vocal-separatio")
    info = await vendor.status(await vendor.create("suno/vocal-separatio", given))
    assert info["model_version"] == "suno-vocal-separation"


async def test_whole_seconds() -> None:
    """With the default time scale, all times in a record are integers."""
    async with Sandbox(failure_share=0.0) as sandbox, aiohttp.ClientSession() as http:
        ended, running = sandbox.add_tasks(
            2, created_ago=99.7, spread=0.4, durations=[86.3, 1_000_000.0]
        )
        info = await Vendor(http, sandbox).status(ended)
        for name in ("create_at", "complete_at", "duration_s"):
            assert type(info[name]) is int, name
        assert info["duration_s"] == info["complete_at"] - info["create_at"]
        assert abs(info["duration_s"] - 86.3) < 1
        info = await Vendor(http, sandbox).status(running)
        assert type(info["create_at"]) is int
        assert (info["complete_at"], info["duration_s"], info["result"]) == (None, None, None)
        assert info["credits"] == 12


async def test_refused_input(vendor: Vendor) -> None:
    """The errors of a 422 reply have exactly the vendor's text, and the reply has no ``data``."""
    body = {"model": GENERATE, "input": {"mode": "custom", "model": "v5", "tags": "jazz"}}
    for path in ("job/CreateTask", "job/EstimateTask", "job/estimate-credits"):
        status, answer = await vendor.exchange("POST", path, None, body)
        assert status == 422
        about = f"Value error, Invalid input for model {GENERATE}: "
        assert answer == {
            "code": 422,
            "message": "Missing Params or Type Error",
            "errors": [about + "title: required", about + "lyrics: required"],
        }
    other: dict[str, Any] = {"model": "suno/none", "input": {}}
    status, answer = await vendor.exchange("POST", "job/CreateTask", None, other)
    assert (status, answer["errors"]) == (422, ["Value error, model: unknown kind 'suno/none'"])


async def test_refused_requests(vendor: Vendor) -> None:
    """A refusal (other than 422) contains its code, the vendor's message, and null as ``data``."""

    async def balance(key: str | None = None) -> tuple[int, Any]:
        return await vendor.exchange("GET", "account/balance", key=key)

    def refusal(code: int, message: str) -> tuple[int, Any]:
        return code, {"code": code, "message": message, "data": None}

    assert await balance("") == refusal(401, "API key missing")
    assert await balance("ak_" + "1" * 32) == refusal(401, "API key invalid")
    vendor.sandbox.disable_key()
    assert await balance() == refusal(403, "API key disabled")
    vendor.sandbox.enable_key()
    vendor.sandbox.credits = 11
    body = {"model": GENERATE, "input": SIMPLE}
    answer = await vendor.exchange("POST", "job/CreateTask", None, body)
    assert answer == refusal(402, "Insufficient credits")
    answer = await vendor.exchange("GET", "job/TaskInfo", {"task_id": "nowhere"})
    assert answer == refusal(404, "Task not found")
    assert await vendor.exchange("GET", "job/Models/suno/none") == refusal(404, "Model not found")


async def test_refusals_in_the_envelope() -> None:
    """With ``errors_as="envelope"``, an unknown task gives HTTP 200, and code 404 in the body."""
    async with Sandbox(errors_as="envelope") as sandbox, aiohttp.ClientSession() as http:
        request = ("GET", "job/TaskInfo", {"task_id": "nowhere"})
        status, answer = await Vendor(http, sandbox).exchange(*request)
        assert (status, answer["code"]) == (200, 404)
