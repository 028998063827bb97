from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from grid_async_task.cli.options import AsJson, Queue
from grid_async_task.cli.output import print_json, shown
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.settings import Settings

group = typer.Typer(help="Scale workers on Kubernetes with KEDA.", rich_markup_mode=None)

ModeName = Annotated[
    str, typer.Option("--mode", help="scaledjob for long tasks, scaledobject for short ones.", show_default=False)
]
Name = Annotated[str, typer.Option("--name", help="Name of the objects.")]
Image = Annotated[str, typer.Option("--image", help="The image with your handlers.")]
Namespace = Annotated[str | None, typer.Option("--namespace", help="Default: that of whoever applies it.")]
Secret = Annotated[str | None, typer.Option("--secret", help="Secret with URLs and passwords; default: the name.")]
MaxWorkers = Annotated[int, typer.Option("--max-workers", min=1, help="At most so many workers.")]
Files = Annotated[
    list[str], typer.Argument(metavar="FILE...", help="YAML files; - for standard input.", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="keda", no_args_is_help=True)


@group.command("render", epilog="Example: grid-async-task keda render --mode scaledjob --image reports:1.4 > keda.yaml")
def render(
    mode: ModeName,
    name: Name = "grid-async-task",
    image: Image = "grid-async-task:latest",
    namespace: Namespace = None,
    secret: Secret = None,
    max_workers: MaxWorkers = 10,
    queue: Queue = None,
) -> None:
    """Print manifests made from the current settings.

    Passwords are not printed: they come from a Secret, and the first lines say how to make it. The file of recurring
    tasks is printed as a ConfigMap, together with the CronJob that sends them while there is no worker.
    """
    # PyYAML and all rules are only for who asks for them
    from grid_async_task import adapter_choice, keda

    modes = [each.value for each in keda.Mode]
    if mode not in modes:
        raise ConfigurationError(f"--mode is {mode!r}, but it has to be {' or '.join(modes)}")
    target = keda.Target(name, image, namespace, secret or name, max_workers)
    settings = Settings.from_environment(queue=queue)
    # a mistake in the file is found here, and not by pods that do not start
    adapter_choice.open_recurring(settings)
    typer.echo(keda.render(settings, keda.Mode(mode), target), nl=False)


@group.command("lint", epilog="Example: grid-async-task keda lint deploy/*.yaml")
def lint(files: Files, as_json: AsJson = False) -> None:
    """Find known mistakes in manifests, and say what to write instead.

    Files that belong together (scaler, Deployment, ConfigMap) are understood best when given together. Exits with
    1 if there is a mistake, with 2 if a file can't be read.
    """
    from grid_async_task import keda

    try:
        manifests = [each for file in files for each in keda.read_manifests(_named(file), _text_of(file))]
    except keda.NotManifests as error:
        raise ConfigurationError(str(error)) from error
    findings = keda.lint(manifests)
    if as_json:
        print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            typer.echo(f"{shown(finding.where)}: {shown(finding.text)} [{finding.rule}]")
            typer.echo(f"  -> {shown(finding.advice)}")
        typer.echo(f"{len(findings)} mistakes in {len(manifests)} objects")
    if findings:
        raise typer.Exit(1)


def _named(file: str) -> str:
    return "standard input" if file == "-" else file


def _text_of(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{_named(file)} is not UTF-8") from error
    except OSError as error:
        raise ConfigurationError(f"{file} can't be read: {error.strerror}") from error
