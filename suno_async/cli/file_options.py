"""Options of the commands that download files."""

# Typer reads the annotations at runtime.
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from suno_async.cli.clients import open_client
from suno_async.cli.files import make_directory
from suno_async.cli.options import as_flag, option
from suno_async.cli.output import fail
from suno_async.cli.running import run

FileName = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="TEMPLATE",
        help="Names of the files, without a suffix, such as '{task_id}/{index}-{title}'.",
    ),
]
Covers = Annotated[bool, typer.Option("--covers", help="Download the cover images, too.")]
# Not "--tags", because this option sets the style tags in the commands that create songs.
WriteTags = Annotated[
    bool,
    typer.Option(
        "--write-tags",
        help="Write title, lyrics and cover into the files. Needs the Python package mutagen.",
    ),
]
AllowHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="HOST",
        help="Allow files on this host or network, even if not public or with http. Repeatable.",
    ),
]

#: The options that every command with ``--download`` has in addition.
FILE_OPTIONS = [
    option("name", FileName),
    option("covers", Covers, default=False),
    option("write_tags", WriteTags, default=False),
    option("allow_host", AllowHosts),
]


class FileOptions(NamedTuple):
    """Which files a command downloads, and how. Each field has the name of a command-line option.

    Attributes:
        download: Directory for the files. None means that nothing is downloaded.
        name: Template of the file names. None means the default names.
        covers: Whether to download the cover images of the songs, too.
        write_tags: Whether to write tags into the files.
        allow_host: Hosts that downloads and uploads may use without https, or at an address that
            is not public.
    """

    download: Path | None
    name: str | None = None
    covers: bool = False
    write_tags: bool = False
    allow_host: list[str] | None = None

    def prepare(self, base_url: str | None) -> None:
        """Check the options, and create the download directory. Exit if there is a problem.

        Call this method before the command sends a request or writes a file.
        """
        if self.download is None:
            given = {"name": self.name, "covers": self.covers, "write_tags": self.write_tags}
            if wrong := [as_flag(option) for option, value in given.items() if value]:
                fail(f"only with --download: {', '.join(wrong)}", 2)
        if self.name is not None or self.write_tags or self.allow_host:
            run(self._check(base_url))
        if self.download is not None:
            make_directory(self.download)

    async def _check(self, base_url: str | None) -> None:
        # Use another client here: the client of the command may write a journal when it opens.
        async with open_client(base_url, needs_key=False, allow_hosts=self.allow_host) as suno:
            await suno.download_all([], name=self.name, tags=self.write_tags)
