"""Create, publish and remove part files.

A part file contains an incomplete download or export. It gets its final name when it is complete.

All functions are blocking, so call them in a thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

if sys.platform != "win32":
    import fcntl

#: Start and end of the names of part files. The middle is random.
_PREFIX, _SUFFIX = ".suno-", ".part"


def create(directory: Path) -> tuple[Path, IO[bytes]]:
    """Create a part file. Return its path, and the open file, which is locked until it is closed.

    On Windows, or if the file system has no locks, the file is not locked.

    Raises:
        OSError: The file cannot be created.
    """
    while True:
        path = directory / f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
        # Unbuffered, because the pieces are large already.
        file = path.open("xb", buffering=0)
        try:
            if _lock(file) and path.exists():
                return path, file
        except BaseException:
            file.close()
            path.unlink(missing_ok=True)
            raise
        # Before this lock, another process removed the file, or locked it in order to remove it.
        file.close()


def sweep(directory: Path) -> None:
    """Remove the part files of dead processes. These files are not locked any more."""
    for path in directory.glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                # Windows does not remove an open file, so no lock is needed.
                path.unlink()
            else:
                # NFS locks only files that are open for writing.
                with path.open("r+b") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


def publish(part: Path, path: Path, *, overwrite: bool) -> bool:
    """Give a part file its final name, and sync the directory to disk.

    Args:
        part: The part file. Its content must be on disk. On Windows, the file must be closed.
        path: The final path, in the same directory.
        overwrite: Whether to replace an existing file.

    Returns:
        Whether the part file got the final name. If False, another file has this name and was not
        replaced. The part file then still exists.

    Raises:
        OSError: The file cannot get the name, for example because a directory has this name.
    """
    named = _named(part, path, overwrite=overwrite)
    _sync_directory(path.parent)
    return named


def _lock(file: IO[bytes]) -> bool:
    """Lock the file until it is closed. Return False if another process has locked it.

    On Windows, or if the file system has no locks, return True without a lock.
    """
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # The file system has no locks. Part files of dead processes are not removed then.
            return True
    return True


def _named(part: Path, path: Path, *, overwrite: bool) -> bool:
    if overwrite:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a directory has this name")
        part.replace(path)
        return True
    try:
        # Unlike a rename, a link never replaces a file that appeared in the meantime.
        os.link(part, path)
    except FileExistsError:
        if not path.is_file():
            raise
        return False
    except OSError:
        # The file system has no hard links. On POSIX, a rename replaces an existing file. So if two
        # processes finish the same file at the same moment, both succeed.
        if path.exists():
            return False
        part.rename(path)
        return True
    part.unlink()
    return True


def _sync_directory(directory: Path) -> None:
    """Sync a directory to disk, so that a new file name in it survives a power failure.

    Do nothing if the system does not support this.
    """
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
