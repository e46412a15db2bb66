"""The command-line program as one typer app."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from suno_async import __version__
from suno_async.cli import (
    create_command,
    download_command,
    job_commands,
    poll_command,
    polling_commands,
    runs_commands,
    sandbox_commands,
    service_commands,
)
from suno_async.cli.error_lines import print_error
from suno_async.cli.exit_codes import exit_codes_help
from suno_async.cli.program import program_words
from suno_async.cli.running import os_errors
from suno_async.cli.verbosity import Quiet, Verbose, log_on_stderr, set_verbosity, with_verbosity

app = typer.Typer(
    help="Create and poll Suno music jobs within one request budget.",
    epilog="The key comes from SUNO_API_KEY or CRUN_API_KEY. "
    + exit_codes_help(1, 2, 3, 4, 5, 6, 7),
    no_args_is_help=True,
    # Local variables in a traceback could show the key.
    pretty_exceptions_enable=False,
)

for _module in (
    sandbox_commands,
    create_command,
    job_commands,
    polling_commands,
    poll_command,
    download_command,
    runs_commands,
    service_commands,
):
    for _command in _module.commands.registered_commands:
        if _command.callback is not None:
            _command.callback = with_verbosity(os_errors()(_command.callback))
    app.add_typer(_module.commands, name=_module.commands.info.name)

# The base class of all usage errors. Typer has no public name for it, only for BadParameter.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"suno-async {__version__}")
        raise typer.Exit


@app.callback()
def global_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Apply the options that are given before the name of the command."""
    del version  # `_print_version` handles this option.
    set_verbosity(quiet=quiet, verbose=verbose)


def run_app() -> None:
    """Run the command line, and print usage errors in the same form as all other errors."""
    program = " ".join(program_words())
    _repair_streams()
    try:
        with log_on_stderr():
            code = app(prog_name=program, standalone_mode=False)
    except _UsageError as error:
        # The message is empty if typer has printed the help, because no command was given.
        if message := error.format_message():
            help_command = f"{error.ctx.command_path if error.ctx else program} --help"
            print_error(f"{message.rstrip('.')} (see {help_command})")
        sys.exit(error.exit_code)
    sys.exit(code or 0)


def _repair_streams() -> None:
    """Replace closed standard streams, and let stdout escape characters that it cannot encode."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            null = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 (open until the end)
            setattr(sys, name, null)
    stdout: Any = sys.stdout
    # The stream may have been replaced by another kind. In the locale C, Python prints the names of
    # files unchanged, whatever their bytes are.
    if hasattr(stdout, "reconfigure") and stdout.errors == "strict":
        stdout.reconfigure(errors="backslashreplace")
