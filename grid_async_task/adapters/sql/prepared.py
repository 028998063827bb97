"""A write that was compiled once and goes to the driver directly.

SQLAlchemy builds the statement, quotes its names and knows its types. To have it executed costs
as much processor time again as PyMySQL itself, and a task consists of two writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import Dialect, Executable
from sqlalchemy.sql.compiler import SQLCompiler

#: what the database's session has to say about a statement before it is sent
Check = Callable[[Any, str, Any], None]


class Prepared:
    """An INSERT, UPDATE or DELETE whose values are bound by name."""

    def __init__(self, statement: Executable, dialect: Dialect, check: Check) -> None:
        compiled = cast(
            SQLCompiler,
            statement.compile(dialect=dialect),  # type: ignore[attr-defined]
        )
        self._text = compiled.string
        self._check = check
        #: the order of the values, where the driver takes them by their places
        self._places = compiled.positiontup
        converters = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()
        }
        self._converters = {name: convert for name, convert in converters.items() if convert is not None}
        self._to_convert = [name for name in self._converters if compiled.binds[name].required]
        #: values that stand in the statement itself
        self._constants = {
            name: self._converted(name, bind.value) for name, bind in compiled.binds.items() if not bind.required
        }

    def run(self, cursor: Any, values: Any) -> int:
        """How many rows matched; raises what the driver raises."""
        bound = {**self._constants, **values}
        for name in self._to_convert:
            bound[name] = self._converters[name](bound[name])
        parameters = bound if self._places is None else tuple(bound[name] for name in self._places)
        self._check(cursor, self._text, parameters)
        cursor.execute(self._text, parameters)
        return cast(int, cursor.rowcount)

    def _converted(self, name: str, value: Any) -> Any:
        convert = self._converters.get(name)
        return value if convert is None else convert(value)


class Verbatim:
    """MySQL's own SQL, whose length depends on how many rows it is about; values are bound by their places."""

    def __init__(self, text: str, check: Check) -> None:
        self._text = text
        self._check = check

    def run(self, cursor: Any, values: Any) -> int:
        """How many rows matched; raises what the driver raises."""
        self._check(cursor, self._text, values)
        cursor.execute(self._text, values)
        return cast(int, cursor.rowcount)
