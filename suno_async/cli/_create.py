"""``create``: one song, or a whole file of jobs."""

import functools
import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from suno_async import DownloadError, GenerateMusic, Input, JobOutcome, SunoClient
from suno_async.cli._batch import Batch, ChangedInputError, Plan, digest, plan
from suno_async.cli._common import Stopped, run
from suno_async.cli._exits import HIGHEST, exit_code, exits
from suno_async.cli._files import earlier_steps, inputs_in, make_directory, results
from suno_async.cli._jobs import SPENDING, fetched, jobs, spend
from suno_async.cli._options import fields_of, option, takes
from suno_async.cli._run import Tally
from suno_async.cli._tell import command, fail

_BATCH = [
    option(
        "batch",
        Annotated[
            str | None,
            typer.Option(help="Create each input in this file, JSONL or CSV, and wait for it."),
        ],
    ),
    option(
        "output", Annotated[str, typer.Option(help="Batch: outcomes, JSONL.")], "outcomes.jsonl"
    ),
    option(
        "resume",
        Annotated[bool, typer.Option("--resume", help="Batch: go on with --output.")],
        False,
    ),
    option(
        "resend_unknown",
        Annotated[
            bool,
            typer.Option(
                "--resend-unknown", help="Batch: send what may have been created already again."
            ),
        ],
        False,
    ),
    option(
        "max_pending",
        Annotated[int, typer.Option(min=1, help="Batch: most tasks open at once.")],
        500,
    ),
    option(
        "wait_for_credits",
        Annotated[
            bool,
            typer.Option(
                "--wait-for-credits",
                help="Batch: when credits run out, wait for a top-up instead of stopping.",
            ),
        ],
        False,
    ),
]

commands = typer.Typer()
commands.add_typer(jobs)

#: Options that go with a batch.
_SHARED = ("callback_url", "max_credits", "download", "base_url", "as_json")


@jobs.command(epilog=exits(1, 2, 3, 4, 5, 6) + HIGHEST + " With --resume, earlier ones count.")
@takes(fields_of(GenerateMusic, arguments=("prompt",)), SPENDING, _BATCH)
def create(**given: Any) -> None:  # noqa: ANN401 (the options)
    """Create a song, or with --batch a file of any jobs; costs credits.

    A batch writes what became of each create to OUTPUT.journal before and after it is sent: after
    whatever interruption --resume goes on, polls what was created, and creates nothing twice.
    """
    ours = {each.name: given.pop(each.name) for each in _BATCH}
    file = ours.pop("batch")
    if file is None:
        if wrong := [each.name for each in _BATCH[1:] if ours[each.name] != each.default]:
            fail(f"only with --batch: {', '.join(wrong)}", 2)
        spend(GenerateMusic, given)
        return
    defaults = {each.name: each.default for each in fields_of(GenerateMusic)}
    if wrong := [name for name, default in defaults.items() if given[name] != default]:
        fail(f"not with --batch, whose file tells it: {', '.join(wrong)}", 2)
    _batch(file, **ours, **{name: given[name] for name in _SHARED})


def _batch(
    file: str,
    *,
    output: str,
    resume: bool,
    resend_unknown: bool,
    max_pending: int,
    wait_for_credits: bool,
    callback_url: str | None,
    max_credits: float | None,
    download: Path | None,
    base_url: str | None,
    as_json: bool,
) -> None:
    if "-" in {file, output}:
        fail("a batch spends credits: name files, so that it can go on if interrupted", 2)
    inputs = inputs_in(file)
    digests = [digest(each) for each in inputs]
    if download is not None:
        make_directory(download)
    todo = _plan(file, output, inputs, digests, resume=resume, resend_unknown=resend_unknown)
    summary: dict[str, Any] = {"output": output, "skipped": len(todo.decided)}

    async def work() -> int:
        async with SunoClient(base_url=base_url) as suno:
            tally = Tally(len(todo.create) + len(todo.poll), suno, "batch")
            with results(output) as out, results(f"{output}.journal") as journal:
                try:
                    async with tally.shown():
                        stopped_by = await Batch(suno, inputs, digests, journal).run(
                            todo,
                            tally,
                            out,
                            max_pending=max_pending,
                            callback_url=callback_url,
                            max_credits=max_credits,
                            wait_for_credits=wait_for_credits,
                            fetch=functools.partial(_fetch, suno, tally, download),
                        )
                finally:
                    summary.update(tally.summary())
            if stopped_by is None:
                return tally.worst
            typer.echo(
                f"{stopped_by}\n{tally.total - tally.done} inputs are left: add --resume", err=True
            )
            return max(tally.worst, exit_code(stopped_by))

    worst = 0
    try:
        worst = run(work(), interrupted=None)
    except Stopped as stopped:
        worst = stopped.exit_code
        words = command(
            "create",
            batch=file,
            output=output,
            resume=True,
            max_pending=max_pending,
            wait_for_credits=wait_for_credits,
            callback_url=callback_url,
            max_credits=max_credits,
            download=download,
            base_url=base_url,
            json=as_json,
        )
        hint = f"what is known is written. Go on with:\n{shlex.join(words)}"
        typer.echo(f"interrupted; {hint}", err=True)
    if todo.unknown:
        typer.echo(
            f"{len(todo.unknown)} inputs may have been created by an earlier run, and were left "
            "alone: compare the balance, or add --resend-unknown to create them once more",
            err=True,
        )
    worst = max(worst, 6 if todo.unknown else 0, 1 if "failed" in todo.decided.values() else 0)
    if as_json:
        summary |= {"unknown_before": len(todo.unknown), "exit_code": worst}
        typer.echo(json.dumps(summary))
    raise typer.Exit(worst)


async def _fetch(
    suno: SunoClient, tally: Tally, directory: Path | None, outcome: JobOutcome
) -> None:
    if directory is None or outcome.info is None:
        return
    try:
        async for _ in fetched(suno, outcome.info, directory):
            pass
    except DownloadError as error:
        # The other jobs go on; what was made stays known by its outcome.
        tally.worst = max(tally.worst, exit_code(error))
        typer.echo(str(error), err=True)


def _plan(
    file: str,
    output: str,
    inputs: list[Input],
    digests: list[str],
    *,
    resume: bool,
    resend_unknown: bool,
) -> Plan:
    steps, decided = earlier_steps(output, resume=resume)
    try:
        return plan(digests, steps, decided, resend_unknown=resend_unknown)
    except ChangedInputError as error:
        number = error.index + 1
        fail(
            f"input {number} of {file} is not what it was when {output} was begun "
            f"({len(inputs)} inputs now): inputs may be added at its end, but none changed",
            2,
        )
