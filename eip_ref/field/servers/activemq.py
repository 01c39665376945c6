"""ActiveMQ Classic, one broker with STOMP, its store KahaDB and its scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .server import HOST, Server, ask, says, which

__all__ = ["ActiveMQ"]

HOME = Path("/usr/share/activemq")
CONNECT = b"STOMP\naccept-version:1.2\nhost:localhost\n\n\0"

CONFIG = """\
<beans xmlns="http://www.springframework.org/schema/beans"
       xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
       xsi:schemaLocation="http://www.springframework.org/schema/beans
                           http://www.springframework.org/schema/beans/spring-beans-2.0.xsd
                           http://activemq.apache.org/schema/core
                           http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="eip" useJmx="false"
          dataDirectory="{folder}/data" schedulerSupport="true">
    <persistenceAdapter><kahaDB directory="{folder}/data/kahadb"/></persistenceAdapter>
    <transportConnectors>
      <transportConnector name="stomp" uri="stomp://{host}:{port}?transport.hbGracePeriodMultiplier=1.5"/>
    </transportConnectors>
  </broker>
</beans>
"""


class ActiveMQ(Server):
    """A broker in Java whose queues are on the disk."""

    name = "ActiveMQ Classic"
    install = "sudo apt-get install --yes --no-install-recommends activemq"

    @classmethod
    def program(cls) -> str | None:
        return which("java") if (HOME / "bin" / "activemq.jar").exists() else None

    @classmethod
    def version(cls) -> str:
        return says("dpkg-query", "-W", "-f", "${Version}", "activemq").partition("+")[0]

    def prepare(self) -> None:
        text = CONFIG.format(folder=self.folder, host=HOST, port=self.port)
        (self.folder / "activemq.xml").write_text(text)

    def command(self) -> Sequence[str]:
        places = {"home": HOME, "base": self.folder, "conf": self.folder, "data": self.folder / "data"}
        return [
            self.program() or "java",
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",  # a short life: start soon
            *(f"-Dactivemq.{name}={place}" for name, place in places.items()),
            "-jar",
            str(HOME / "bin" / "activemq.jar"),
            "start",
            f"xbean:file:{self.folder}/activemq.xml",
        ]

    def is_ready(self) -> bool:
        return ask(self.port, CONNECT).startswith(b"CONNECTED")

    @property
    def own_url(self) -> str:
        return f"stomp://{HOST}:{self.port}"
