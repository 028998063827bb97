"""Where settings come from, and what wins over what (SPEC section 9)."""

from __future__ import annotations

import pickle
import re
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import pytest
from dotenv import dotenv_values

from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.domain.retry import RetryStrategy
from grid_async_task.settings import Settings, model

P = "GRID_ASYNC_TASK_"
EXAMPLE = Path(__file__).parents[2] / "env_example.txt"


def read(folder: Path, environ: dict[str, str] | None = None, **overrides: object) -> Settings:
    return Settings.from_environment(environ or {}, folder, **overrides)


def write_env(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".env").write_text(text, encoding="utf-8")
    return folder


# -- defaults ---------------------------------------------------------------------------------------

DEFAULTS = {
    "amqp_url": None,
    "queue": None,
    "mysql_url": None,
    "table_prefix": "grid_async_task_",
    "table_name": "tasks",
    "exchange": "",
    "queue_type": None,
    "publish_timeout": 30,
    "db_pool_size": 1,
    "db_max_overflow": 4,
    "db_pool_timeout": 10,
    "db_pool_recycle": 1800,
    "handler": None,
    "isolation": "none",
    "prefetch_count": 1,
    "task_timeout": 0,
    "idle_timeout": 0,
    "progress_interval": 10,
    "shutdown_grace": 25,
    "lease_seconds": 60,
    "max_crash_count": 3,
    "message_max_bytes": 8 * 1024 * 1024,
    "result_max_bytes": 8 * 1024 * 1024,
    "recurring": None,
    "health_port": None,
    "metrics_port": None,
    "max_retry_count": 0,
    "retry_delay": 60,
    "retry_strategy": "fixed",
    "retry_max_delay": 3600,
    "retry_jitter": 0,
    "callback_timeout": 30,
    "callback_retry_count": 3,
    "callback_secret": (),
    "callback_use_proxy": False,
    "callback_allowed_hosts": (),
    "callback_block_private": False,
    "feishu_webhook_url": None,
    "feishu_secret": None,
    "log_level": "INFO",
    "log_dir": "logs",
    "log_format": None,
    "log_max_size": 100_000_000,
    "log_retention": 30,
    "env_file": None,
}


