"""A lock that lets only one process at a time write an output file."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from suno_async.cli.output import fail, system_message

if TYPE_CHECKING:
    from collections.abc import Generator


@contextlib.contextmanager
def output_lock(output: str) -> Generator[None]:
    """Lock an output file within the block. Exit if another process has locked the file.

    The lock is on the separate file ``OUTPUT.lock``. The operating system releases the lock when
    the process ends.

    Args:
        output: Path of the output file. Nothing is locked for stdout (``-``), a pipe or a device.
    """
    # All names of one file, such as symbolic links, share one lock.
    path = Path(os.path.realpath(output))
    try:
        needs_lock = output != "-" and (path.is_file() or not path.exists())
        has_parent = path.parent.is_dir()
    except OSError as error:
        fail(f"cannot write {output}: {system_message(error)}", 2, file=output)
    if not needs_lock:
        yield
        return
    if not has_parent:  # FileLock would create it.
        fail(f"cannot write {output}: create the directory first", 2, file=output)
    owner = path.with_name(f"{path.name}.lock.pid")
    # Do not remove this file: two processes could then lock two different files of this name.
    lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        fail(
            f"{_process(owner)} is writing {output}: wait for its end, or choose another --output",
            2,
            file=output,
        )
    except OSError as error:
        fail(f"cannot write {output}: {system_message(error)}", 2, file=output)
    try:
        with contextlib.suppress(OSError):  # The process id is only for messages.
            owner.write_text(f"{os.getpid()}\n", encoding="ascii")
        yield
    finally:
        with contextlib.suppress(OSError):
            owner.unlink()
        lock.release()


def _process(owner: Path) -> str:
    # The other process may have locked the output just now. It writes its id right after that.
    for _ in range(40):
        with contextlib.suppress(OSError, ValueError):
            return f"process {int(owner.read_text(encoding='ascii'))}"
        time.sleep(0.05)
    return "another process"
