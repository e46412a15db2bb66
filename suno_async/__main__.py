"""Run ``suno-async`` as ``python -m suno_async``."""

from suno_async.cli import main

main()
