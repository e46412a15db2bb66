"""The commands for tasks that exist: status, wait and poll."""

import json
import sys
from typing import IO, Annotated, Any, NoReturn

import typer

from suno_async import (
    APIError,
    AuthenticationError,
    InvalidInputError,
    ResponseError,
    SunoClient,
    check_task_id,
)
from suno_async.cli.error_lines import print_suno_error
from suno_async.cli.exit_codes import HIGHEST, exit_code, exit_codes_help
from suno_async.cli.files import earlier_statuses, ids_in, results_file
from suno_async.cli.options import BaseUrl, Json, TaskIds, Timeout
from suno_async.cli.output import (
    command_words,
    errors_about,
    print_info,
    print_interruption,
    print_outcome,
)
from suno_async.cli.progress import Progress
from suno_async.cli.running import Stopped, run

commands = typer.Typer()


@commands.command(
    epilog=exit_codes_help(2, 3, 5, success="every task was found, whatever its status") + HIGHEST
)
def status(task_ids: TaskIds, base_url: BaseUrl = None, as_json: Json = False) -> None:
    """Print the current status of each task, with one request per task."""

    async def work() -> int:
        worst = 0
        async with SunoClient(base_url=base_url) as suno:
            for task_id in task_ids:
                try:
                    print_info(await suno.task_info(task_id), as_json=as_json)
                except AuthenticationError:
                    raise
                # These errors concern one id. Others, such as no connection, concern all of them.
                except (APIError, ResponseError, InvalidInputError) as error:
                    worst = max(worst, exit_code(error))
                    print_suno_error(error, task_id=task_id)
        return worst

    raise typer.Exit(run(work()))


@commands.command(epilog=exit_codes_help(1, 2, 3, 5) + HIGHEST)
def wait(
    task_ids: TaskIds, timeout: Timeout = None, base_url: BaseUrl = None, as_json: Json = False
) -> None:
    """Wait until each task has ended, and print each outcome as it arrives."""
    for task_id in task_ids:
        with errors_about(task_id=task_id):
            check_task_id(task_id)

    async def work() -> int:
        worst = 0
        async with SunoClient(base_url=base_url) as suno:
            async for outcome in suno.as_completed(task_ids, timeout=timeout):
                worst = max(worst, exit_code(outcome.error))
                print_outcome(outcome, as_json=as_json)
        return worst

    raise typer.Exit(run(work()))


@commands.command(
    epilog=exit_codes_help(1, 2, 3, 5) + HIGHEST + " With --resume, earlier results count too."
)
def poll(
    file: Annotated[str, typer.Argument(help="Ids as text, CSV or JSONL; - for stdin.")],
    output: Annotated[
        str, typer.Option(help="Results file, JSONL; - for stdout.")
    ] = "results.jsonl",
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip the tasks whose results --output contains.")
    ] = False,
    timeout: Timeout = None,
    base_url: BaseUrl = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print a JSON summary, on stderr with --output -. Errors are JSON too."
        ),
    ] = False,
) -> None:
    """Poll thousands of tasks together, and write each result as it arrives."""
    wanted = ids_in(file)
    earlier = earlier_statuses(output, resume=resume)
    ids = [each for each in wanted if each not in earlier]
    known = [earlier[each] for each in wanted if each in earlier]
    summary: dict[str, Any] = {"output": output, "skipped": len(known)}

    async def work(out: IO[str]) -> int:
        async with SunoClient(base_url=base_url) as suno:
            plain = out is sys.stdout and sys.stdout.isatty()
            progress = Progress(len(ids), suno, plain=plain)
            try:
                async with progress.shown():
                    await progress.record_all(suno.as_completed(ids, timeout=timeout), out)
            finally:
                summary.update(progress.summary())
        return progress.worst

    def end(code: int) -> NoReturn:
        if as_json:
            typer.echo(json.dumps(summary | {"exit_code": code}), err=output == "-")
        raise typer.Exit(code)

    try:
        with results_file(output) as out:
            worst = run(work(out), raise_stopped=True)
    except Stopped as stopped:
        hint, words = how_to_resume(
            file, output, timeout=timeout, base_url=base_url, as_json=as_json
        )
        print_interruption(hint, words)
        end(stopped.exit_code)
    end(max(worst, 1 if "failed" in known else 0))


def how_to_resume(
    file: str, output: str, *, timeout: float | None, base_url: str | None, as_json: bool
) -> tuple[str, list[str] | None]:
    """Return what to do after an interrupted ``poll``.

    Returns:
        A hint, and the words of the command that resumes; None if there is no such command.
    """
    if output == "-":
        return "the results went to stdout, so this run cannot be resumed", None
    hint = f"the results so far are in {output}"
    if file == "-":
        return f"{hint}. The ids came from stdin: save them in a file to resume", None
    words = command_words(
        "poll", output=output, resume=True, timeout=timeout, base_url=base_url, json=as_json
    )
    # Without "--", a name that starts with a dash would be an option.
    return hint, [*words, "--", file] if file.startswith("-") else [*words, file]
