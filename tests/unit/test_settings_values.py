"""What each setting may be, and what is said where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.settings import Settings, mask_url

P = "GRID_ASYNC_TASK_"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
UNUSUAL = "p@ss:w/ord#%"


def value_of(tmp_path: Path, name: str, text: str) -> object:
    return getattr(Settings.from_environment({f"{P}{name}": text}, tmp_path), name.lower())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("AMQP_URL", "amqp://u:p@h:5672/v", "amqp://u:p@h:5672/v"),
        ("AMQP_URL", " amqps://u:p@h\n", "amqps://u:p@h"),
        ("AMQP_URL", "amqp://u:p%40%2F@[::1]:5672/%2F?heartbeat=5", "amqp://u:p%40%2F@[::1]:5672/%2F?heartbeat=5"),
        ("AMQP_URL", "amqp://u:p@ss@h/", "amqp://u:p%40ss@h/"),
        ("AMQP_URL", "sqlite:///queue.db", "sqlite:///queue.db"),
        ("AMQP_URL", "sqlite:////var/a#@b.db", "sqlite:////var/a#@b.db"),
        ("AMQP_URL", "memory://", "memory://"),
        ("MYSQL_URL", "mysql://r:p@h/db", "mysql+pymysql://r:p@h/db?charset=utf8mb4"),
        ("MYSQL_URL", "mysql+pymysql://r:p@h:1/db?ssl_ca=x", "mysql+pymysql://r:p@h:1/db?ssl_ca=x&charset=utf8mb4"),
        ("MYSQL_URL", "mysql+pymysql://h/db?charset=utf8mb4", "mysql+pymysql://h/db?charset=utf8mb4"),
        ("MYSQL_URL", "sqlite:///tasks.db", "sqlite:///tasks.db"),
        ("MYSQL_URL", "memory://", "memory://"),
        ("QUEUE", " 任务 queue ", "任务 queue"),
        ("QUEUE_TYPE", "Quorum", "quorum"),
        ("ISOLATION", "process", "process"),
        ("RETRY_STRATEGY", "EXPONENTIAL", "exponential"),
        ("RETRY_DELAY", "0.5", 0.5),
        ("RETRY_JITTER", "0.2", 0.2),
        ("RETRY_JITTER", "1", 1.0),
        ("MAX_RETRY_COUNT", "1000000", 1_000_000),
        ("CALLBACK_SECRET", SECRET, (SECRET,)),
        ("CALLBACK_SECRET", f" {SECRET}, bmV3\n{SECRET} ", (SECRET, "bmV3", SECRET)),
        ("CALLBACK_ALLOWED_HOSTS", "API.example.com, *.local,", ("api.example.com", "*.local")),
        *[("CALLBACK_USE_PROXY", text, True) for text in ("true", "1", "yes", "on", "TRUE", " On ")],
        *[("CALLBACK_BLOCK_PRIVATE", text, False) for text in ("false", "0", "no", "off", "False")],
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("LOG_LEVEL", "warn", "WARNING"),
        ("LOG_FORMAT", "JSON", "json"),
        ("LOG_MAX_SIZE", "100 MB", 100_000_000),
        ("LOG_MAX_SIZE", "1.5GiB", 1_610_612_736),
        ("LOG_RETENTION", "30 days", 30.0),
        ("LOG_RETENTION", "1 day", 1.0),
        ("LOG_RETENTION", "12 hours", 0.5),
        ("LOG_RETENTION", "2 weeks", 14.0),
        ("LOG_RETENTION", "7", 7.0),
        ("MESSAGE_MAX_BYTES", "8 MiB", 8_388_608),
        ("MESSAGE_MAX_BYTES", "1000", 1000),
        ("RESULT_MAX_BYTES", "64 kib", 65_536),
        ("HANDLER", "my_package.tasks:Handler", "my_package.tasks:Handler"),
    ],
)
def test_good_values(tmp_path: Path, name: str, text: str, value: object) -> None:
    assert value_of(tmp_path, name, text) == value


_SECONDS = ("soon", "-1", "nan", "inf", "1e30", "1 s")
BAD = {
    "AMQP_URL": (
        "localhost",
        "http://h/",
        "amqp://",
        "amqp://h:port/",
        "amqp://h:0/",
        "amqp://h:70000/",
        "amqp://u:p w@h/",
        "amqp://u:p#w@h/",
        "amqp://u:1/2@h/",
        "sqlite://x",
        "sqlite:///",
        "memory://x",
    ),
    "MYSQL_URL": ("postgresql://u:p@h/db", "mysql+mysqldb://h/db", "mysql://h", "mysql://h/", "mysql://u:1#2@h/db"),
    "QUEUE": ("q" * 251, "值" * 84, "a\x07b"),
    "TABLE_PREFIX": ("a-b", "a.b", "表"),
    "TABLE_NAME": ("drop table", "t;"),
    "EXCHANGE": ("e" * 256,),
    "QUEUE_TYPE": ("stream",),
    "DB_POOL_SIZE": ("0", "many", "1.5"),
    "DB_MAX_OVERFLOW": ("-1",),
    "HANDLER": ("my_package.tasks", "my_package/tasks.py:Handler", ":Handler"),
    "ISOLATION": ("thread",),
    "PREFETCH_COUNT": ("0", "65536", "all"),
    "MAX_CRASH_COUNT": ("-1",),
    "MESSAGE_MAX_BYTES": ("0", "-1", "8 miles", "MiB"),
    "RESULT_MAX_BYTES": ("big",),
    "MAX_RETRY_COUNT": ("-1", "1000001"),
    "RETRY_STRATEGY": ("random",),
    "RETRY_JITTER": ("-0.1", "1.1", "nan", "some"),
    "CALLBACK_RETRY_COUNT": ("-1", "1001"),
    "CALLBACK_SECRET": ("whsec_", "no base64!", f"{SECRET} ="),
    "CALLBACK_USE_PROXY": ("maybe", "2"),
    "CALLBACK_ALLOWED_HOSTS": ("http://api.example.com", "a b"),
    "CALLBACK_BLOCK_PRIVATE": ("ja",),
    "FEISHU_WEBHOOK_URL": ("open.feishu.cn/hook", "ftp://h/", "https://"),
    "LOG_LEVEL": ("LOUD", "10"),
    "LOG_FORMAT": ("xml",),
    "LOG_MAX_SIZE": ("00:00", "0 MB"),
    "LOG_RETENTION": ("0", "for ever", "-1 days", "10 parsecs"),
    **dict.fromkeys(("TASK_TIMEOUT", "IDLE_TIMEOUT", "PROGRESS_INTERVAL", "SHUTDOWN_GRACE"), _SECONDS),
    **dict.fromkeys(("RETRY_DELAY", "RETRY_MAX_DELAY"), _SECONDS),
    **dict.fromkeys(("PUBLISH_TIMEOUT", "LEASE_SECONDS", "CALLBACK_TIMEOUT"), (*_SECONDS, "0")),
    **dict.fromkeys(("DB_POOL_TIMEOUT", "DB_POOL_RECYCLE"), (*_SECONDS, "0")),
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_bad_values_are_named_and_what_is_allowed(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        value_of(tmp_path, name, text)
    said = str(caught.value)
    assert said.startswith(f"{P}{name} is ")
    assert ", but it has to be " in said
    assert len(said.splitlines()) == 1


def test_all_bad_values_are_named_at_once(tmp_path: Path) -> None:
    environ = {f"{P}QUEUE_TYPE": "stream", f"{P}LOG_LEVEL": "LOUD", "MYSQL_PORT": "x"}
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment(environ, tmp_path, prefetch_count=0)
    assert sorted(str(caught.value).splitlines()) == [
        "GRID_ASYNC_TASK_LOG_LEVEL is 'LOUD', but it has to be DEBUG, INFO, WARNING, ERROR or CRITICAL.",
        "GRID_ASYNC_TASK_QUEUE_TYPE is 'stream', but it has to be classic or quorum.",
        "MYSQL_PORT is 'x', but it has to be a whole number from 1 to 65535.",
        "prefetch_count (GRID_ASYNC_TASK_PREFETCH_COUNT) is 0, but it has to be a whole number from 1 to 65535.",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prefetch_count", 0),
        ("prefetch_count", True),
        ("prefetch_count", 1.5),
        ("retry_delay", float("nan")),
        ("retry_delay", [60]),
        ("queue", ""),
        ("queue", 5),
        ("amqp_url", 5),
        ("log_dir", 5),
        ("log_level", 10),
        ("log_max_size", float("inf")),
        ("max_retry_count", None),
        ("callback_secret", (SECRET, 5)),
        ("callback_secret", 5),
        ("callback_allowed_hosts", 5),
        ("feishu_webhook_url", "https://[x"),
    ],
)
def test_bad_keywords_are_refused_too(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_keywords_may_be_what_they_mean() -> None:
    settings = Settings(log_dir=Path("a/b"), callback_allowed_hosts=["A.example"], log_retention=2, retry_delay=5)  # type: ignore[arg-type]
    assert settings == Settings(
        log_dir="a/b", callback_allowed_hosts=("a.example",), log_retention="2 days", retry_delay="5"
    )  # type: ignore[arg-type]


def test_a_tables_name_that_mysql_would_refuse(tmp_path: Path) -> None:
    environ = {f"{P}TABLE_PREFIX": "p" * 40, f"{P}TABLE_NAME": "n" * 25}
    with pytest.raises(ConfigurationError, match="together have 65 characters"):
        Settings.from_environment(environ, tmp_path)
    assert len(Settings(table_prefix="p" * 40, table_name="n" * 24).table) == 64
    assert Settings(table_prefix="", table_name="tasks").table == "tasks"


# -- secrets ----------------------------------------------------------------------------------------


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        {
            "RABBITMQ_PASSWORD": UNUSUAL,
            f"{P}MYSQL_URL": "mysql://root:hidden1@db/x?ssl_key_password=hidden2",
            f"{P}FEISHU_WEBHOOK_URL": "https://open.feishu.cn/hook/hidden3",
            f"{P}FEISHU_SECRET": "hidden4",
            f"{P}CALLBACK_SECRET": f"{SECRET} aGlkZGVu",
        },
        tmp_path,
    )
    for text in (repr(settings), str(settings), f"{settings}"):
        for secret in ("hidden", UNUSUAL, "p%40ss", "w%2Ford", SECRET, "aGlkZGVu"):
            assert secret not in text
        assert "amqp://guest:***@localhost:5672/" in text
        assert "callback_secret=***" in text


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("amqp://u:{}@h:x/", "u:***@h"),
        ("amqp://u:{}@h:5672/v", "u:***@h"),
        ("u:{}@h", "u:***@h"),
        ("http://u:{}@h/", "http://***@h"),
    ],
)
def test_the_password_of_a_bad_address_is_not_shown(tmp_path: Path, template: str, shown: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        value_of(tmp_path, "AMQP_URL", template.format(UNUSUAL))
    said = str(caught.value)
    assert shown in said
    assert not any(part in said for part in ("p@ss", "w/ord", "ord#", "#%"))


@pytest.mark.parametrize(("name", "text"), [("CALLBACK_SECRET", "hush!"), ("FEISHU_WEBHOOK_URL", "feishu/hush!")])
def test_a_bad_secret_is_not_shown(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        value_of(tmp_path, name, text)
    assert str(caught.value).startswith(f"{P}{name} is ***, but it has to be ")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://u:p@h:5672/v", "amqp://u:***@h:5672/v"),
        ("amqp://u@h/", "amqp://u@h/"),
        ("amqp://h:5672/v", "amqp://h:5672/v"),
        ("amqp://:p@h/", "amqp://:***@h/"),
        (f"amqp://u:{UNUSUAL}@h/", "amqp://u:***@h/"),
        ("amqp://u:a@b@c@h/", "amqp://u:***@h/"),
        ("amqp://u:secret", "amqp://u:***"),
        ("u:secret", "u:***"),
        ("mysql://h/db?password=x&a=b&client_secret=y", "mysql://h/db?password=***&a=b&client_secret=***"),
        ("https://h/hook?key=k&a=b&sig=s&code=c", "https://h/hook?key=***&a=b&sig=***&code=***"),
        ("https://t0ken@h/hook", "https://***@h/hook"),
        ("https://u:p@h/hook", "https://***@h/hook"),
        ("mysql+pymysql://u:p@h/db?charset=utf8mb4", "mysql+pymysql://u:***@h/db?charset=utf8mb4"),
        ("sqlite:///queue.db", "sqlite:///queue.db"),
        ("memory://", "memory://"),
    ],
)
def test_masking(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_a_long_bad_value_is_shown_in_part(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        value_of(tmp_path, "QUEUE", "q" * 10_000)
    assert len(str(caught.value)) < 500
