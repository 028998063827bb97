"""The files around the package say the same as the package: requirements, image, CI, what people read."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest, as packaging does

ROOT = Path(__file__).parents[2]
#: the line of requirements.txt below which the image installs nothing
TESTS_LINE = "# tests"


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def requirements(lines: list[str]) -> dict[str, Requirement]:
    """By name; comments and empty lines left out."""
    wanted = [Requirement(text) for line in lines if (text := line.partition("#")[0].strip())]
    return {each.name.lower(): each for each in wanted}


def parts_of_requirements_txt() -> tuple[dict[str, Requirement], dict[str, Requirement]]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    (border,) = [number for number, line in enumerate(lines) if line.startswith(TESTS_LINE)]
    return requirements(lines[:border]), requirements(lines[border:])


# -- requirements.txt -----------------------------------------------------------------------------------


def test_the_runtime_part_is_that_of_pyproject() -> None:
    runtime, _ = parts_of_requirements_txt()
    assert runtime == requirements(project()["dependencies"])


def test_the_tests_part_is_taken_from_the_dev_extra() -> None:
    _, tests = parts_of_requirements_txt()
    dev = requirements(project()["optional-dependencies"]["dev"])
    assert tests == {name: dev.get(name) for name in tests}


def test_all_that_the_unit_tests_import_is_required() -> None:
    files = [*ROOT.glob("tests/*.py"), *ROOT.glob("tests/unit/*.py"), *ROOT.glob("tests/servers/*.py")]
    required = {name for part in parts_of_requirements_txt() for name in part}
    distributions = packages_distributions()
    with_pytest = {"packaging", "tomli"}
    missing = {
        (file.name, module)
        for file in files
        for module in imported_modules(file)
        if not {name.lower() for name in distributions.get(module, [module])} & (required | with_pytest)
    }
    assert missing == set()


def imported_modules(file: Path) -> Iterator[str]:
    """The top-level names of what a file imports from elsewhere."""
    own = {"alembic", "benchmarks", "examples", "grid_async_task", "tests"}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        for name in names:
            top = name.partition(".")[0]
            if top not in own | sys.stdlib_module_names | {"tomllib"}:
                yield top


#: numbered by years, so that no number says what breaks
WITHOUT_UPPER_BOUND = {"structlog", "tzdata"}


def test_what_an_application_gets_has_bounds() -> None:
    extras = project()["optional-dependencies"]
    shipped = [*project()["dependencies"], *extras["metrics"], *extras["otel"]]
    for name, each in requirements(shipped).items():
        operators = {bound.operator for bound in each.specifier}
        assert operators == ({">="} if name in WITHOUT_UPPER_BOUND else {">=", "<"}), name


# -- the image ------------------------------------------------------------------------------------------


def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_image_leaves_the_tests_part_out() -> None:
    assert f"sed '/^{TESTS_LINE}/,$d' requirements.txt" in dockerfile()


def test_what_the_image_copies_is_there_and_is_sent_to_the_builder() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile(), re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {source for source in copied if not (ROOT / source).exists()} == set()
    assert set(copied) == sent


def test_the_image_runs_the_worker_as_process_1_and_not_as_root() -> None:
    instructions = dockerfile().splitlines()
    assert instructions[-1] == 'CMD ["python", "-m", "grid_async_task.cli"]'
    assert re.search(r"^USER [1-9]\d*$", dockerfile(), re.MULTILINE)
    assert "ENTRYPOINT" not in dockerfile()


# -- CI -------------------------------------------------------------------------------------------------


def test_ci_runs_what_a_developer_runs_from_the_oldest_python_on() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert re.findall(r"^ +run: (?!apt-get)(.+)$", workflow, re.MULTILINE) == [".ci/run"]
    (matrix,) = re.findall(r"^ +python: \[(.+)\]$", workflow, re.MULTILINE)
    versions = [tuple(map(int, version.strip(' "').split("."))) for version in matrix.split(",")]
    assert versions == sorted(versions)
    assert project()["requires-python"] == ">={}.{}".format(*versions[0])


# -- what people read -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "examples/README.md", "examples/publishers/README.md"])
def test_the_files_that_a_page_names_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [(ROOT / page).parent / target for target in re.findall(r"\]\(([^)#:]+)\)", text)]
    named = [ROOT / name for name in re.findall(r"`((?:grid_async_task|tests|alembic|examples)/[\w./]*)`", text)]
    assert links or named
    assert [str(path) for path in (*links, *named) if not path.exists()] == []


def test_the_names_that_contributing_gives_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`(open_\w+|[A-Z]+(?:_[A-Z]+)+|HEAD|[A-Z]\w+Contract)`", text))
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "grid_async_task").rglob("*.py")))
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "servers").glob("*.py"))
    assert len(names) >= 8
    assert {name for name in names if not re.search(rf"\b{name}\b", source + tests)} == set()
