"""A whole installation whose passwords are unlike any other text, and all that can be seen of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import pytest
from dependency_injector import providers
from sqlalchemy import make_url

from grid_async_task import Settings, TaskHandler
from grid_async_task.bootstrap import WorkerContainer
from grid_async_task.cli.program import run
from tests.cli_site import Site
from tests.servers.http_receiver import Answer, HttpReceiver
from tests.servers.mariadb import MySqlServer
from tests.servers.rabbitmq import RabbitServer, new_queue_name

#: ids of the tasks by what becomes of them
SUCCEEDS, FAILS, UNREACHABLE, FAILS_IN_A_CHILD = "succeeds", "fails", "unreachable", "fails in a child"

SECRETS = {
    "broker": "Rb7Q'x/p%Z@:?#&=+ü9xK",
    "database": 'Db4W"y/m%V@:?#&=+ö2kP',
    "feishu address": "hook-5e1c-9Yt3mNq8Lz",
    "feishu secret": "fs+Jk2/Hd8%Rv6=Tq",
    "signing": "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "wrong broker": "Wr5T'n/b%X@:?#&=+ä3vM",
    "wrong database": 'Wd8U"s/c%Y@:?#&=+é7hJ',
    # the requester's: it stands in the message and in the row, where the worker reads it, and nowhere else
    "callback url": "Cu6X-r3Gw9Zt1",
}
IN_ROW_AND_MESSAGE = "callback url"


def forms_of(secret: str) -> set[str]:
    """How a secret may look: as it is, in a URL, in JSON, in a `repr`, and as part of something in base64."""
    plain = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
    written = {repr(form)[1:-1] for form in plain} | {
        json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in plain for ascii_only in (True, False)
    }
    encoded = set()
    for form in (secret.encode(), quote(secret, safe="").encode()):
        for before in range(3):  # what stands before it moves its bits
            whole = base64.b64encode(b"x" * before + form).decode().rstrip("=")
            encoded.add(whole[4 if before else 0 : -2])
    return plain | written | encoded


@dataclass
class Seen:
    """Everything that somebody can read, by where it stands."""

    texts: dict[str, str] = field(default_factory=dict)

    def add(self, where: str, text: str | bytes) -> None:
        name = f"{where} ({len(self.texts)})"
        self.texts[name] = text.decode("utf-8", "replace") if isinstance(text, bytes) else text

    def showing(self, secret: str) -> list[str]:
        return [where for where, text in self.texts.items() if any(form in text for form in forms_of(secret))]


@dataclass
class Installation:
    site: Site
    receiver: HttpReceiver
    feishu: HttpReceiver
    mariadb: MySqlServer
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    seen: Seen = field(default_factory=Seen)

    def command(self, *arguments: str, **more: str) -> str:
        """What a command says, whatever comes of it. In this process, which is faster."""
        with self.monkeypatch.context() as variables:
            for name, value in self.with_more(more).variables.items():
                variables.setenv(name, value)
            self.capsys.readouterr()
            run(arguments)
            said = "".join(self.capsys.readouterr())
        self.seen.add(" ".join(arguments), said)
        return said

    def worker(self, **more: str) -> str:
        """What a worker in a process of its own says until it ends."""
        done = self.with_more(more).program("worker", "--handler", "tests.leaky_handler:Leaky")
        self.seen.add("worker", done.stdout + done.stderr)
        return done.stdout + done.stderr

    def with_more(self, more: dict[str, str]) -> Site:
        return replace(self.site, more={**self.site.more, **more})

    def publish(self, task_id: str, url: str, **data: Any) -> None:
        self.site.publish(json.dumps({"task_id": task_id, "callback_url": url, "data": data}).encode())

    def look_at_all_that_is_left(self) -> None:
        for file in self.site.directory.rglob("*"):
            if file.is_file():
                self.seen.add(f"file {file.name}", file.read_bytes())
        for request in (*self.receiver.requests, *self.feishu.requests):
            self.seen.add("request's headers", repr(dict(request.headers)))
            self.seen.add("request's body", request.body)
        database = make_url(self.site.mysql_url).database
        for (table,) in self.mariadb.execute("SHOW TABLES", database):
            self.seen.add(f"rows of {table}", repr(self.mariadb.execute(f"SELECT * FROM {table}", database)))
        for queue in (self.site.queue, f"{self.site.queue}.dead"):
            for delivery in self.site.take_all(queue):
                self.seen.add(f"message of {queue}", delivery.body)
                self.seen.add(f"message of {queue}", repr((delivery.headers, delivery.properties, delivery)))


@pytest.fixture
def installation(
    tmp_path: Path,
    rabbitmq: RabbitServer,
    mariadb: MySqlServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Installation]:
    # the broker is the tests' own, so the user may stay; each such command takes seconds
    rabbitmq.run("add_user", "runner", SECRETS["broker"])
    rabbitmq.run("set_permissions", "runner", ".*", ".*", ".*")
    database = mariadb.new_database()
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE USER 'runner'@'%%' IDENTIFIED BY %s", (SECRETS["database"],))
        cursor.execute(f"GRANT ALL ON {database}.* TO 'runner'@'%'")
    with HttpReceiver() as receiver, HttpReceiver() as feishu:
        feishu.answer_by(lambda request: Answer(body=b'{"code":0}'))
        site = Site(
            tmp_path,
            with_login(rabbitmq.url, SECRETS["broker"]),
            with_login(mariadb.url(database), SECRETS["database"]),
            new_queue_name(),
            more={
                "LOG_LEVEL": "DEBUG",
                "IDLE_TIMEOUT": "2",
                "CALLBACK_SECRET": f"whsec_{SECRETS['signing']}",
                "CALLBACK_RETRY_COUNT": "0",
                "FEISHU_WEBHOOK_URL": f"http://127.0.0.1:{feishu.port}/bot/v2/hook/{SECRETS['feishu address']}",
                "FEISHU_SECRET": SECRETS["feishu secret"],
            },
        )
        yield Installation(site, receiver, feishu, mariadb, monkeypatch, capsys)
    mariadb.execute("DROP USER 'runner'@'%'")
    mariadb.drop_database(database)


def with_login(url: str, password: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"runner:{quote(password, safe='')}@{parts.hostname}:{parts.port}").geturl()


def test_no_secret_is_shown_anywhere(installation: Installation) -> None:
    here, site = installation, installation.site
    here.command("migrate")
    here.publish(SUCCEEDS, here.receiver.url)
    here.publish(FAILS, here.receiver.url, fails=True)
    here.publish(UNREACHABLE, f"http://caller:{SECRETS['callback url']}@127.0.0.1:1/?token={SECRETS['callback url']}")
    site.publish(b'{"task_id": 7}')
    log = here.worker(LOG_FORMAT="json")
    for happened in ("task succeeded", "task failed", "callback given up", "message is dead", "with the password"):
        assert happened in log
    here.publish(FAILS_IN_A_CHILD, here.receiver.url, fails=True)
    log = here.worker(LOG_FORMAT="text", ISOLATION="process")
    for happened in ("task failed", "with the password"):
        assert happened in log

    for arguments in (
        ("--help",),
        ("worker", "--help"),
        ("check",),
        ("check", "--json"),
        *(("status", *json_too, each) for each in (SUCCEEDS, FAILS, UNREACHABLE) for json_too in ((), ("--json",))),
        ("list",),
        ("list", "--json"),
        ("dead", "list", "--json"),
        ("callbacks", "list"),
        ("callbacks", "list", "--json"),
        ("workers", "--json"),
        ("keda", "render"),
    ):
        here.command(*arguments)

    # servers that refuse the login, and a setting that is none
    no_broker = with_login(site.amqp_url, SECRETS["wrong broker"])
    no_database = with_login(site.mysql_url, SECRETS["wrong database"])
    no_url = site.amqp_url.replace("127.0.0.1:", "127.0.0.1:port")
    for wrong in ({"AMQP_URL": no_broker}, {"MYSQL_URL": no_database}, {"AMQP_URL": no_url}):
        assert "runner" in here.command("check", **wrong)
        assert "runner" in here.worker(**wrong)

    here.look_at_all_that_is_left()
    assert (len(here.receiver.requests), len(here.feishu.requests)) == (3, 4)
    for name, secret in SECRETS.items():
        showing = here.seen.showing(secret)
        if name == IN_ROW_AND_MESSAGE:
            kept = [where for where in showing if where.startswith(("rows of", f"message of {site.queue}"))]
            assert kept, "the search finds what is there"
            showing = [where for where in showing if where not in kept]
        assert showing == [], f"{name}: {showing}"


class Nothing(TaskHandler):
    def execute(self, task_data: dict[str, Any]) -> None:
        return None


def test_no_object_shows_a_secret_in_its_repr() -> None:
    settings = Settings(
        amqp_url=with_login("amqp://127.0.0.1:1/", SECRETS["broker"]),
        mysql_url=with_login("mysql+pymysql://127.0.0.1:1/x", SECRETS["database"]),
        queue="q",
        callback_secret=f"whsec_{SECRETS['signing']}",
        feishu_webhook_url=f"https://open.feishu.cn/open-apis/bot/v2/hook/{SECRETS['feishu address']}",
        feishu_secret=SECRETS["feishu secret"],
    )
    container = WorkerContainer(settings=providers.Object(settings), handler=providers.Object(Nothing()))
    objects = [settings, *(getattr(container, name)() for name in container.providers if name != "custom")]
    seen = Seen()
    for each in list(objects):
        # what they are made of too: a debugger and an error tracker show the locals of every frame
        objects += getattr(each, "__dict__", {}).values()
    for each in objects:
        if each is settings or not isinstance(each, (str, tuple, bytes)):
            seen.add(type(each).__name__, f"{each!r} {each}")
    assert len(objects) > 40
    assert {name: seen.showing(secret) for name, secret in SECRETS.items() if seen.showing(secret)} == {}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_the_search_finds_a_secret_in_any_form(secret: str) -> None:
    seen = Seen()
    for text in (
        secret,
        quote(secret),
        json.dumps({"url": secret}),
        repr(secret),
        base64.b64encode(f"runner:{secret}".encode()),
        base64.b64encode(f"ru:{quote(secret, safe='')}!".encode()),
    ):
        seen.add("there", text)
    seen.add("not there", secret[1:])
    assert len(seen.showing(secret)) == 6
