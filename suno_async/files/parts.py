"""Write a download to a part file (a file with a temporary name).

The part file gets its final name when it is complete and on disk.

The methods of `Part` are blocking, so call them in a thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import threading
from typing import TYPE_CHECKING, ClassVar

from suno_async.files import part_files
from suno_async.files.decompression import DamagedError, Decompressor
from suno_async.files.media import HEAD, Media, problem

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path
    from typing import IO

    from suno_async.files.checksums import Checksum, Hasher

logger = logging.getLogger("suno_async")

#: Maximum number of buffers for one call of `writev`. POSIX guarantees 16. Every current system
#: accepts 1024.
_MOST_BUFFERS = 1024

#: Maximum number of directories to remember, about 700 bytes each. A template may make a directory
#: for each task. If directories are forgotten, they are only swept again.
_MOST_SWEPT = 1000


class PartError(Exception):
    """The file cannot be saved. Internal.

    Attributes:
        problem: Why the file cannot be saved.
        retryable: Whether another attempt may succeed.
    """

    def __init__(self, problem: str, *, retryable: bool = False) -> None:
        super().__init__(problem)
        self.problem = problem
        self.retryable = retryable


class Part:
    """The temporary file of one download. The first call of `restart` creates the file.

    Args:
        directory: Where to create the file. The directory is created if it does not exist.
        media: The kind of media that the file must contain, such as ``"audio"``. None accepts every
            media file.
        max_bytes: Largest allowed size of the file in bytes, after decompression.

    Attributes:
        received: Number of bytes received so far, before decompression.
        finished: Whether `finish` has succeeded.
    """

    #: Directories in which this process has removed the part files of dead processes.
    _swept: ClassVar[set[Path]] = set()

    def __init__(self, directory: Path, media: Media | None, max_bytes: int) -> None:
        self._directory = directory
        self._media: Media | None = media
        self._max_bytes = max_bytes
        self.received = 0
        self.finished = False
        self._written = 0
        self._head = b""
        self._checked = False
        self._checksum: Checksum | None = None
        self._hasher: Hasher | None = None
        self._decompressor: Decompressor | None = None
        self._file: IO[bytes] | None = None
        self._path = directory
        # After a cancellation, a thread may still write while another one discards the file.
        self._lock = threading.Lock()
        self._discarded = False

    def restart(self, encoding: str, checksum: Checksum | None) -> None:
        """Create the file or remove its content, so that a new reply can be written.

        Args:
            encoding: The content encoding of the body.
            checksum: The expected checksum of the body before decompression. None means no check.

        Raises:
            PartError: The encoding is not supported, the file cannot be created or changed, or the
                file was discarded.
        """
        with self._lock, _translated():
            self.received = 0
            self._written = 0
            self._head = b""
            self._checked = False
            self._checksum = checksum
            self._hasher = None if checksum is None else checksum.hasher()
            self._decompressor = None if encoding == "identity" else _decompressor(encoding)
            file = self._opened()
            file.seek(0)
            file.truncate()

    def write(self, pieces: Sequence[bytes]) -> None:
        """Append pieces of a reply's body to the file. Decompress the pieces if necessary.

        Raises:
            PartError: The body is damaged, too large or not the expected media, the file cannot be
                written, or the file was discarded.
        """
        with self._lock, _translated():
            file = self._opened()
            for piece in pieces:
                self.received += len(piece)
                if self._hasher is not None:
                    self._hasher.update(piece)
            if self._decompressor is None:
                self._append(file, pieces)
                return
            try:
                for piece in pieces:
                    for data in self._decompressor.feed(piece):
                        self._append(file, (data,))
            except DamagedError:
                raise PartError("the compressed body is damaged", retryable=True) from None

    def finish(
        self, path: Path, *, overwrite: bool, edit: Callable[[Path], bool] | None = None
    ) -> None:
        """Check the file, sync it to disk, and give it its final name.

        Args:
            path: The final path.
            overwrite: Whether to replace an existing file. If False, an existing file is kept, and
                the part file does not get the final name. This is not an error.
            edit: Edits a copy of the checked file, and returns whether the copy replaces the file.
                If it raises an `OSError`, the unedited file is saved. None means no edit.

        Raises:
            PartError: The file is incomplete, damaged or not the expected media, it cannot be
                saved, or it was discarded.
        """
        with self._lock, _translated():
            file = self._opened()
            if self._decompressor is not None and not self._decompressor.complete:
                raise PartError("the compressed body is incomplete", retryable=True)
            self._check_head(complete=True)
            checksum, hasher = self._checksum, self._hasher
            if checksum is not None and hasher is not None and hasher.digest() != checksum.digest:
                raise PartError(f"wrong {checksum.algorithm} checksum", retryable=True)
            if edit is not None:
                try:
                    self._edit(file, edit)
                except OSError as error:
                    # For example, the disk is full. The original is complete, so save it.
                    logger.warning("%s: saved without tags: %s", path, error.strerror or error)
                file = self._opened()
            os.fsync(file.fileno())
            if sys.platform == "win32":
                # Windows cannot rename an open file.
                file.close()
            part_files.publish(self._path, path, overwrite=overwrite)
            self.finished = True

    def discard(self) -> None:
        """Close the part file, and remove it if it still exists."""
        with self._lock:
            self._discarded = True
            if self._file is not None:
                with contextlib.suppress(OSError):
                    self._file.close()
                with contextlib.suppress(OSError):
                    self._path.unlink()

    def _opened(self) -> IO[bytes]:
        if self._discarded:
            raise PartError("the download was cancelled")
        if self._file is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            if self._directory not in self._swept:
                if len(self._swept) >= _MOST_SWEPT:
                    self._swept.clear()
                self._swept.add(self._directory)
                part_files.sweep(self._directory)
            self._path, self._file = part_files.create(self._directory)
        return self._file

    def _edit(self, file: IO[bytes], edit: Callable[[Path], bool]) -> None:
        """Edit a copy of the part file. If `edit` returns True, the copy becomes the part file."""
        # The copy is locked, so no other process removes it during the edit.
        path, copy = part_files.create(self._directory)
        edited = False
        try:
            shutil.copyfile(self._path, path)
            edited = edit(path)
        finally:
            unused, unused_path = (file, self._path) if edited else (copy, path)
            if edited:
                self._file, self._path = copy, path
            unused.close()
            with contextlib.suppress(OSError):
                unused_path.unlink()

    def _append(self, file: IO[bytes], pieces: Sequence[bytes]) -> None:
        self._written += sum(map(len, pieces))
        if self._written > self._max_bytes:
            raise PartError(f"more than {self._max_bytes} bytes; see max_bytes")
        if not self._checked:
            for piece in pieces:
                self._head = (self._head + piece)[:HEAD]
                if len(self._head) == HEAD:
                    break
            self._check_head(complete=False)
        write_all(file, pieces)

    def _check_head(self, *, complete: bool) -> None:
        if self._checked or (len(self._head) < HEAD and not complete):
            return
        if found := problem(self._head, self._media):
            raise PartError(found)
        self._checked = True


@contextlib.contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise PartError(f"cannot save the file: {error.strerror or type(error).__name__}") from None
    except ValueError as error:
        # For example, the path contains a NUL.
        raise PartError(f"cannot save the file: {error}") from None


def _decompressor(encoding: str) -> Decompressor:
    try:
        return Decompressor(encoding)
    except ValueError as error:
        raise PartError(str(error)) from None


def write_all(file: IO[bytes], pieces: Sequence[bytes]) -> None:
    """Write all pieces to an unbuffered file, in as many system calls as necessary."""
    if sys.platform == "win32" or len(pieces) == 1:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]
        return
    for start in range(0, len(pieces), _MOST_BUFFERS):
        some = pieces[start : start + _MOST_BUFFERS]
        written = os.writev(file.fileno(), some)
        if written < sum(map(len, some)):
            write_all(file, [b"".join(some)[written:]])
