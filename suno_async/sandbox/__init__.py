"""A local server that simulates the job API, for demos and tests.

    async with Sandbox(seed=1, time_scale=60) as sandbox:
        async with SunoClient(sandbox.key, base_url=sandbox.url) as suno:
            ...

Tests control the replies with `Sandbox.refuse`, `Sandbox.disable_key` and `Sandbox.credits`.

In pytest, add ``pytest_plugins = ["suno_async.sandbox.pytest_plugin"]`` to your conftest.py and use
the fixture ``suno_sandbox``. From a shell, run ``suno-async sandbox``.
"""

from suno_async.sandbox._faults import Fault, Faults
from suno_async.sandbox._jobs import COST, Job
from suno_async.sandbox._refusals import OrderedRefusal
from suno_async.sandbox._server import KEY, Sandbox
from suno_async.sandbox._statistics import SandboxStatistics

__all__ = [
    "COST",
    "KEY",
    "Fault",
    "Faults",
    "Job",
    "OrderedRefusal",
    "Sandbox",
    "SandboxStatistics",
]
