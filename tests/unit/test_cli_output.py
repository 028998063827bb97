"""The command line without any server: help, wrong calls, and what it prints."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from grid_async_task.cli.output import print_json, print_table, shown
from grid_async_task.cli.program import _with_command, program

COMMANDS = (
    *("worker", "send", "status", "watch", "list", "retry", "cancel", "requeue", "sweep", "prune", "migrate", "check"),
    *("workers", "health", "dead list", "dead show", "dead replay", "callbacks list", "callbacks redeliver"),
)

app = program()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text_with_an_example(command: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), "--help"])
    assert done.exit_code == 0
    assert f"grid-async-task {command}" in " ".join(done.output.split())
    assert "Example" in done.output


def test_the_help_lists_every_command() -> None:
    output = CliRunner().invoke(app, ["--help"]).output
    assert [command for command in COMMANDS if command.split()[0] not in output] == []


@pytest.mark.parametrize("arguments", [["nonsense"], ["status"], ["list", "--limit", "0"], ["list", "--limit", "x"]])
def test_a_wrong_call_exits_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([], ["worker"]),
        (["--queue", "q"], ["worker", "--queue", "q"]),
        (["--help"], ["--help"]),
        (["list", "--json"], ["list", "--json"]),
    ],
)
def test_no_command_means_worker(given: list[str], meant: list[str]) -> None:
    assert _with_command(given) == meant


def test_what_is_shown_can_not_do_anything_to_a_terminal() -> None:
    assert shown("a\x1b[31mb\nc\u202ed 任务") == "a [31mb c d 任务"


def test_a_table_that_is_read_by_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("ID", "ERROR"), [("a\tb", None), ("任务", "[bold]x")], if_none="none")
    assert capsys.readouterr().out == "ID\tERROR\na b\t\n任务\t[bold]x\n"


def test_an_empty_table_says_so_beside_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("ID",), [], if_none="no tasks")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "no tasks\n")


def test_json_keeps_every_letter(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"名": "é"})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"名": "é"}
    assert "名" in printed
