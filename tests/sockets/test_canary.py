"""The API key appears only in the headers of API requests."""

from __future__ import annotations

import gc
import logging
from typing import TYPE_CHECKING

import msgspec

from suno_async import GenerateMusic, SunoClient, SunoError
from suno_async.sandbox import Faults, Sandbox
from tests.cli.test_cli import GENEROUS, run
from tests.conftest import FAST, SCALE

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_canary(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No log, repr, error, file or command output contains the key, even after failed requests."""
    caplog.set_level(logging.DEBUG)
    faults = Faults(error=0.1, reset=0.1, garbage=0.1)
    seen: list[str] = []
    async with Sandbox(
        # Each command has its own request budget, in addition to that of the client.
        seed=2,
        time_scale=SCALE,
        failure_share=0.3,
        faults=faults,
        rate_limit=GENEROUS,
    ) as sandbox:
        ids = sandbox.add_tasks(15, created_ago=5.0)
        async with SunoClient(sandbox.key, base_url=sandbox.url, policy=FAST) as suno:
            async for outcome in suno.as_completed(ids):
                seen += [repr(outcome), str(outcome.error)]
                for track in outcome.info.tracks[:1] if outcome.info else ():
                    seen.append(str(await suno.download(track, tmp_path / "audio")))
            try:
                seen.append(repr(await suno.create(GenerateMusic(prompt="x"))))
            except SunoError as error:
                seen += [repr(error), str(error)]
            seen += [repr(suno), msgspec.json.encode(suno.statistics()).decode()]
        sandbox.faults = Faults()
        for words in (("poll", "-", "--output", "out.jsonl"), ("status", "nowhere"), ("balance",)):
            _, out, errors = await run(sandbox, *words, cwd=tmp_path, stdin=ids[0])
            seen += [out, errors]
        assert sandbox.statistics.key_leaks == 0
        seen += [
            repr(each)
            for each in gc.get_objects()
            if str(type(each).__module__).startswith("suno_async.")
            and not isinstance(each, Sandbox)
        ]
        files = [path for path in tmp_path.rglob("*") if path.is_file()]  # noqa: ASYNC240 (a test)
        assert files
        assert not any(sandbox.key.encode() in path.read_bytes() for path in files)
    seen += [record.getMessage() for record in caplog.records]
    assert sandbox.key not in "".join(seen)
