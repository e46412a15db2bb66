"""The command ``create``: one song, or a batch of any jobs from a file."""

import functools
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from suno_async import DownloadError, GenerateMusic, SunoClient, TaskInfo
from suno_async.cli.batch import Batch
from suno_async.cli.batch_plan import ChangedInputError, Plan, digest, plan_batch
from suno_async.cli.creating import CREATE_OPTIONS, create_task
from suno_async.cli.downloads import download_files
from suno_async.cli.error_lines import print_error, print_suno_error
from suno_async.cli.exit_codes import HIGHEST, exit_code, exit_codes_help
from suno_async.cli.files import earlier_steps, inputs_in, make_directory, results_file
from suno_async.cli.options import field_options, option, with_parameters
from suno_async.cli.output import command_words, fail, print_interruption
from suno_async.cli.progress import Progress
from suno_async.cli.running import Stopped, run

_BATCH_OPTIONS = [
    option(
        "batch",
        Annotated[
            str | None,
            typer.Option(help="Create each input in this JSONL or CSV file, and wait for it."),
        ],
    ),
    option(
        "output",
        Annotated[str, typer.Option(help="Batch: results file, JSONL.")],
        "outcomes.jsonl",
    ),
    option(
        "resume",
        Annotated[
            bool, typer.Option("--resume", help="Batch: continue the run that wrote --output.")
        ],
        False,
    ),
    option(
        "resend_unknown",
        Annotated[
            bool,
            typer.Option(
                "--resend-unknown",
                help="Batch: also create the inputs that an earlier run may have created.",
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
                help="Batch: when the credits run out, wait for a top-up instead of stopping.",
            ),
        ],
        False,
    ),
]

#: Options of `CREATE_OPTIONS` that also apply to a batch.
_SHARED = ("callback_url", "max_credits", "download", "base_url", "as_json")

commands = typer.Typer()


@commands.command(
    epilog=exit_codes_help(1, 2, 3, 4, 5, 6)
    + HIGHEST
    + " With --resume, earlier results count too."
)
@with_parameters(
    field_options(GenerateMusic, arguments=("prompt",)), CREATE_OPTIONS, _BATCH_OPTIONS
)
def create(**given: Any) -> None:  # noqa: ANN401 (the options)
    """Create a song, or with --batch every job in a file. Costs credits.

    A batch writes to OUTPUT.journal before and after it sends each create. After an interruption,
    --resume polls the tasks that were created, and never creates one twice.
    """
    batch_options = {each.name: given.pop(each.name) for each in _BATCH_OPTIONS}
    file = batch_options.pop("batch")
    if file is None:
        wrong = [
            each.name for each in _BATCH_OPTIONS[1:] if batch_options[each.name] != each.default
        ]
        if wrong:
            fail(f"only with --batch: {', '.join(wrong)}", 2)
        create_task(GenerateMusic, given)
        return
    defaults = {each.name: each.default for each in field_options(GenerateMusic)}
    if wrong := [name for name, default in defaults.items() if given[name] != default]:
        fail(f"not with --batch, because they are in the file: {', '.join(wrong)}", 2)
    _create_batch(file, **batch_options, **{name: given[name] for name in _SHARED})


def _create_batch(
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
        fail("a batch cannot use stdin or stdout: only named files can be resumed", 2)
    inputs = inputs_in(file)
    digests = [digest(each) for each in inputs]
    if download is not None:
        make_directory(download)
    plan = _plan(file, output, digests, resume=resume, resend_unknown=resend_unknown)
    summary: dict[str, Any] = {"output": output, "skipped": len(plan.final)}

    async def work() -> int:
        async with SunoClient(base_url=base_url) as suno:
            progress = Progress(len(plan.create) + len(plan.poll), suno, "batch")
            with results_file(output) as out, results_file(f"{output}.journal") as journal:
                try:
                    async with progress.shown():
                        stopped_by = await Batch(suno, inputs, digests, journal).run(
                            plan,
                            progress,
                            out,
                            max_pending=max_pending,
                            callback_url=callback_url,
                            max_credits=max_credits,
                            wait_for_credits=wait_for_credits,
                            on_success=functools.partial(_download, suno, progress, download),
                        )
                finally:
                    summary.update(progress.summary())
            if stopped_by is None:
                return progress.worst
            left = progress.total - progress.done
            print_error(f"{stopped_by}; {left} inputs are left: add --resume", file=file)
            return max(progress.worst, exit_code(stopped_by))

    worst = 0
    try:
        worst = run(work(), raise_stopped=True)
    except Stopped as stopped:
        worst = stopped.exit_code
        words = command_words(
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
        print_interruption(f"the results so far are in {output}", words)
    for index in plan.unknown:
        print_error(
            "an earlier run may have created this input, so it was skipped: compare the balance, "
            "or add --resend-unknown to create it again",
            file=file,
            index=index,
        )
    worst = max(worst, 6 if plan.unknown else 0, 1 if "failed" in plan.final.values() else 0)
    if as_json:
        summary |= {"unknown_before": len(plan.unknown), "exit_code": worst}
        typer.echo(json.dumps(summary))
    raise typer.Exit(worst)


async def _download(
    suno: SunoClient, progress: Progress, directory: Path | None, info: TaskInfo
) -> None:
    if directory is None:
        return
    try:
        async for _ in download_files(suno, info, directory):
            pass
    except DownloadError as error:
        # The other jobs continue. The results file has the URLs of this one.
        progress.worst = max(progress.worst, exit_code(error))
        print_suno_error(error, task_id=info.task_id)


def _plan(
    file: str, output: str, digests: list[str], *, resume: bool, resend_unknown: bool
) -> Plan:
    steps, final = earlier_steps(output, resume=resume)
    try:
        return plan_batch(digests, steps, final, resend_unknown=resend_unknown)
    except ChangedInputError as error:
        fail(
            f"changed or missing since {output} was started, and {file} has {len(digests)} inputs "
            "now. Add new inputs at the end of the file, and leave the others as they were",
            2,
            file=file,
            index=error.index,
        )
