"""Part files, which hold a download until it is complete and gets its final name."""

from __future__ import annotations

import errno
import gzip
import os
import stat
import sys
import threading
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from suno_async.files import part_files, parts
from suno_async.files.decompression import STEP, Decompressor
from suno_async.files.parts import Part, PartError
from tests.file_host import song

if TYPE_CHECKING:
    from pathlib import Path


def part_in(directory: Path, body: bytes = b"", encoding: str = "identity") -> Part:
    """Return a new part file that contains `body`."""
    part = Part(directory, None, 10_000_000)
    part.restart(encoding, None)
    if body:
        part.write([body])
    return part


def test_published(tmp_path: Path) -> None:
    """`finish` saves the complete file and leaves no part file."""
    part = part_in(tmp_path / "new", song(100))
    assert [each.suffix for each in (tmp_path / "new").iterdir()] == [".part"]
    part.finish(tmp_path / "new" / "x.mp3", overwrite=False)
    part.discard()
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["x.mp3"]
    assert (tmp_path / "new" / "x.mp3").read_bytes() == song(100)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows syncs no directories")
def test_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is synced to disk before it gets its final name."""
    events: list[str] = []
    sync, path = os.fsync, tmp_path / "x.mp3"

    def record(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        events.append(f"{kind} {path.exists()}")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    part = part_in(tmp_path, song(100))
    part.finish(path, overwrite=True)
    part.discard()
    assert events == ["file False", "directory True"]


def test_overwrite(tmp_path: Path) -> None:
    """An existing file with the final name is replaced only if `overwrite` is true."""
    path = tmp_path / "x.mp3"
    path.write_bytes(b"other")
    for overwrite in (False, True):
        part = part_in(tmp_path, song(100))
        part.finish(path, overwrite=overwrite)
        part.discard()
        assert path.read_bytes() == (song(100) if overwrite else b"other")
    assert [each.name for each in tmp_path.iterdir()] == ["x.mp3"]


def test_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If hard links are not supported, a new file is saved, but no existing file is replaced."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "x.mp3"
    for size in (100, 200):
        part = part_in(tmp_path, song(size))
        part.finish(path, overwrite=False)
        part.discard()
    assert path.read_bytes() == song(100)
    assert [each.name for each in tmp_path.iterdir()] == ["x.mp3"]


def test_a_directory_has_the_name(tmp_path: Path) -> None:
    """A directory is never replaced by a file."""
    (tmp_path / "x.mp3").mkdir()
    for overwrite in (False, True):
        part = part_in(tmp_path, song(100))
        with pytest.raises(PartError, match="cannot save"):
            part.finish(tmp_path / "x.mp3", overwrite=overwrite)
        part.discard()
    assert [each.name for each in tmp_path.iterdir()] == ["x.mp3"]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "raw deflate"])
def test_compressed(tmp_path: Path, encoding: str) -> None:
    """A compressed body can arrive in pieces of any size. An incomplete body is not saved."""
    body = song(5000)
    wire = gzip.compress(body[:2000]) + gzip.compress(body[2000:])
    if encoding.endswith("deflate"):
        wire = zlib.compress(body)
    if encoding == "raw deflate":
        wire = wire[2:-4]
    for count, step in enumerate((1, 7, 10_000)):
        part = part_in(tmp_path, b"", encoding.removeprefix("raw "))
        for start in range(0, len(wire) - 1, step):
            part.write([wire[start : min(start + step, len(wire) - 1)]])
        with pytest.raises(PartError, match="incomplete"):
            part.finish(tmp_path / "x", overwrite=True)
        part.write([wire[-1:]])
        part.finish(tmp_path / f"{count}.mp3", overwrite=False)
        part.discard()
        assert (tmp_path / f"{count}.mp3").read_bytes() == body
        assert part.received == len(wire)


@pytest.mark.parametrize("wbits", [16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS])
@pytest.mark.parametrize("size", [STEP - 1, STEP, STEP + 5, 2 * STEP, 2 * STEP + 257])
def test_the_end_of_a_long_run_is_not_lost(size: int, wbits: int) -> None:
    """A compressed body of many equal bytes is decompressed completely."""
    encoder = zlib.compressobj(wbits=wbits)
    wire = encoder.compress(bytes(size)) + encoder.flush()
    decompressor = Decompressor("gzip" if wbits > zlib.MAX_WBITS else "deflate")
    found = [*decompressor.feed(wire)]
    assert sum(map(len, found)) == size
    assert max(map(len, found)) <= STEP
    assert decompressor.complete


def test_many_empty_members(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each member of a gzip body, at most 64 KiB are copied, so the time stays linear."""
    real, unused = zlib.decompressobj, list[int]()

    class Decoder:
        """A zlib decoder that records how many bytes it copies at the end of a member."""

        def __init__(self, wbits: int) -> None:
            self._decoder = real(wbits)

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (passed on)
            if name == "unused_data":
                unused.append(len(self._decoder.unused_data))
            return getattr(self._decoder, name)

    monkeypatch.setattr(zlib, "decompressobj", Decoder)
    decompressor = Decompressor("gzip")
    assert not [*decompressor.feed(gzip.compress(b"") * 10_000)]
    assert decompressor.complete
    assert max(unused) <= 2**16


