"""Rules that hold for every line of the package: SQL takes values as parameters only, bodies are never unpickled."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from grid_async_task import TaskHandler
from grid_async_task.adapters.sql.tables import tables_named
from grid_async_task.domain.errors import ConfigurationError
from tests.unit.world import QUEUE, World

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("grid_async_task/**/*.py"), *ROOT.glob("alembic/**/*.py")])

#: how a statement begins
_SQL = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|CREATE|ALTER|DROP|RENAME|TRUNCATE|SET|SHOW|PRAGMA|CALL|GRANT|KILL|USE|WITH"
    r"|TIMESTAMPADD|LOCK|ANALYZE)\b"
)
#: what is put into the text of a statement, by file, and why it can't be anything from outside
PUT_INTO_SQL = {
    # a whole number
    "grid_async_task/adapters/embedded/queue_file.py": {"int(BUSY_TIMEOUT_S * 1000)"},
    # the name of our own table, which `tables_named` has checked: letters, digits and underscores; and a whole number
    "grid_async_task/adapters/sql/migrations.py": {"tables.version_name", "wait_s"},
    # the table's name again, quoted by the dialect as well
    "grid_async_task/adapters/sql/from_reference.py": {
        "tables.version_name",
        "name",
        "v1_name",
        "beside_name",
        "wait_s",
    },
    # parts of statements, made of the table's name, column names of ours and as many %s as there are values
    "grid_async_task/adapters/sql/groups.py": {
        "self._tables.name",
        "columns",
        "rows.text",
        "self._claimed",
        "self._succeeded",
        "first",
        "', '.join(['%s'] * len(bound[0]))",
    },
    # the table's name, and a clause that is a constant
    "alembic/versions/0002_grouped.py": {"table_name", "at_once"},
    "alembic/versions/0003_callback_failures.py": {"table_name", "at_once"},
    # names of the server's variables, from a constant list; the other two stand in advice, which nobody runs
    "grid_async_task/adapters/sql/inspection.py": {
        "asked",
        "self._database.url.database",
        "self._tables.name",
    },
    # an expression that SQLAlchemy has compiled, with its parameters bound
    "grid_async_task/adapters/sql/db_time.py": {"compiler.process(element.clauses, **kw)"},
    # parts of statements, constants of the same module
    "grid_async_task/adapters/embedded/source.py": {"_READY", "_MINE"},
}
#: these run what they are given
_UNSAFE_MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "jsonpickle",
    "joblib",
    "code",
    "imp",
}
#: a handler and what it needs go to a child process from the worker that has started it; tasks go as JSON
MAY_PICKLE = {"grid_async_task/adapters/process/child_main.py", "grid_async_task/adapters/process/child_runner.py"}
_UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen"}
_UNSAFE_YAML = {"load", "load_all", "full_load", "full_load_all", "unsafe_load", "unsafe_load_all"}


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def nodes() -> Iterator[tuple[str, ast.AST]]:
    for file in FILES:
        for node in ast.walk(tree_of(file)):
            yield file.relative_to(ROOT).as_posix(), node


def put_into(node: ast.AST) -> set[str] | None:
    """What a statement is put together from besides constants; None where this node makes no SQL."""
    if isinstance(node, ast.JoinedStr):
        first = node.values[0] if node.values else None
        if isinstance(first, ast.Constant) and _SQL.match(str(first.value)):
            return {ast.unparse(each.value) for each in node.values if isinstance(each, ast.FormattedValue)}
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mod)) and _begins_sql(node.left):
        return {ast.unparse(node.right)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("format", "join"):
        return {ast.unparse(node)} if _begins_sql(node.func.value) else None
    return None


def _begins_sql(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(_SQL.match(node.value))


def test_nothing_but_checked_identifiers_is_put_into_sql() -> None:
    found: dict[str, set[str]] = {}
    for file, node in nodes():
        parts = put_into(node)
        if parts:
            found[file] = found.get(file, set()) | parts
    unknown = {(file, part) for file, parts in found.items() for part in parts - PUT_INTO_SQL.get(file, set())}
    assert unknown == set()
    gone = {(file, part) for file, parts in PUT_INTO_SQL.items() for part in parts - found.get(file, set())}
    assert {(file, part) for file, part in gone if (ROOT / file).exists()} == set(), "not needed in the list any more"


@pytest.mark.parametrize(
    "line",
    [
        'text(f"SELECT * FROM tasks WHERE id = {task_id}")',
        'execute("DELETE FROM tasks WHERE id = %s" % task_id)',
        'execute("UPDATE tasks SET id = " + task_id)',
        'execute("DROP TABLE {}".format(name))',
    ],
)
def test_the_rule_sees_what_it_must_see(line: str) -> None:
    assert any(put_into(node) for node in ast.walk(ast.parse(line)))


@pytest.mark.parametrize(
    "name", ["tasks; DROP TABLE x", "tasks`", "tasks--", "ta sks", "таски", "", "t" * 49, "a.b", 'a"']
)
def test_a_table_name_is_checked_before_it_gets_anywhere(name: str) -> None:
    with pytest.raises(ConfigurationError, match="table name"):
        tables_named(name)


# -- nothing from outside is run ------------------------------------------------------------------------


def unsafe(node: ast.AST) -> str | None:
    if isinstance(node, ast.Import):
        return next((each.name for each in node.names if each.name.partition(".")[0] in _UNSAFE_MODULES), None)
    if (
        isinstance(node, ast.ImportFrom)
        and node.level == 0
        and (node.module or "").partition(".")[0] in _UNSAFE_MODULES
    ):
        return node.module
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        if called in _UNSAFE_CALLS or (called.startswith("yaml.") and called[5:] in _UNSAFE_YAML):
            return called
        if called.endswith(".recv") and not node.args:  # multiprocessing's, which unpickles; a socket's takes a number
            return called
        if any(each.arg == "shell" for each in node.keywords):
            return f"{called}(shell=...)"
    return None


def test_no_module_of_the_package_can_unpickle_or_evaluate_anything() -> None:
    found = {(file, what) for file, node in nodes() if (what := unsafe(node))}
    assert {(file, what) for file, what in found if what != "pickle" or file not in MAY_PICKLE} == set()


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import os, marshal",
        "yaml.load(text, Loader=yaml.Loader)",
        "eval(text)",
        "connection.recv()",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_second_rule_sees_what_it_must_see(line: str) -> None:
    assert any(unsafe(node) for node in ast.walk(ast.parse(line)))


class _Trap:
    """Whoever unpickles it makes a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self._file), "w"))


class Nothing(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> None:
        raise AssertionError("a pickle is no task")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_body_is_a_dead_letter_that_nobody_has_opened(tmp_path: Path, protocol: int) -> None:
    sprung = tmp_path / "sprung"
    body = pickle.dumps(_Trap(sprung), protocol)
    world = World()
    world.send(body)
    world.work(Nothing())
    (dead,) = world.broker.waiting_for(f"{QUEUE}.dead")
    assert dead.body == body
    assert not sprung.exists()
    pickle.loads(body).close()
    assert sprung.exists(), "the trap works"
