"""The command ``create``: one song, or a batch of any jobs from a file."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from suno_async import GenerateMusic
from suno_async.cli.batch import Batch
from suno_async.cli.batch_plan import ChangedInputError, Plan, digest, plan_batch
from suno_async.cli.clients import open_client
from suno_async.cli.creating import CREATE_OPTIONS, create_task
from suno_async.cli.downloads import Downloads
from suno_async.cli.error_lines import print_error
from suno_async.cli.exit_codes import (
    MISSING_FILES,
    SEVERAL,
    exit_code,
    exit_codes_help,
    most_serious,
)
from suno_async.cli.files import (
    earlier_infos,
    earlier_steps,
    inputs_in,
    make_directory,
    results_file,
)
from suno_async.cli.options import field_options, option, with_parameters
from suno_async.cli.output import command_words, fail, print_interruption
from suno_async.cli.output_lock import output_lock
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
    epilog=exit_codes_help(1, 2, 3, 4, 5, 6, 7)
    + SEVERAL
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
    with output_lock(output):
        plan = _plan(file, output, digests, resume=resume, resend_unknown=resend_unknown)
        summary: dict[str, Any] = {"output": output, "skipped": len(plan.final)}
        work = _run_batch(
            file,
            Batch(inputs, digests),
            plan,
            summary,
            output=output,
            download=download,
            base_url=base_url,
            max_pending=max_pending,
            wait_for_credits=wait_for_credits,
            callback_url=callback_url,
            max_credits=max_credits,
        )
        try:
            worst = run(work, raise_stopped=True)
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
    worst = most_serious(
        worst, 6 if plan.unknown else 0, 1 if "failed" in plan.final.values() else 0
    )
    if as_json:
        summary |= {"unknown_before": len(plan.unknown), "exit_code": worst}
        typer.echo(json.dumps(summary))
    raise typer.Exit(worst)


async def _run_batch(
    file: str,
    batch: Batch,
    plan: Plan,
    summary: dict[str, Any],
    *,
    output: str,
    download: Path | None,
    base_url: str | None,
    **options: Any,  # noqa: ANN401 (passed on)
) -> int:
    """Create, poll and download what is left to do. Return the exit code."""
    progress = Progress(len(plan.create) + len(plan.poll), "batch", task_ids=plan.poll)
    earlier = earlier_infos(output) if download is not None and plan.final else []
    async with open_client(base_url, observer=progress.tasks, patient=True) as suno:
        downloads = None if download is None else Downloads(suno, download)
        with results_file(output) as out, results_file(f"{output}.journal") as journal:
            try:
                async with progress.shown(suno, *([] if downloads is None else [downloads.line])):
                    stopped_by = await batch.run(
                        suno, plan, progress, out, journal, downloads, earlier, **options
                    )
            finally:
                summary |= progress.summary()
                if downloads is not None:
                    summary |= downloads.summary()
    if downloads is not None and downloads.missing:
        progress.note(MISSING_FILES)
    if stopped_by is not None:
        left = progress.total - progress.done
        print_error(f"{stopped_by}; {left} inputs are left: add --resume", file=file)
        progress.note(exit_code(stopped_by))
    return progress.worst


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