def test_bad_encodings(tmp_path: Path) -> None:
    """A damaged body or an unsupported compression raises `PartError`."""
    part = part_in(tmp_path, b"", "gzip")
    with pytest.raises(PartError, match="damaged"):
        part.write([b"ID3 is not gzip"])
    with pytest.raises(PartError, match="unsupported"):
        part.restart("br", None)
    part.discard()


def test_bomb(tmp_path: Path) -> None:
    """A body that decompresses to more than `max_bytes` raises an error."""
    part = Part(tmp_path, "any", 3_000_000)
    part.restart("gzip", None)
    with pytest.raises(PartError, match="max_bytes"):
        part.write([gzip.compress(bytes(100_000_000))])
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size <= 3_000_000
    part.discard()
    assert not list(tmp_path.iterdir())


def test_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the disk is full, the error contains the reason, and no file is left."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    part = part_in(tmp_path)
    monkeypatch.setattr(parts, "write_all", full)
    with pytest.raises(PartError, match="No space left"):
        part.write([song(100)])
    part.discard()
    assert not list(tmp_path.iterdir())


def test_discarded_while_a_thread_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`discard` waits until a write in another thread ends."""
    part = part_in(tmp_path)
    write, began, go_on = parts.write_all, threading.Event(), threading.Event()

    def slow(*arguments: Any) -> None:  # noqa: ANN401 (passed on)
        began.set()
        go_on.wait(10)
        write(*arguments)

    monkeypatch.setattr(parts, "write_all", slow)
    writing = threading.Thread(target=part.write, args=([song(100)],))
    writing.start()
    began.wait(10)
    discarding = threading.Thread(target=part.discard)
    discarding.start()
    discarding.join(0.1)
    assert discarding.is_alive()
    go_on.set()
    writing.join()
    discarding.join()
    with pytest.raises(PartError, match="cancelled"):
        part.write([b"x"])
    with pytest.raises(PartError, match="cancelled"):
        part.restart("identity", None)
    assert not list(tmp_path.iterdir())


def test_part_files_of_dead_processes(tmp_path: Path) -> None:
    """The first download into a directory removes part files of ended processes, and no others."""
    dead, other = tmp_path / ".suno-dead.part", tmp_path / "other.part"
    dead.write_bytes(b"left behind")
    other.write_bytes(b"not ours")
    first = part_in(tmp_path)
    assert not dead.exists()
    dead.write_bytes(b"left behind later")
    second = part_in(tmp_path)
    assert dead.exists()
    # The first download of another process does this.
    part_files.sweep(tmp_path)
    kept = set(tmp_path.iterdir())
    assert len(kept) == 3
    assert other in kept
    assert dead not in kept
    first.discard()
    second.discard()
    assert list(tmp_path.iterdir()) == [other]


def test_few_directories_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of directories that are remembered as swept is limited."""
    swept: set[Path] = set()
    monkeypatch.setattr(parts, "_MOST_SWEPT", 3)
    monkeypatch.setattr(Part, "_swept", swept)
    for each in range(10):
        part_in(tmp_path / str(each)).discard()
        assert 1 <= len(swept) <= 3


def test_many_buffers(tmp_path: Path) -> None:
    """All pieces are written in order, even if one system call is not enough."""
    part = part_in(tmp_path)
    body = song(40_000)
    part.write([body[start : start + 10] for start in range(0, len(body), 10)])
    part.finish(tmp_path / "x.mp3", overwrite=False)
    part.discard()
    assert (tmp_path / "x.mp3").read_bytes() == body


def test_edited(tmp_path: Path) -> None:
    """If an edit succeeds, the edited copy of the file gets the final name."""
    path = tmp_path / "x.mp3"

    def edit(copy: Path) -> bool:
        part_files.sweep(tmp_path)
        assert not path.exists()
        assert copy.read_bytes() == song(100)
        copy.write_bytes(b"edited")
        return True

    part = part_in(tmp_path, song(100))
    part.finish(path, overwrite=False, edit=edit)
    part.discard()
    assert path.read_bytes() == b"edited"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("problem", ["useless", "disk full"])
def test_edits_that_fail(tmp_path: Path, problem: str) -> None:
    """If an edit raises an error or returns False, the file is saved unedited."""

    def edit(copy: Path) -> bool:
        copy.write_bytes(b"damaged")
        if problem == "disk full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return False

    part = part_in(tmp_path, song(100))
    part.finish(tmp_path / "x.mp3", overwrite=False, edit=edit)
    part.discard()
    assert (tmp_path / "x.mp3").read_bytes() == song(100)
    assert list(tmp_path.iterdir()) == [tmp_path / "x.mp3"]


def test_an_interrupted_edit(tmp_path: Path) -> None:
    """After an interrupted edit and a call of `discard`, the directory is empty."""

    def edit(_copy: Path) -> bool:
        raise KeyboardInterrupt

    part = part_in(tmp_path, song(100))
    with pytest.raises(KeyboardInterrupt):
        part.finish(tmp_path / "x.mp3", overwrite=False, edit=edit)
    part.discard()
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_not_edited(tmp_path: Path) -> None:
    """If the file is damaged, `finish` raises an error and does not edit the file."""
    part = Part(tmp_path, "audio", 1000)
    part.restart("identity", None)
    part.write([b"<html>"])
    with pytest.raises(PartError, match="HTML"):
        part.finish(tmp_path / "x.mp3", overwrite=False, edit=lambda _: pytest.fail("edited"))
    part.discard()
