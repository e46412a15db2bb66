"""The commands for personas, uploads, prices, models and the balance."""

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from suno_async import Creation, GeneratePersona, PersonaCreation
from suno_async.cli.clients import open_client
from suno_async.cli.creating import CREATE_OPTIONS, print_created, run_create
from suno_async.cli.exit_codes import exit_codes_help
from suno_async.cli.file_options import AllowHosts
from suno_async.cli.files import inputs_in
from suno_async.cli.options import (
    BaseUrl,
    Json,
    field_options,
    parse_json_object,
    with_parameters,
)
from suno_async.cli.output import echo_text, errors_about, fail
from suno_async.cli.running import run

commands = typer.Typer()


@commands.command(epilog=exit_codes_help(2, 3, 4, 5, 6))
@with_parameters(
    field_options(GeneratePersona, arguments=("task_id", "suno_id", "name")),
    [each for each in CREATE_OPTIONS if each.name in {"base_url", "as_json"}],
)
def persona(**given: Any) -> None:  # noqa: ANN401 (the options)
    """Create a persona from the voice of a song, and print its id. May cost credits."""
    base_url, as_json = given.pop("base_url"), given.pop("as_json")
    given["extra"] = parse_json_object("--extra", given["extra"])
    wanted = GeneratePersona(**given)

    unprinted: list[Creation | PersonaCreation] = []

    async def work() -> None:
        async with open_client(base_url, on_creation=unprinted.append) as suno:
            with errors_about(task_id=wanted.task_id):
                created = await suno.create_persona(wanted)
            print_created(created, as_json=as_json)
            unprinted.clear()

    run_create(work(), unprinted, as_json=as_json)


@commands.command(epilog=exit_codes_help(2, 3, 5))
def upload(
    file: Annotated[Path, typer.Argument(help="An audio file.")],
    content_type: Annotated[
        str | None, typer.Option(help="Media type. Default: by the file's suffix.")
    ] = None,
    allow_host: AllowHosts = None,
    base_url: BaseUrl = None,
    as_json: Json = False,
) -> None:
    """Upload an audio file, and print its URL."""

    async def work() -> str:
        async with open_client(base_url, allow_hosts=allow_host) as suno:
            with errors_about(file=str(file)):
                return await suno.upload(file, content_type=content_type)

    url = run(work())
    echo_text(json.dumps({"url": url}) if as_json else url)


@commands.command(epilog=exit_codes_help(2, 3, 5))
def estimate(
    file: Annotated[str, typer.Argument(help="Inputs as for create --batch; - for stdin.")],
    base_url: BaseUrl = None,
    as_json: Json = False,
) -> None:
    """Print the price of each input in credits, and the total if there are several inputs.

    Costs no credits.
    """
    inputs = inputs_in(file)

    async def work() -> None:
        total = 0.0
        async with open_client(base_url) as suno:
            for index, job in enumerate(inputs):
                with errors_about(file="stdin" if file == "-" else file, index=index):
                    price = await suno.estimate(job)
                total += price.estimated_credits
                row = {"index": index, **msgspec.to_builtins(price)}
                typer.echo(json.dumps(row) if as_json else f"{price.estimated_credits:.15g}")
        if len(inputs) != 1:
            typer.echo(json.dumps({"total": total}) if as_json else f"total {total:.15g}")

    run(work())


@commands.command(epilog=exit_codes_help(2, 3, 5))
def models(
    model: Annotated[str | None, typer.Argument(help="Print the schema of this model.")] = None,
    modality: Annotated[
        str | None, typer.Option(help="List only models of this modality, e.g. audio.")
    ] = None,
    operation: Annotated[
        str | None, typer.Option(help="List only models with this operation.")
    ] = None,
    base_url: BaseUrl = None,
    as_json: Json = False,
) -> None:
    """List the models of the service, or print the JSON Schema of one model's input."""
    if model is not None and (modality or operation):
        fail("--modality and --operation filter the list: use them without a model", 2)

    async def work() -> None:
        async with open_client(base_url) as suno:
            if model is None:
                for each in await suno.models(modality=modality, operation=operation):
                    echo_text(json.dumps(each.details) if as_json else each.model)
                return
            with errors_about(model=model):
                schema = (await suno.model_schema(model)).input_schema
            typer.echo(json.dumps(schema, indent=None if as_json else 2))

    run(work())


@commands.command(epilog=exit_codes_help(2, 3, 5))
def balance(base_url: BaseUrl = None, as_json: Json = False) -> None:
    """Print the credits of the account."""

    async def work() -> float:
        async with open_client(base_url) as suno:
            return await suno.balance()

    credit = run(work())
    typer.echo(json.dumps({"balance": credit}) if as_json else f"{credit:.15g}")
