"""The commands that need no key: the demo and the sandbox."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from suno_async.cli.demo import print_figures, run_demo
from suno_async.cli.exit_codes import exit_codes_help
from suno_async.cli.files import make_directory, new_file
from suno_async.cli.options import Json
from suno_async.cli.output import fail, print_sandbox, print_sandbox_counts, system_message
from suno_async.cli.running import run
from suno_async.sandbox import Sandbox

commands = typer.Typer()


@commands.command(epilog=exit_codes_help(2, 5, 7, success="the outcome of every song is known"))
def demo(
    songs: Annotated[int, typer.Option(min=1, help="Number of songs.")] = 240,
    directory: Annotated[Path, typer.Option(help="Directory for results and audio.")] = Path(
        "demo-output"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the sandbox.")] = 1,
    as_json: Json = False,
) -> None:
    """Create, poll and download songs on the built-in sandbox.

    Needs no key and no network. With the default number of songs, it takes about one minute.
    """
    make_directory(directory / "audio")
    figures = run(run_demo(songs, directory, seed))
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        print_figures(figures)
    raise typer.Exit(5 if figures["undecided"] else 0)


@commands.command(
    epilog=exit_codes_help(2, success="never, because the sandbox runs until Ctrl-C or SIGTERM")
)
def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")
    ] = 8815,
    seed: Annotated[int, typer.Option(help="Seed of the jobs.")] = 0,
    time_scale: Annotated[
        float, typer.Option(help="Divide the durations of jobs by this number.")
    ] = 1.0,
    failure_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of jobs that fail, 0 to 1.")
    ] = 0.03,
    endless_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of jobs that never end, 0 to 1.")
    ] = 0.0,
    tasks: Annotated[
        int,
        typer.Option(
            min=0, help="Number of tasks to create at the start, without requests. Needs --ids."
        ),
    ] = 0,
    ids: Annotated[
        str | None,
        typer.Option(help="Write the ids of these tasks to this new file. Needs --tasks."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a local server that simulates the API.

    Stop the server with Ctrl-C or SIGTERM. Then the server prints how many requests it received and
    how many tasks it created.

    Without --json, the first line of the output is an export command. Run it in another shell. Then
    the commands and programs that you start in that shell use the sandbox. To try the command poll,
    add --tasks 1000 --ids ids.txt.
    """
    if not 0 < time_scale < float("inf"):
        fail(f"--time-scale: must be above 0, not {time_scale:g}", 2)
    if (tasks == 0) != (ids is None):
        fail("use --tasks and --ids together, for example --tasks 1000 --ids ids.txt", 2)

    async def serve() -> None:
        server = Sandbox(
            host=host,
            port=port,
            seed=seed,
            time_scale=time_scale,
            failure_share=failure_share,
            endless_share=endless_share,
        )
        try:
            try:
                await server.start()
            except (OSError, UnicodeError) as error:
                reason = system_message(error) if isinstance(error, OSError) else error
                advice = "check --host, or choose another --port (0 takes any free one)"
                fail(f"cannot listen on {host}, port {port}: {reason}; {advice}", 2)
            if ids is not None:
                new_file(ids, "".join(f"{each}\n" for each in server.add_tasks(tasks)))
            print_sandbox(server, as_json=as_json)
            await asyncio.Event().wait()
        finally:
            await server.stop()
            if server.url:
                print_sandbox_counts(server, as_json=as_json)

    run(serve())
