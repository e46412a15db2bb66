"""Compare the throughput of the client with that of curl.

The client and curl take turns. Each of them downloads the same files from the same server into the
same directory, with the same number of parallel downloads.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.downloads.cut import digest_of, make_files
from suno_async import SunoClient
from suno_async.files.names import file_name

if TYPE_CHECKING:
    from pathlib import Path

#: The target: our bytes per second divided by those of curl.
TARGET = 0.8

PARALLEL = 8

CONFIGURATION = """
worker_processes 1; daemon off; pid {root}/nginx.pid; error_log {root}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; tcp_nopush on;
  client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
  uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
  server {{ listen 127.0.0.1:{port}; root {root}/source; }}
}}
"""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("nginx did not start")


def _ours(urls: list[str], target: Path) -> None:
    async def download() -> None:
        async with SunoClient("key", base_url=urls[0].rpartition("/")[0]) as suno:
            await suno.download_all(urls, target)

    asyncio.run(download())


def _curl(curl: str, urls: list[str], target: Path) -> None:
    names = [word for url in urls for word in ("-O", url)]
    words = [curl, "-s", "--parallel", "--parallel-max", str(PARALLEL)]
    subprocess.run(  # noqa: S603 (our own arguments)
        [*words, "--output-dir", str(target), *names], check=True, capture_output=True
    )


def _cpu() -> float:
    used = [resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measure_throughput(directory: Path, quick: bool) -> bool:  # noqa: FBT001 (a table of functions)
    """Print the rates of the client and of curl. Return whether the client is fast enough.

    The client must reach at least `TARGET` times the rate of curl. A quick run always returns True.
    If nginx or curl is missing, measure nothing and return True.
    """
    nginx, curl = shutil.which("nginx") or shutil.which("/usr/sbin/nginx"), shutil.which("curl")
    if nginx is None or curl is None:
        print("skipped: needs nginx and curl (apt-get install nginx-light curl)")
        return True
    count, size, rounds = (8, 5_000_000, 2) if quick else (40, 20_000_000, 7)
    source, target = directory / "source", directory / "target"
    source.mkdir()
    digests = make_files(source, count, size)
    port = _free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(root=directory, port=port))
    directory.chmod(0o755)
    server = subprocess.Popen(  # noqa: S603 (our own arguments)
        [nginx, "-c", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    rates: dict[str, list[float]] = {"ours": [], "curl": []}
    cpu = {"ours": 0.0, "curl": 0.0}
    try:
        _wait_for(port)
        urls = [f"http://127.0.0.1:{port}/{name}" for name in digests]
        # The first round only warms up. Then each contender is first in every second round.
        for number in range(rounds + 1):
            for contender in ("ours", "curl") if number % 2 else ("curl", "ours"):
                shutil.rmtree(target, ignore_errors=True)
                target.mkdir()
                started, used = time.perf_counter(), _cpu()
                if contender == "ours":
                    _ours(urls, target)
                else:
                    _curl(curl, urls, target)
                seconds = time.perf_counter() - started
                saved = [file_name(url) for url in urls] if contender == "ours" else list(digests)
                pairs = zip(saved, digests.values(), strict=True)
                if any(digest_of(target / name) != digest for name, digest in pairs):
                    raise RuntimeError(f"{contender}: wrong file")
                if number:
                    rates[contender].append(count * size / seconds / 1e6)
                    cpu[contender] += (_cpu() - used) / rounds
    finally:
        server.terminate()
        server.wait()
    for contender, values in rates.items():
        print(
            f"{contender}  median {statistics.median(values):6.0f} MB/s, best {max(values):6.0f}, "
            f"worst {min(values):6.0f}, CPU {cpu[contender]:.2f} s a round"
        )
    ratio = statistics.median(rates["ours"]) / statistics.median(rates["curl"])
    paired = statistics.median(a / b for a, b in zip(*rates.values(), strict=True))
    print(f"ratio of the medians {ratio:.2f}, median of the ratios {paired:.2f} (target {TARGET})")
    print(
        f"{count} files of {size / 1e6:g} MB, {PARALLEL} at a time, {rounds} rounds, {sys.platform}"
    )
    # If something slows the machine down, both runs of a pair are slower, but not both medians.
    return quick or paired >= TARGET
