"""The commands of ``suno-async``."""

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import IO, Annotated, Any, Literal, NoReturn, TypeVar, cast

import typer

from suno_async import (
    APIError,
    AuthenticationError,
    GenerateMusic,
    InvalidInputError,
    ResponseError,
    SunoClient,
    SunoError,
)
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

T = TypeVar("T")

app = typer.Typer(
    help="Suno music jobs at scale, on one request budget.",
    epilog="The key comes from SUNO_API_KEY or CRUN_API_KEY. " + exits(1, 2, 3, 4, 5, 6, 130),
    no_args_is_help=True,
    # Local variables in a traceback could show the key.
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BaseUrl = Annotated[str | None, typer.Option(help="API host; else SUNO_BASE_URL.")]
Timeout = Annotated[float | None, typer.Option(min=0.1, help="Seconds to wait at most.")]
TaskIds = Annotated[list[str], typer.Argument(help="Task ids.")]


@app.command("demo", epilog=exits(2, 5, 130, success="every song's outcome is known"))
def demo_command(
    songs: Annotated[int, typer.Option(min=1)] = 240,
    directory: Annotated[Path, typer.Option(help="For results and audio.")] = Path("demo-output"),
    seed: int = 1,
    as_json: Json = False,
) -> None:
    """Run the main job on the built-in sandbox: no key, no network, under a minute."""
    make_directory(directory / "audio")
    figures = _run(run_demo(songs, directory, seed))
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        show(figures)
    raise typer.Exit(5 if figures["undecided"] else 0)


@app.command(epilog=exits(2, 130, success="never: it serves until Ctrl-C"))
def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8815,
    seed: int = 0,
    time_scale: Annotated[float, typer.Option(help="Divides the jobs' durations.")] = 1.0,
    failure_share: float = 0.03,
    endless_share: float = 0.0,
    as_json: Json = False,
) -> None:
    """Serve the sandbox until Ctrl-C; then tell what it counted."""

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
            await server.start()
            tell_place(server, as_json=as_json)
            await asyncio.Event().wait()
        except OSError as error:
            fail(f"cannot listen on {host}, port {port}: {reason(error)}", 2)
        finally:
            await server.stop()
            if server.url:
                tell_counts(server, as_json=as_json)

    _run(serve())


@app.command(epilog=exits(1, 2, 3, 4, 5, 6, 130))
def create(
    prompt: Annotated[str | None, typer.Argument(help="What the song should be.")] = None,
    title: str | None = None,
    tags: Annotated[str | None, typer.Option(help="Style tags, separated by commas.")] = None,
    lyrics: str | None = None,
    instrumental: Annotated[bool, typer.Option("--instrumental", help="No vocals.")] = False,
    model: Annotated[str, typer.Option(help="Such as v5.5 or v5; a newer one passes.")] = "v5",
    mode: Annotated[
        Literal["simple", "custom"] | None,
        typer.Option(help="If not given: custom with a title, tags or lyrics, else simple."),
    ] = None,
    vocal_gender: Literal["m", "f"] | None = None,
    style_weight: Annotated[float | None, typer.Option(help="0 to 1.")] = None,
    weirdness_constraint: Annotated[float | None, typer.Option(help="0 to 1.")] = None,
    negative_tags: Annotated[str | None, typer.Option(help="Styles to keep away from.")] = None,
    persona_id: Annotated[str | None, typer.Option(help="A persona made before.")] = None,
    extra: Annotated[
        str | None, typer.Option(help="Newer fields of the input, as a JSON object.")
    ] = None,
    callback_url: str | None = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the song.")] = False,
    download: Annotated[Path | None, typer.Option(help="Wait, and fetch the audio here.")] = None,
    base_url: BaseUrl = None,
    as_json: Json = False,
) -> None:
    """Create a song; costs credits."""
    job = GenerateMusic(
        prompt=prompt,
        title=title,
        tags=tags,
        lyrics=lyrics,
        instrumental=instrumental,
        model=model,
        mode=mode,
        vocal_gender=vocal_gender,
        style_weight=style_weight,
        weirdness_constraint=weirdness_constraint,
        negative_tags=negative_tags,
        persona_id=persona_id,
        extra=_object("--extra", extra),
    )
    if download is not None:
        make_directory(download)

    async def work() -> None:
        async with SunoClient(base_url=base_url) as suno:
            task = await suno.create(job, callback_url=callback_url)
            # First of all the id: whatever comes, what was paid for can be found again.
            typer.echo(json.dumps({"task_id": task.id}) if as_json else task.id)
            if not wait and download is None:
                return
            info = await task
            tell(info, as_json=as_json)
            for track in info.tracks if download is not None else ():
                path = str(await suno.download(track, download or "."))
                typer.echo(json.dumps({"file": path}) if as_json else path)

    _run(work())


@app.command(
    epilog=exits(2, 3, 5, 130, success="all were answered, whatever their status") + HIGHEST
)
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

    raise typer.Exit(_run(work()))


@app.command(epilog=exits(1, 2, 3, 5, 130) + HIGHEST)
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

    raise typer.Exit(_run(work()))


@app.command(epilog=exits(1, 2, 3, 5, 130) + HIGHEST + " With --resume, earlier failures count.")
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
            worst = _run(work(out), interrupted=None)
    except KeyboardInterrupt:
        hint = how_to_go_on(file, output, timeout=timeout, base_url=base_url, as_json=as_json)
        typer.echo(f"interrupted; {hint}", err=True)
        end(130)
    end(max(worst, 1 if "failed" in known else 0))


@app.command(epilog=exits(2, 3, 5, 130))
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
        fail(str(error), exit_code(error))
    except KeyboardInterrupt:
        if interrupted is None:
            raise
        fail(interrupted, 130)
    except BrokenPipeError:
        raise  # typer's: whoever read the output has left, and wants to hear no more
    except OSError as error:
        fail(f"{error.filename or 'cannot write'}: {reason(error)}", 5)


def _object(option: str, text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value: object = json.loads(text)
    except ValueError as error:
        fail(f"{option}: not JSON: {error}", 2)
    if not isinstance(value, dict):
        fail(f"{option}: must be a JSON object", 2)
    return cast("dict[str, Any]", value)
