"""RABBITMQ_*, MYSQL_* and the other names of before (SPEC section 9)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pika
import pytest
from sqlalchemy import make_url

from grid_async_task.domain.errors import ConfigurationError
from grid_async_task.settings import Settings

P = "GRID_ASYNC_TASK_"
RABBITMQ_DEFAULT = "amqp://guest:guest@localhost:5672/%2F"
MYSQL_DEFAULT = "mysql+pymysql://root:password@localhost:3306/task_db?charset=utf8mb4"
UNUSUAL = "p@ss:w/ord#%? é值"


@pytest.fixture
def read(tmp_path: Path):  # type: ignore[no-untyped-def]
    return lambda environ, **overrides: Settings.from_environment(environ, tmp_path, **overrides)


@pytest.mark.parametrize(
    ("name", "value", "url", "queue"),
    [
        ("HOST", "rabbit", "amqp://guest:guest@rabbit:5672/%2F", "task_queue"),
        ("PORT", "5673", "amqp://guest:guest@localhost:5673/%2F", "task_queue"),
        ("USERNAME", "me", "amqp://me:guest@localhost:5672/%2F", "task_queue"),
        ("PASSWORD", "pw", "amqp://guest:pw@localhost:5672/%2F", "task_queue"),
        ("VHOST", "/", RABBITMQ_DEFAULT, "task_queue"),
        ("VHOST", "prod", "amqp://guest:guest@localhost:5672/prod", "task_queue"),
        ("QUEUE", "reports", RABBITMQ_DEFAULT, "reports"),
    ],
)
def test_one_name_of_rabbitmq_brings_the_group(read, name: str, value: str, url: str, queue: str) -> None:  # type: ignore[no-untyped-def]
    settings = read({f"RABBITMQ_{name}": value})
    assert (settings.amqp_url, settings.queue, settings.mysql_url) == (url, queue, None)


@pytest.mark.parametrize(
    ("name", "value", "url"),
    [
        ("HOST", "db", "mysql+pymysql://root:password@db:3306/task_db?charset=utf8mb4"),
        ("PORT", "3307", "mysql+pymysql://root:password@localhost:3307/task_db?charset=utf8mb4"),
        ("DATABASE", "x", "mysql+pymysql://root:password@localhost:3306/x?charset=utf8mb4"),
        ("USERNAME", "me", "mysql+pymysql://me:password@localhost:3306/task_db?charset=utf8mb4"),
        ("PASSWORD", "pw", "mysql+pymysql://root:pw@localhost:3306/task_db?charset=utf8mb4"),
    ],
)
def test_one_name_of_mysql_brings_the_group(read, name: str, value: str, url: str) -> None:  # type: ignore[no-untyped-def]
    settings = read({f"MYSQL_{name}": value})
    assert (settings.amqp_url, settings.queue, settings.mysql_url) == (None, None, url)


@pytest.mark.parametrize("password", [UNUSUAL, "100%", "%41", "a b", "+", "@", "/", "#", ":"])
def test_special_characters_reach_the_libraries(read, password: str) -> None:  # type: ignore[no-untyped-def]
    settings = read({"RABBITMQ_PASSWORD": password, "RABBITMQ_USERNAME": "u@x", "MYSQL_PASSWORD": password})
    parameters = pika.URLParameters(settings.amqp_url)
    assert parameters.credentials == pika.PlainCredentials("u@x", password)
    assert (parameters.host, parameters.port, parameters.virtual_host) == ("localhost", 5672, "/")
    url = make_url(settings.mysql_url)
    assert (url.password, url.host, url.database) == (password, "localhost", "task_db")


def test_a_host_that_is_an_ipv6_address(read) -> None:  # type: ignore[no-untyped-def]
    assert read({"RABBITMQ_HOST": "::1"}).amqp_url == "amqp://guest:guest@[::1]:5672/%2F"


def test_a_virtual_host_with_special_characters(read) -> None:  # type: ignore[no-untyped-def]
    url = read({"RABBITMQ_VHOST": "/a b/c"}).amqp_url
    assert unquote(urlsplit(url).path[1:]) == "/a b/c"


def test_service_links_of_kubernetes_are_nobodys_setting(read) -> None:  # type: ignore[no-untyped-def]
    links = {"RABBITMQ_PORT": "tcp://10.0.0.1:5672", "MYSQL_PORT": "tcp://10.0.0.2:3306"}
    settings = read(links)
    assert (settings.amqp_url, settings.queue, settings.mysql_url) == (None, None, None)
    settings = read({**links, "RABBITMQ_HOST": "rabbit", "MYSQL_HOST": "db"})
    assert settings.amqp_url == "amqp://guest:guest@rabbit:5672/%2F"
    assert settings.mysql_url == "mysql+pymysql://root:password@db:3306/task_db?charset=utf8mb4"


def test_a_service_link_does_not_hide_the_file(read, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    # a pod's .env names a port; the link that Kubernetes adds to the environment is no setting that could win
    (tmp_path / ".env").write_text("RABBITMQ_PORT=5673\n")
    assert read({"RABBITMQ_PORT": "tcp://10.0.0.1:5672"}).amqp_url == "amqp://guest:guest@localhost:5673/%2F"


def test_empty_ones_count_as_not_set(read) -> None:  # type: ignore[no-untyped-def]
    settings = read({"RABBITMQ_HOST": "", "MYSQL_PASSWORD": " "})
    assert (settings.amqp_url, settings.queue, settings.mysql_url) == (None, None, None)


def test_new_names_win_wherever_they_come_from(read, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / ".env").write_text(f"{P}AMQP_URL=amqp://new/\n{P}LOG_LEVEL=ERROR\n")
    settings = read({"RABBITMQ_HOST": "old", "MYSQL_HOST": "old", "LOG_LEVEL": "DEBUG"}, mysql_url="memory://")
    assert settings.amqp_url == "amqp://new/"
    assert settings.queue == "task_queue", "the rest of the group still counts"
    assert settings.mysql_url == "memory://"
    assert settings.log_level == "ERROR"


def test_the_queue_alone_may_have_its_new_name(read) -> None:  # type: ignore[no-untyped-def]
    settings = read({f"{P}QUEUE": "new", "RABBITMQ_HOST": "h", "RABBITMQ_QUEUE": "old"})
    assert (settings.amqp_url, settings.queue) == ("amqp://guest:guest@h:5672/%2F", "new")


def test_the_others_stand_alone(read) -> None:  # type: ignore[no-untyped-def]
    assert read({"LOG_LEVEL": "debug"}) == Settings(log_level="DEBUG")
    assert read({"LOG_DIR": "/tmp/x"}) == Settings(log_dir="/tmp/x")
    assert read({"FEISHU_WEBHOOK_URL": "https://h/x"}) == Settings(feishu_webhook_url="https://h/x")


@pytest.mark.parametrize("name", ["RABBITMQ_PORT", "MYSQL_PORT"])
@pytest.mark.parametrize("port", ["x", "0", "65536", "-1"])
def test_a_bad_port_is_named(read, name: str, port: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigurationError, match=f"^{name} is '{port}', but it has to be a whole number from 1 to"):
        read({name: port})


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"RABBITMQ_HOST": "a b", "RABBITMQ_PASSWORD": "hush"}, "from RABBITMQ_\\* is 'amqp://guest:\\*\\*\\*@a b"),
        ({"RABBITMQ_QUEUE": "q" * 300}, "^RABBITMQ_QUEUE is"),
        ({"LOG_LEVEL": "LOUD"}, "^LOG_LEVEL is"),
        ({"FEISHU_WEBHOOK_URL": "hush"}, r"^FEISHU_WEBHOOK_URL is \*\*\*"),
    ],
)
def test_other_bad_values_are_named_as_they_were_given(read, environ: dict[str, str], said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigurationError, match=said) as caught:
        read(environ)
    assert "hush" not in str(caught.value)


def test_a_bad_port_that_nobody_needs_is_no_matter(read) -> None:  # type: ignore[no-untyped-def]
    assert read({"RABBITMQ_PORT": "x"}, amqp_url="memory://").amqp_url == "memory://"
