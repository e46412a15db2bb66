"""The command line ``suno-async``. It needs the extra ``[cli]`` and uses only the public API."""

from __future__ import annotations

import sys


def main() -> None:
    """Run ``suno-async``."""
    try:
        from suno_async.cli.app import run_app  # noqa: PLC0415 (the extra may be missing)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"typer", "rich"}:
            raise
        from suno_async.cli.error_lines import print_error  # noqa: PLC0415 (only needed here)

        print_error("suno-async needs its extra: pip install 'suno-async[cli]'")
        sys.exit(2)
    run_app()
