"""The commands ``status`` and ``wait``, for tasks that already exist."""

import typer

from suno_async import (
    APIError,
    AuthenticationError,
    InvalidInputError,
    ResponseError,
    check_task_id,
)
from suno_async.cli.clients import open_client
from suno_async.cli.error_lines import print_suno_error
from suno_async.cli.exit_codes import SEVERAL, exit_code, exit_codes_help, most_serious
from suno_async.cli.options import Account, BaseUrl, JournalFile, Json, TaskIds, Timeout
from suno_async.cli.output import errors_about, print_info, print_outcome
from suno_async.cli.running import run

commands = typer.Typer()


@commands.command(
    epilog=exit_codes_help(2, 3, 5, success="every task was found, whatever its status") + SEVERAL
)
def status(task_ids: TaskIds, base_url: BaseUrl = None, as_json: Json = False) -> None:
    """Print the current status of each task. Needs one request per task, or more after errors."""

    async def work() -> int:
        worst = 0
        async with open_client(base_url) as suno:
            for task_id in task_ids:
                try:
                    print_info(await suno.task_info(task_id), as_json=as_json)
                except AuthenticationError:
                    raise
                # These errors concern one id. Other errors (such as no connection) concern all ids.
                except (APIError, ResponseError, InvalidInputError) as error:
                    worst = most_serious(worst, exit_code(error))
                    print_suno_error(error, task_id=task_id)
        return worst

    raise typer.Exit(run(work()))


@commands.command(epilog=exit_codes_help(1, 2, 3, 5) + SEVERAL)
def wait(
    task_ids: TaskIds,
    timeout: Timeout = None,
    journal: JournalFile = None,
    account: Account = None,
    base_url: BaseUrl = None,
    as_json: Json = False,
) -> None:
    """Wait for the tasks to end, and print each outcome as soon as it arrives."""
    for task_id in task_ids:
        with errors_about(task_id=task_id):
            check_task_id(task_id)

    async def work() -> int:
        worst = 0
        async with open_client(base_url, patient=True, journal=journal, account=account) as suno:
            async for outcome in suno.as_completed(task_ids, timeout=timeout):
                worst = most_serious(worst, exit_code(outcome.error))
                print_outcome(outcome, as_json=as_json)
        return worst

    raise typer.Exit(run(work()))
