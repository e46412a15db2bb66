"""The public types. mypy and pyright check these files; nothing executes them."""
