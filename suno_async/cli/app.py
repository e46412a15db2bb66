"""The command line as one typer app."""

import sys
from typing import cast

import typer

from suno_async.cli import (
    create_command,
    job_commands,
    polling_commands,
    sandbox_commands,
    service_commands,
)
from suno_async.cli.error_lines import print_error
from suno_async.cli.exit_codes import exit_codes_help

app = typer.Typer(
    help="Create and poll Suno music jobs within one request budget.",
    epilog="The key comes from SUNO_API_KEY or CRUN_API_KEY. " + exit_codes_help(1, 2, 3, 4, 5, 6),
    no_args_is_help=True,
    # Local variables in a traceback could show the key.
    pretty_exceptions_enable=False,
)

for _module in (
    sandbox_commands,
    create_command,
    job_commands,
    polling_commands,
    service_commands,
):
    app.add_typer(_module.commands)

# The base of all usage errors. BadParameter is the only one with a public name in typer.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)


def run_app() -> None:
    """Run the command line, and print usage errors in the same form as all other errors."""
    try:
        code = app(prog_name="suno-async", standalone_mode=False)
    except _UsageError as error:
        # The message is empty if typer has printed the help, because no command was given.
        if message := error.format_message():
            help_command = f"{error.ctx.command_path if error.ctx else 'suno-async'} --help"
            print_error(f"{message.rstrip('.')} (see {help_command})")
        sys.exit(error.exit_code)
    sys.exit(code or 0)
