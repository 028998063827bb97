from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    app.command("demo", epilog="Example: grid-async-task demo")(demo)


def demo() -> None:
    """Show the main job on a SQLite file: workers, progress, retries, callbacks, a killed worker. Needs no servers."""
    from grid_async_task.demo.stage import run

    raise typer.Exit(run())
