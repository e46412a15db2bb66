"""The command ``create``: create one song, or every job in a file (a batch)."""

import json
import shlex
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from suno_async import GenerateMusic, SqliteJournal, SubmissionState, SunoClient
from suno_async.cli.batch import Batch, ChangedInputError, read_run
from suno_async.cli.clients import open_client
from suno_async.cli.creating import CREATE_OPTIONS, create_task
from suno_async.cli.downloads import Downloads
from suno_async.cli.error_lines import print_error
from suno_async.cli.exit_codes import (
    MISSING_FILES,
    SEVERAL,
    exit_code,
    exit_codes_help,
)
from suno_async.cli.file_options import FileOptions
from suno_async.cli.files import check_different, earlier_rows, inputs_in, results_file
from suno_async.cli.options import (
    as_flag,
    field_options,
    option,
    with_parameters,
)
from suno_async.cli.outcome_rows import FINAL
from suno_async.cli.output import command_words, fail, print_interruption, settle_commands
from suno_async.cli.output_lock import output_lock
from suno_async.cli.progress import Progress
from suno_async.cli.running import Stopped, run

_BATCH_OPTIONS = [
    option(
        "batch",
        Annotated[
            str | None,
            typer.Option(help="Create a task for each input in this JSONL or CSV file, and wait."),
        ],
    ),
    option(
        "output",
        Annotated[str, typer.Option(help="Batch: the results file (JSONL).")],
        "outcomes.jsonl",
    ),
    option(
        "journal",
        Annotated[
            Path | None,
            typer.Option(help="Batch: the journal, an SQLite file. Default: OUTPUT.journal."),
        ],
    ),
    option(
        "run_name",
        Annotated[
            str | None,
            typer.Option("--run", help="Batch: name of the run. Default: file name of --output."),
        ],
    ),
    option(
        "account",
        Annotated[
            str | None,
            typer.Option(
                help="Batch: label of the account in the journal. Default: a hash of the key and "
                "the API host."
            ),
        ],
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
                help="Batch: with --resume, send creates with an unknown outcome again. You may "
                "pay twice.",
            ),
        ],
        False,
    ),
    option(
        "max_pending",
        Annotated[int, typer.Option(min=1, help="Batch: maximum number of tasks in progress.")],
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

#: Options of `CREATE_OPTIONS` that also apply to a batch, in addition to those in `FileOptions`.
_SHARED = ("callback_url", "max_credits", "base_url", "as_json")

#: States of create requests that certainly created no task.
_NOT_CREATED = {SubmissionState.REFUSED, SubmissionState.NOT_SENT}

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

    A batch stores each create request in a journal (by default OUTPUT.journal) before it sends the
    request. After an interruption, --resume polls the tasks that were created. It sends the other
    requests, except those whose outcome is unknown. So it creates no task twice, unless you pass
    --resend-unknown.
    """
    batch_options = {each.name: given.pop(each.name) for each in _BATCH_OPTIONS}
    file = batch_options.pop("batch")
    if file is None:
        wrong = [
            as_flag(each.name.removesuffix("_name"))
            for each in _BATCH_OPTIONS[1:]
            if batch_options[each.name] != each.default
        ]
        if wrong:
            fail(f"only with --batch: {', '.join(wrong)}", 2)
        create_task(GenerateMusic, given)
        return
    defaults = {each.name: each.default for each in field_options(GenerateMusic)}
    if wrong := [
        "PROMPT" if name == "prompt" else as_flag(name)
        for name, default in defaults.items()
        if given[name] != default
    ]:
        fail(f"not with --batch, because they are in the file: {', '.join(wrong)}", 2)
    files = FileOptions(**{name: given[name] for name in FileOptions._fields})
    shared = {name: given[name] for name in _SHARED}
    _create_batch(file, files, **batch_options, **shared)


def _create_batch(
    file: str,
    files: FileOptions,
    *,
    output: str,
    journal: Path | None,
    run_name: str | None,
    account: str | None,
    resume: bool,
    resend_unknown: bool,
    base_url: str | None,
    as_json: bool,
    **options: Any,  # noqa: ANN401 (of the pipeline)
) -> None:
    if resend_unknown and not resume:
        fail("--resend-unknown needs --resume: it repeats creates of an earlier run", 2)
    if "-" in {file, output}:
        fail("a batch cannot use stdin or stdout: only named files can be resumed", 2)
    journal_file = journal or Path(f"{output}.journal")
    check_different({"--batch": file, "--output": output, "--journal": str(journal_file)})
    inputs = inputs_in(file)
    files.prepare(base_url)
    summary: dict[str, Any] = {"output": output}
    with output_lock(output):
        batch = Batch(inputs, run_name or Path(output).name, earlier_rows(output, resume=resume))
        summary["skipped"] = len(inputs) - batch.left
        work = _run_batch(
            batch,
            Place(file, output, journal_file, account, base_url),
            files,
            summary,
            resume=resume,
            resend_unknown=resend_unknown,
            **options,
        )
        try:
            worst = run(work, raise_stopped=True)
        except Stopped as stopped:
            worst = stopped.exit_code
            words = command_words(
                "create",
                batch=file,
                output=output,
                journal=journal,
                run=run_name,
                account=account,
                resume=True,
                **files._asdict(),
                base_url=base_url,
                json=as_json,
                **options,
            )
            print_interruption(f"the results so far are in {output}", words)
    if as_json:
        typer.echo(json.dumps(summary | {"exit_code": worst}))
    raise typer.Exit(worst)


class Place(NamedTuple):
    """The files, the account and the host of a batch.

    Attributes:
        file: Path of the file with the inputs.
        output: Path of the results file.
        journal: Path of the journal.
        account: The label of the account in the journal. If None, it is derived from the API key
            and the URL of the API host.
        base_url: Base URL of the API. If None, an environment variable or the default is used.
    """

    file: str
    output: str
    journal: Path
    account: str | None
    base_url: str | None


async def _run_batch(
    batch: Batch,
    place: Place,
    files: FileOptions,
    summary: dict[str, Any],
    *,
    resume: bool,
    resend_unknown: bool,
    **options: Any,  # noqa: ANN401 (of the pipeline)
) -> int:
    """Run or resume a batch: create, poll and download its tasks. Return the exit code."""
    progress = Progress(batch.left, "batch")
    async with open_client(
        place.base_url,
        observer=progress.tasks,
        patient=True,
        journal=place.journal,
        account=place.account,
        allow_hosts=files.allow_host,
    ) as suno:
        unsettled = await _check_run(suno, batch, place, resume=resume)
        downloads = None if files.download is None else Downloads(suno, files)
        with results_file(place.output) as out:
            try:
                async with progress.shown(suno, *([] if downloads is None else [downloads.line])):
                    unknown, stopped_by = await batch.create_and_wait(
                        suno,
                        progress,
                        out,
                        downloads,
                        resend=unsettled if resend_unknown else (),
                        **options,
                    )
            finally:
                summary |= progress.summary()
                if downloads is not None:
                    summary |= downloads.summary()
    summary["unknown"] = len(unknown)
    for index, submission_id in unknown.items():
        settle = settle_commands(submission_id, place.journal)
        message = f"may or may not have been created. Compare the balance, then run: {settle}"
        print_error(message, file=place.file, index=index)
    if downloads is not None and downloads.missing:
        progress.note(MISSING_FILES)
    if stopped_by is not None:
        left = progress.total - sum(progress.states.get(status, 0) for status in FINAL)
        print_error(
            f"{stopped_by}; inputs left: {left}; to continue, run the command with --resume",
            file=place.file,
        )
        progress.note(exit_code(stopped_by))
    return progress.worst


async def _other_label(path: Path, run: str) -> str | None:
    """Return an account label under which a run may have tasks. Return None if there is none."""
    journal = SqliteJournal(path)
    await journal.open(None)
    try:
        runs = await journal.runs()
    finally:
        await journal.close()
    found = (each.account for each in runs if each.run == run and each.states.keys() - _NOT_CREATED)
    return next(found, None)


async def _check_run(suno: SunoClient, batch: Batch, place: Place, *, resume: bool) -> list[str]:
    """Exit if the inputs or the results file do not belong to the run in the journal.

    Also exit if the run may have tasks under another account label, because its inputs would be
    paid again. Without `resume`, also exit if the journal contains the run.

    Returns:
        The ids of the create requests of the run whose outcome is unknown.
    """
    journal = suno.journal
    if journal is None:
        raise AssertionError("a batch has a journal")
    try:
        earlier = await read_run(journal, batch.run, batch.jobs)
    except ChangedInputError as error:
        fail(
            f"changed or missing since run {batch.run} was started, and {place.file} has "
            f"{len(batch.jobs)} inputs now. Add new inputs at the end of the file, and do not "
            "change the other inputs",
            2,
            file=place.file,
            index=error.index,
        )
    if earlier.submitted and not resume:
        fail(
            f"run {batch.run} exists already in {place.journal}: add --resume to continue it, or "
            "choose another --run",
            2,
        )
    if not earlier.submitted and (label := await _other_label(place.journal, batch.run)):
        rebind = command_words("runs rebind", label, suno.account, journal=place.journal)
        fail(
            f"run {batch.run} exists in {place.journal} under the account label {label}, but the "
            f"label is {suno.account} now, and every input would be paid again. To continue the "
            f"run, use the same key and host, or --account {label}, or, for a new key of the same "
            f"account, {shlex.join(rebind)}. To start another run, choose another --run",
            2,
        )
    if not earlier.submitted and batch.left < len(batch.jobs):
        fail(
            f"{place.output} has results, but {place.journal} has no run {batch.run} of this "
            "account: give the --journal and --run of these results (after a change of the key, "
            "see runs rebind)",
            2,
        )
    return list(earlier.unknown.values())
