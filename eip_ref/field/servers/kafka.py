"""Kafka, one node that is broker and controller (KRaft), from the jars that Maven brings.

The scripts of the distribution are not needed: its two classes are started, with a small heap and the
quick compiler alone, because a node here lives for minutes. Share groups may have short leases, and are
joined soon.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .server import HOST, Server, ask, which

__all__ = ["Kafka"]

POM = Path(__file__).with_name("kafka.xml")
VERSION = POM.read_text(encoding="utf-8").partition("<kafka.version>")[2].partition("</")[0]
JARS = Path.home() / ".cache" / "eip-field" / f"kafka-{VERSION}"
JAVA = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
JRE = "sudo apt-get install --yes maven default-jre-headless"
QUIET = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
CLUSTER = "ZWlwLWZpZWxkLWthZmthLQ"  #: an id of 16 bytes, as Kafka writes them

METADATA = struct.pack(">ihhihi", 14, 3, 1, 0, -1, 0)  #: a request for the brokers, and for no topics
ONE_BROKER = struct.pack(">ii", 0, 1)  #: of the answer, after its length: its number, then how many

CONFIG = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/data
log.cleaner.dedupe.buffer.size=2097152
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.share.min.record.lock.duration.ms=1000
group.share.min.heartbeat.interval.ms=500
group.share.heartbeat.interval.ms=500
"""


class Kafka(Server):
    """A node on a Java virtual machine: some seconds pass until it answers."""

    name = "Kafka"
    install = f"mvn -q -f {POM}"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._controller = self._take_port()

    @classmethod
    def program(cls) -> str | None:
        return which("java") if (JARS / f"kafka_2.13-{VERSION}.jar").exists() else None

    @classmethod
    def missing(cls) -> str:
        needed = (
            "" if which("java") else "; it needs Java 17: sudo apt-get install --yes default-jre-headless"
        )
        return super().missing() and super().missing() + needed

    @classmethod
    def version(cls) -> str:
        return VERSION

    def prepare(self) -> None:
        config = CONFIG.format(host=HOST, port=self.port, controller=self._controller, folder=self.folder)
        (self.folder / "server.properties").write_text(config)
        form = [*self._class("kafka.tools.StorageTool"), "format", "-t", CLUSTER, "-c", "server.properties"]
        subprocess.run(form, cwd=self.folder, check=True, capture_output=True)

    def command(self) -> Sequence[str]:
        return [*self._class("kafka.Kafka"), "server.properties"]

    def _class(self, name: str) -> list[str]:
        return [self.program() or "java", *JAVA, QUIET, "-cp", f"{JARS}/*", name]

    def is_ready(self) -> bool:
        return ask(self.port, METADATA)[4:].startswith(ONE_BROKER)
