"""The commands of ``suno-async``."""

import asyncio
import json
import sys
from pathlib import Path
from typing import IO, Annotated, Any, NoReturn

import typer

from suno_async import (
    APIError,
    AuthenticationError,
    InvalidInputError,
    ResponseError,
    SunoClient,
)
from suno_async.cli._common import BaseUrl, Json, Stopped, TaskIds, Timeout, run
from suno_async.cli._create import commands
from suno_async.cli._demo import demo as run_demo
from suno_async.cli._demo import show
from suno_async.cli._exits import HIGHEST, exit_code, exits
from suno_async.cli._files import earlier_states, ids_in, make_directory, reason, results
from suno_async.cli._run import Tally, drain
from suno_async.cli._tell import (
    fail,
    how_to_go_on,
    tell,
    tell_counts,
    tell_error,
    tell_outcome,
    tell_place,
)
from suno_async.sandbox import Sandbox

app = typer.Typer(
    help="Suno music jobs at scale, on one request budget.",
    epilog="The key comes from SUNO_API_KEY or CRUN_API_KEY. " + exits(1, 2, 3, 4, 5, 6),
    no_args_is_help=True,
    # Local variables in a traceback could show the key.
    pretty_exceptions_enable=False,
)

app.add_typer(commands)


@app.command("demo", epilog=exits(2, 5, success="every song's outcome is known"))
def demo_command(
    songs: Annotated[int, typer.Option(min=1)] = 240,
    directory: Annotated[Path, typer.Option(help="For results and audio.")] = Path("demo-output"),
    seed: int = 1,
    as_json: Json = False,
) -> None:
    """Run the main job on the built-in sandbox: no key, no network, under a minute."""
    make_directory(directory / "audio")
    figures = run(run_demo(songs, directory, seed))
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        show(figures)
    raise typer.Exit(5 if figures["undecided"] else 0)


@app.command(epilog=exits(2, success="never: it serves until Ctrl-C or SIGTERM"))
def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8815,
    seed: int = 0,
    time_scale: Annotated[float, typer.Option(help="Divides the jobs' durations.")] = 1.0,
    failure_share: float = 0.03,
    endless_share: float = 0.0,
    as_json: Json = False,
) -> None:
    """Serve the sandbox until Ctrl-C or SIGTERM; then print its counts.

    Both signals also end it as a background job of a shell.
    """

    async def serve() -> None:
        server = Sandbox(
            host=host,
            port=port,
            seed=seed,
            time_scale=time_scale,
            failure_share=failure_share,
            endless_share=endless_share,
        )
        try:
            try:
                await server.start()
            except OSError as error:
                fail(f"cannot listen on {host}, port {port}: {reason(error)}", 2)
            tell_place(server, as_json=as_json)
            await asyncio.Event().wait()
        finally:
            await server.stop()
            if server.url:
                tell_counts(server, as_json=as_json)

    run(serve())


@app.command(epilog=exits(2, 3, 5, success="all were answered, whatever their status") + HIGHEST)
def status(task_ids: TaskIds, base_url: BaseUrl = None, as_json: Json = False) -> None:
    """Ask once about each task, now."""

    async def work() -> int:
        worst = 0
        async with SunoClient(base_url=base_url) as suno:
            for task_id in task_ids:
                try:
                    tell(await suno.task_info(task_id), as_json=as_json)
                except AuthenticationError:
                    raise
                # An answer about one id says nothing of the next; no answer at all does.
                except (APIError, ResponseError, InvalidInputError) as error:
                    worst = max(worst, exit_code(error))
                    tell_error(task_id, error, as_json=as_json)
        return worst

    raise typer.Exit(run(work()))


@app.command(epilog=exits(1, 2, 3, 5) + HIGHEST)
def wait(
    task_ids: TaskIds, timeout: Timeout = None, base_url: BaseUrl = None, as_json: Json = False
) -> None:
    """Wait until each task has ended; print its outcome when it does."""

    async def work() -> int:
        worst = 0
        async with SunoClient(base_url=base_url) as suno:
            async for outcome in suno.as_completed(task_ids, timeout=timeout):
                worst = max(worst, exit_code(outcome.error))
                tell_outcome(outcome, as_json=as_json)
        return worst

    raise typer.Exit(run(work()))


@app.command(epilog=exits(1, 2, 3, 5) + HIGHEST + " With --resume, earlier failures count.")
def poll(
    file: Annotated[str, typer.Argument(help="Ids as text, CSV or JSONL; - for stdin.")],
    output: Annotated[str, typer.Option(help="JSONL; - for stdout.")] = "results.jsonl",
    resume: Annotated[bool, typer.Option("--resume", help="Skip what --output holds.")] = False,
    timeout: Timeout = None,
    base_url: BaseUrl = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON summary; on stderr with --output -.")
    ] = False,
) -> None:
    """Poll thousands of tasks together; write each result the moment it comes."""
    wanted = ids_in(file)
    earlier = earlier_states(output, resume=resume)
    ids = [each for each in wanted if each not in earlier]
    known = [earlier[each] for each in wanted if each in earlier]
    summary: dict[str, Any] = {"output": output, "skipped": len(known)}

    async def work(out: IO[str]) -> int:
        async with SunoClient(base_url=base_url) as suno:
            plain = out is sys.stdout and sys.stdout.isatty()
            tally = Tally(len(ids), suno, plain=plain)
            try:
                async with tally.shown():
                    await drain(suno.as_completed(ids, timeout=timeout), tally, out)
            finally:
                summary.update(tally.summary())
        return tally.worst

    def end(code: int) -> NoReturn:
        if as_json:
            typer.echo(json.dumps(summary | {"exit_code": code}), err=output == "-")
        raise typer.Exit(code)

    try:
        with results(output) as out:
            worst = run(work(out), interrupted=None)
    except Stopped as stopped:
        hint = how_to_go_on(file, output, timeout=timeout, base_url=base_url, as_json=as_json)
        typer.echo(f"interrupted; {hint}", err=True)
        end(stopped.exit_code)
    end(max(worst, 1 if "failed" in known else 0))


@app.command(epilog=exits(2, 3, 5))
def balance(base_url: BaseUrl = None, as_json: Json = False) -> None:
    """Print the account's credits."""

    async def work() -> float:
        async with SunoClient(base_url=base_url) as suno:
            return await suno.balance()

    credit = run(work())
    typer.echo(json.dumps({"balance": credit}) if as_json else f"{credit:g}")