def test_defaults(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert {each.name: getattr(settings, each.name) for each in fields(settings)} == DEFAULTS
    assert settings == Settings()
    assert settings.table == "grid_async_task_tasks"


# -- precedence -------------------------------------------------------------------------------------


@pytest.mark.parametrize("keyword", [None, "keyword"])
@pytest.mark.parametrize("variable", [None, "", "  ", "environment"])
@pytest.mark.parametrize("line", [None, "", "file"])
def test_keyword_before_environment_before_file_before_default(
    tmp_path: Path, keyword: str | None, variable: str | None, line: str | None
) -> None:
    if line is not None:
        write_env(tmp_path, f"{P}LOG_DIR={line}\n")
    environ = {} if variable is None else {f"{P}LOG_DIR": variable}
    expected = keyword or (variable or "").strip() or line or "logs"
    assert read(tmp_path, environ, log_dir=keyword).log_dir == expected


def test_the_real_environment_and_working_directory_are_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_env(tmp_path, f"{P}QUEUE=from_file\n{P}LOG_DIR=from_file\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"{P}QUEUE", "from_environment")
    settings = Settings.from_environment()
    assert (settings.queue, settings.log_dir) == ("from_environment", "from_file")
    assert settings.env_file == tmp_path / ".env"


def test_the_nearest_file_upwards_counts_alone(tmp_path: Path) -> None:
    write_env(tmp_path, f"{P}QUEUE=far\n{P}LOG_DIR=far\n")
    near = write_env(tmp_path / "a", f"{P}QUEUE=near\n")
    below = tmp_path / "a" / "b" / "c"
    below.mkdir(parents=True)
    settings = read(below)
    assert (settings.queue, settings.log_dir, settings.env_file) == ("near", "logs", near / ".env")


def test_a_folder_called_env_is_passed_over(tmp_path: Path) -> None:
    write_env(tmp_path, f"{P}QUEUE=q\n")
    (tmp_path / "a" / ".env").mkdir(parents=True)
    assert read(tmp_path / "a").queue == "q"


def test_the_file_has_the_syntax_of_python_dotenv(tmp_path: Path) -> None:
    write_env(
        tmp_path,
        f"""\ufeff# a comment behind a byte order mark
export {P}QUEUE="quoted # queue"  # comment
NAME=reports
{P}LOG_DIR=/var/log/${{NAME}}/${{MISSING:-default}}
{P}HANDLER
""",
    )
    settings = read(tmp_path)
    assert settings.queue == "quoted # queue"
    assert settings.log_dir == "/var/log/reports/default"
    assert settings.handler is None


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe")
    with pytest.raises(ConfigurationError, match=re.escape(str(tmp_path / ".env"))):
        read(tmp_path)


def test_a_deleted_working_directory_has_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert Settings.from_environment({f"{P}QUEUE": "q"}).queue == "q"


def test_the_file_does_not_change_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"{P}QUEUE", raising=False)
    write_env(tmp_path, f"{P}QUEUE=q\n")
    environ: dict[str, str] = {}
    read(tmp_path, environ)
    assert environ == {}


# -- names ------------------------------------------------------------------------------------------


def test_timeout_is_another_name_of_task_timeout(tmp_path: Path) -> None:
    assert read(tmp_path, {f"{P}TIMEOUT": "5"}).task_timeout == 5
    assert read(tmp_path, {f"{P}TIMEOUT": "5", f"{P}TASK_TIMEOUT": "7"}).task_timeout == 7
    with pytest.raises(ConfigurationError, match=f"{P}TIMEOUT is 'x'"):
        read(tmp_path, {f"{P}TIMEOUT": "x"})


def test_names_of_the_reference_are_ignored_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model._warn_of_ignored.cache_clear()
    environ = {f"{P}ROUTING_KEY": "tasks", f"{P}HEALTH_CHECK_INTERVAL": "rubbish"}
    for _ in range(3):
        read(tmp_path, environ)
    assert [record.getMessage() for record in caplog.records] == [
        f"{P}ROUTING_KEY, {P}HEALTH_CHECK_INTERVAL: no longer in use, ignored"
    ]


def test_unknown_names_are_ignored_silently(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model._warn_of_ignored.cache_clear()
    environ = {f"{P}PORT": "tcp://10.0.0.1:80", f"{P}SERVICE_HOST": "10.0.0.1", f"{P}TASK_TIMEOUTS": "1"}
    assert read(tmp_path, environ) == Settings()
    assert caplog.records == []


def test_an_unknown_keyword_is_a_mistake_in_the_program(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no such setting: retry_delays"):
        read(tmp_path, retry_delays=5)
    with pytest.raises(TypeError):
        read(tmp_path, env_file=".env")


def test_the_example_file_names_every_setting_and_no_other() -> None:
    names = re.findall(rf"^#?{P}([A-Z_]+)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(names) == len(set(names))
    assert {name.lower() for name in names} == {each.name for each in fields(Settings)} - {"env_file"}


def test_the_example_file_is_valid_and_shows_the_defaults(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    settings = read(write_env(tmp_path / "as it is", text))
    settings.require("amqp_url", "rabbitmq_queue", "mysql_url")
    everything = re.sub(rf"^#({P})", r"\1", text, flags=re.MULTILINE)
    full = read(write_env(tmp_path / "all", everything))
    examples = {"queue_type", "handler", "callback_secret", "callback_allowed_hosts", "log_format", "health_port"}
    examples |= {
        "recurring",
        "metrics_port",
        "feishu_webhook_url",
        "feishu_secret",
        "amqp_url",
        "queue",
        "mysql_url",
        "env_file",
    }
    for name in DEFAULTS.keys() - examples:
        assert getattr(full, name) == DEFAULTS[name], name
    assert all(getattr(full, name) for name in examples)
    assert dotenv_values(EXAMPLE)


def test_the_example_file_explains_each_setting_in_both_languages() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    blocks = [block for block in text.split("\n\n") if re.search(rf"^#?{P}", block, re.MULTILINE)]
    for block in blocks:
        comment = "\n".join(line for line in block.splitlines() if line.startswith("# "))
        assert re.search(r"[\u4e00-\u9fff]", comment), block
        assert re.search(r"^# [\x00-\x7f]*[a-z]{3}[\x00-\x7f]*$", comment, re.MULTILINE), block


# -- what is missing --------------------------------------------------------------------------------


def test_missing_settings_are_listed_as_ever(tmp_path: Path) -> None:
    write_env(tmp_path, "OTHER=1\n")
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path).require("amqp_url", "rabbitmq_queue", "mysql_url")
    text = str(caught.value)
    assert text.startswith(
        "Grid异步任务插件配置错误：缺少必需的环境变量配置\n缺少的配置项：amqp_url, rabbitmq_queue, mysql_url\n"
    )
    for name in ("AMQP_URL", "QUEUE", "MYSQL_URL"):
        assert f"{P}{name}, for example " in text
    assert f"{tmp_path / '.env'} was read" in text


def test_only_missing_ones_of_those_that_are_needed_are_listed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings(queue="q").require("rabbitmq_queue", "mysql_url")
    text = str(caught.value)
    assert text.splitlines()[1] == "缺少的配置项：mysql_url"
    assert "AMQP_URL" not in text
    assert "No .env was found" in text


def test_nothing_missing_is_fine() -> None:
    Settings(queue="q", mysql_url="memory://").require("rabbitmq_queue", "mysql_url")
    Settings().require()


# -- the object -------------------------------------------------------------------------------------


def test_settings_are_frozen_and_travel_to_other_processes() -> None:
    settings = Settings(queue="q", retry_strategy="linear", log_max_size="1 KiB")
    with pytest.raises(FrozenInstanceError):
        settings.queue = "other"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(settings)) == settings
    changed = replace(settings, queue="other")
    assert (changed.queue, changed.retry_strategy, changed.log_max_size) == ("other", RetryStrategy.LINEAR, 1024)
