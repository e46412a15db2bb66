"""The commands of ``suno-async``."""

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import IO, Annotated, Any, NoReturn, TypeVar

import msgspec
import typer

from suno_async import GenerateMusic, Outcome, SunoClient, SunoError, TaskInfo
from suno_async.cli._demo import demo as run_demo
from suno_async.cli._demo import show
from suno_async.cli._ids import decided_ids, read_ids
from suno_async.cli._run import Tally, drain, exit_code, row
from suno_async.sandbox import Sandbox

T = TypeVar("T")

EXIT_CODES = (
    "Exit codes: 0 all succeeded, 1 a task failed, 2 bad input or configuration, 3 key refused, "
    "4 not enough credits, 5 an outcome is not known (timeout, server), 6 a create may or may not "
    "have been charged, 130 Ctrl-C. The key comes from SUNO_API_KEY or CRUN_API_KEY."
)
app = typer.Typer(
    help="Suno music jobs at scale, on one request budget.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    # Local variables in a traceback could show the key.
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BaseUrl = Annotated[str | None, typer.Option(help="API host; else SUNO_BASE_URL.")]
Timeout = Annotated[float | None, typer.Option(min=0.1, help="Seconds to wait at most.")]
TaskIds = Annotated[list[str], typer.Argument(help="Task ids.")]


@app.command("demo")
def demo_command(
    songs: Annotated[int, typer.Option(min=1)] = 240,
    directory: Annotated[Path, typer.Option(help="For results and audio.")] = Path("demo-output"),
    seed: int = 1,
    as_json: Json = False,
) -> None:
    """Run the main job on the built-in sandbox: no key, no network, under a minute."""
    figures = _run(run_demo(songs, directory, seed))
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        show(figures)
    raise typer.Exit(5 if figures["undecided"] else 0)


@app.command()
def sandbox(
    port: int = 8815,
    seed: int = 0,
    time_scale: Annotated[float, typer.Option(help="Divides the jobs' durations.")] = 1.0,
    failure_share: float = 0.03,
    endless_share: float = 0.0,
) -> None:
    """Serve the sandbox until Ctrl-C."""

    async def serve() -> None:
        async with Sandbox(
            port=port,
            seed=seed,
            time_scale=time_scale,
            failure_share=failure_share,
            endless_share=endless_share,
        ) as server:
            typer.echo(f"export SUNO_BASE_URL={server.url} SUNO_API_KEY={server.key}")
            await asyncio.Event().wait()

    _run(serve())


@app.command()
def create(
    prompt: Annotated[str | None, typer.Argument(help="What the song should be.")] = None,
    title: str | None = None,
    tags: str | None = None,
    lyrics: str | None = None,
    instrumental: bool = False,
    model: str = "v5",
    callback_url: str | None = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the song.")] = False,
    download: Annotated[Path | None, typer.Option(help="Wait, and fetch the audio here.")] = None,
    base_url: BaseUrl = None,
    as_json: Json = False,
) -> None:
    """Create a song; costs credits. Title, tags or lyrics make it custom mode."""
    job = GenerateMusic(
        prompt=prompt,
        title=title,
        tags=tags,
        lyrics=lyrics,
        instrumental=instrumental,
        model=model,
    )

    async def work() -> None:
        async with SunoClient(base_url=base_url) as suno:
            task = await suno.create(job, callback_url=callback_url)
            # First of all the id: whatever comes, what was paid for can be found again.
            typer.echo(json.dumps({"task_id": task.id}) if as_json else task.id)
            if not wait and download is None:
                return
            info = await task
            _tell(info, as_json)
            for track in info.tracks if download is not None else ():
                typer.echo(str(await suno.download(track, download or ".")))

    _run(work())


@app.command()
def status(task_ids: TaskIds, base_url: BaseUrl = None, as_json: Json = False) -> None:
    """Ask once about each task, now."""

    async def work() -> None:
        async with SunoClient(base_url=base_url) as suno:
            for task_id in task_ids:
                _tell(await suno.task_info(task_id), as_json)

    _run(work())


@app.command()
def wait(
    task_ids: TaskIds, timeout: Timeout = None, base_url: BaseUrl = None, as_json: Json = False
) -> None:
    """Wait until each task has ended; print its outcome when it does."""

    async def work() -> int:
        worst = 0
        async with SunoClient(base_url=base_url) as suno:
            async for outcome in suno.as_completed(task_ids, timeout=timeout):
                worst = max(worst, exit_code(outcome.error))
                _tell_outcome(outcome, as_json)
        return worst

    raise typer.Exit(_run(work()))


@app.command()
def poll(
    file: Annotated[str, typer.Argument(help="Ids as text, CSV or JSONL; - for stdin.")],
    output: Annotated[str, typer.Option(help="JSONL; - for stdout.")] = "results.jsonl",
    resume: Annotated[bool, typer.Option("--resume", help="Skip what --output holds.")] = False,
    timeout: Timeout = None,
    base_url: BaseUrl = None,
) -> None:
    """Poll thousands of tasks together; write each result the moment it comes."""
    path = Path(output)
    ids = _read_ids(file)
    if output != "-" and path.exists() and path.stat().st_size:
        if not resume:
            _fail(f"{output} is not empty: add --resume to go on, or name another --output", 2)
        with path.open(encoding="utf-8", errors="replace") as lines:
            decided = set(decided_ids(lines))
        ids = [each for each in ids if each not in decided]
        _end_last_line(path)

    async def work(out: IO[str]) -> int:
        async with SunoClient(base_url=base_url) as suno:
            tally = Tally(len(ids), suno)
            with tally.shown():
                await drain(suno.as_completed(ids, timeout=timeout), tally, out)
        return tally.worst

    try:
        if output == "-":
            worst = _run(work(sys.stdout), interrupted=None)
        else:
            with path.open("a", encoding="utf-8") as out:
                worst = _run(work(out), interrupted=None)
    except KeyboardInterrupt:
        how = f"suno-async poll {file} --output {output} --resume"
        _fail(f"interrupted; what is known is written. Go on with: {how}", 130)
    raise typer.Exit(worst)


@app.command()
def balance(base_url: BaseUrl = None, as_json: Json = False) -> None:
    """Print the account's credits."""

    async def work() -> float:
        async with SunoClient(base_url=base_url) as suno:
            return await suno.balance()

    credit = _run(work())
    typer.echo(json.dumps({"balance": credit}) if as_json else f"{credit:g}")


def _run(work: Coroutine[Any, Any, T], *, interrupted: str | None = "interrupted") -> T:
    try:
        return asyncio.run(work)
    except SunoError as error:
        _fail(str(error), exit_code(error))
    except KeyboardInterrupt:
        if interrupted is None:
            raise
        _fail(interrupted, 130)


def _fail(message: str, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def _read_ids(file: str) -> list[str]:
    try:
        if file == "-":
            return read_ids(sys.stdin)
        with Path(file).open(encoding="utf-8") as lines:
            return read_ids(lines)
    except (SunoError, OSError, UnicodeDecodeError) as error:
        _fail(f"{file}: {error}", 2)


def _end_last_line(path: Path) -> None:
    """An interrupted run may have left half a line: what follows must not be glued to it."""
    with path.open("rb+") as file:
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            file.write(b"\n")


def _tell(info: TaskInfo, as_json: bool) -> None:
    if as_json:
        typer.echo(info.raw.decode("utf-8", "replace"))
        return
    typer.echo(f"{info.task_id} {info.raw_status}")
    for track in info.tracks:
        typer.echo(f"  {track.title}  {track.suno_audio_url}")


def _tell_outcome(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(row(outcome)).decode())
    elif outcome.error is not None:
        typer.echo(str(outcome.error))
    elif outcome.info is not None:
        _tell(outcome.info, as_json)
