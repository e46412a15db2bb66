"""Run ``suno-async`` as ``python -m suno_async.cli``."""

from suno_async.cli import main

main()
