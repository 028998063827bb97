"""Does harm at random moments, in an order that its seed decides, and puts it right after a while."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.campaign.herd import LEASE_S, Herd
from tests.campaign.journal import Journal
from tests.servers.mariadb import OwnMariaDb
from tests.servers.rabbitmq import RabbitServer
from tests.servers.tcp_proxy import TcpProxy

#: seconds of a pause after which another worker has the task for sure: the lease, the watching, and what a broker
#: needs to find out that a consumer with a heartbeat of 2 s is silent
PAST_THE_LEASE_S = (LEASE_S + 7.0, LEASE_S + 10.0)
#: seconds of a pause, or of a link that hangs, that must cost nobody anything
BLINK_S = (0.5, 2.0)
#: seconds for which a server stays away; longer than the lease now and then
OUTAGE_S = (0.0, 2.0, LEASE_S + 4.0)


@dataclass
class Site:
    """What can be harmed. Workers reach the servers by the proxies only."""

    herd: Herd
    rabbitmq: RabbitServer
    mariadb: OwnMariaDb
    way_to_broker: TcpProxy
    way_to_database: TcpProxy


@dataclass
class Monkey:
    site: Site
    journal: Journal
    rng: random.Random
    #: seconds between two deeds
    gap_s: tuple[float, float]
    _later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    _is_away: set[str] = field(default_factory=set)

    def play(self, opening: Sequence[str], deck: Sequence[str], *, until: float) -> None:
        """First the opening in its order, then rounds of the deck in an order of chance: one, and more until then.

        Both name deeds below; `until` is a moment of the monotonic clock.
        """
        self._do(opening)
        while True:
            self._do(self.rng.sample(list(deck), len(deck)))
            if time.monotonic() > until:
                return

    def _do(self, deeds: Sequence[str]) -> None:
        for deed in deeds:
            self._wait(self.rng.uniform(*self.gap_s))
            getattr(self, f"_{deed}")()

    def put_all_right(self) -> None:
        while self._later:
            self._wait(0.1)
        self.site.rabbitmq.wait_until_ready()

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            for entry in [entry for entry in self._later if entry[0] <= now]:
                self._later.remove(entry)
                entry[1]()
            self.site.herd.look_after()
            if now >= until:
                return
            time.sleep(0.05)

    def _in(self, seconds: float, undo: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, undo))

    # -- the deeds ----------------------------------------------------------------------------

    def _kill(self) -> None:
        self.site.herd.kill()

    def _terminate(self) -> None:
        self.site.herd.terminate()

    def _pause(self) -> None:
        self._stop_and_go("pause past the lease", PAST_THE_LEASE_S)

    def _blink(self) -> None:
        self._stop_and_go("short pause", BLINK_S)

    def _stop_and_go(self, deed: str, seconds: tuple[float, float]) -> None:
        if (member := self.site.herd.pause()) is not None:
            self._in(self.rng.uniform(*seconds), lambda: self.site.herd.resume(member, deed))

    def _broker(self) -> None:
        if "broker" not in self._is_away:
            self._is_away.add("broker")
            self.journal.write("kill -9 of the broker")
            self.site.rabbitmq.stop()
            self._in(self.rng.choice(OUTAGE_S), self._broker_comes_back)

    def _broker_comes_back(self) -> None:
        self.site.rabbitmq.start_without_waiting()
        self._is_away.discard("broker")

    def _database(self) -> None:
        if "database" not in self._is_away:
            self._is_away.add("database")
            self.journal.write("kill -9 of the database")
            self.site.mariadb.kill()
            self._in(self.rng.choice(OUTAGE_S), self._database_comes_back)

    def _database_comes_back(self) -> None:
        self.site.mariadb.start()
        self._is_away.discard("database")

    def _cut_broker(self) -> None:
        self.journal.write("cut of all links to the broker")
        self.site.way_to_broker.cut()

    def _cut_database(self) -> None:
        self.journal.write("cut of all links to the database")
        self.site.way_to_database.cut()

    def _cut_at_commit(self) -> None:
        """The database has the outcome, its answer never arrives."""

        def cut() -> None:
            self.journal.write("cut after an outcome was sent")
            self.site.way_to_database.cut()

        self.site.way_to_database.on_client_bytes(b"completed_at=", cut)

    def _hang_broker(self) -> None:
        self._hang(self.site.way_to_broker, "the broker")

    def _hang_database(self) -> None:
        self._hang(self.site.way_to_database, "the database")

    def _hang(self, way: TcpProxy, server: str) -> None:
        self.journal.write(f"links to {server} hang")
        way.hang()
        self._in(self.rng.uniform(*BLINK_S), way.resume)
