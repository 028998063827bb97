from __future__ import annotations

import json
from enum import Enum
from http.client import HTTPConnection, HTTPException
from typing import Annotated, Any

import typer

from grid_async_task.cli.options import AsJson
from grid_async_task.cli.output import print_json
from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.settings import Settings

#: seconds for an answer; a worker that takes longer is not well
ANSWER_TIMEOUT_S = 5.0


class Question(str, Enum):
    LIVE = "live"
    READY = "ready"
    STARTED = "started"


What = Annotated[Question, typer.Argument(metavar="live|ready|started", help="What to ask.")]


def add_to(app: typer.Typer) -> None:
    app.command("health", epilog="Example: grid-async-task health live")(health)


def health(question: What = Question.LIVE, as_json: AsJson = False) -> None:
    """Ask the worker on this machine whether it is well, as a probe does.

    Exits with 0 if it is, else with 1 and says what is wrong. The worker answers on GRID_ASYNC_TASK_HEALTH_PORT.
    """
    port = Settings.from_environment().health_port
    if port is None:
        raise ConfigurationError("GRID_ASYNC_TASK_HEALTH_PORT is not set: a worker answers probes only where it is")
    answer = _ask(port, question.value)
    if as_json:
        print_json(answer)
    else:
        wrong = [f"{name}: {problem}" for name, problem in answer["checks"].items() if problem != "ok"]
        typer.echo("\n".join(wrong) or "ok")
    if not answer["ok"]:
        raise typer.Exit(1)


def _ask(port: int, question: str) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", f"/{question}")
        answer = json.loads(connection.getresponse().read())
        return {"ok": bool(answer["ok"]), "checks": dict(answer["checks"])}
    except TimeoutError:
        problem = f"no answer within {ANSWER_TIMEOUT_S:g} s: it hangs, or runs C code that lets nothing else run"
    except OSError as error:
        problem = f"nobody answers on port {port}: {error.strerror or error}"
    except (HTTPException, ValueError, KeyError, TypeError):
        problem = f"what answers on port {port} is no worker"
    finally:
        connection.close()
    return {"ok": False, "checks": {"answer": problem}}
