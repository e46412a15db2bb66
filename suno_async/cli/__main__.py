"""``python -m suno_async.cli``: the same as ``suno-async``."""

from suno_async.cli import main

main()
