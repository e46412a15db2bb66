"""Check the Python blocks of the README and the documentation with mypy and pyright in strict mode.

Run this module as ``python -m tests.docs.typecheck``. Every block is checked as a separate file.
Errors show the line numbers of the page that contains the block.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.docs.blocks import ROOT, Block, blocks


def main() -> int:
    """Run mypy and pyright on all code blocks. Return the higher of their exit codes."""
    checked = blocks()
    with tempfile.TemporaryDirectory() as folder:
        for block in checked:
            (Path(folder) / _file_name(block)).write_text(block.source, "utf-8")
        configuration = {
            "typeCheckingMode": "strict",
            "include": ["."],
            "extraPaths": [str(ROOT)],
            "venvPath": str(ROOT),
            "venv": ".venv",
        }
        (Path(folder) / "pyrightconfig.json").write_text(json.dumps(configuration), "utf-8")
        results = [
            subprocess.run([sys.executable, "-m", *command], cwd=folder, check=False).returncode  # noqa: S603 (our own commands)
            for command in (
                ("mypy", "--strict", "--config-file=", "."),
                ("pyright", "--project", "."),
            )
        ]
    print(f"{len(checked)} blocks of the documentation checked")
    return max(results)


def _file_name(block: Block) -> str:
    page = block.page.removesuffix(".md").replace("/", "_").replace("-", "_").lower()
    return f"{page}_{block.line}.py"


if __name__ == "__main__":
    sys.exit(main())
