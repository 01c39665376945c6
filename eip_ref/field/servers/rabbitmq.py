"""RabbitMQ, one node, with its own port mapper beside it.

The wrapper in the search path would change the user and use the machine's data, so the script behind it
is started. Erlang's port mapper would outlive the node, so it is started here, and ended with it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .server import HOST, Server, ask, says, which

SCRIPTS = "/usr/lib/rabbitmq/bin"
PROTOCOL = b"AMQP\0\0\x09\x01"
START_METHOD = b"\1\0\0"  #: how the first frame begins with which the broker answers

CONFIG = """\
listeners.tcp.local = {host}:{port}
loopback_users.guest = true
disk_free_limit.absolute = 50MB
log.console = true
log.file = false
"""


class RabbitMQ(Server):
    """A broker whose queues are on the disk. A node of Erlang: some seconds pass until it answers."""

    name = "RabbitMQ"
    install = "sudo apt-get install --yes --no-install-recommends rabbitmq-server"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._mapper_port, self._node_port = self._take_port(), self._take_port()
        self._mapper: subprocess.Popen[bytes] | None = None

    @classmethod
    def program(cls) -> str | None:
        script = Path(SCRIPTS, "rabbitmq-server")
        return str(script) if script.exists() and which("epmd") else None

    @classmethod
    def version(cls) -> str:
        found = re.search(r"rabbitmq_server-([\d.]+)", str(Path(SCRIPTS, "rabbitmq-server").resolve()))
        return found[1] if found else says("dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server")

    def prepare(self) -> None:
        (self.folder / "rabbitmq.conf").write_text(CONFIG.format(host=HOST, port=self.port))

    def command(self) -> Sequence[str]:
        return [f"{SCRIPTS}/rabbitmq-server"]

    def environment(self) -> Mapping[str, str]:
        return {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": "eip@localhost",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/nonexistent",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none",
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._mapper_port),
        }

    def start(self) -> None:
        """Start the port mapper, if it does not run, and the node."""
        if self._mapper is None:
            mapper = ["epmd", "-address", HOST, "-port", str(self._mapper_port)]
            self._mapper = subprocess.Popen(mapper, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        super().start()

    def stop(self) -> None:
        """End the node, then the port mapper."""
        super().stop()
        if self._mapper is not None:
            self._mapper.terminate()
            self._mapper.wait()
            self._mapper = None

    def is_ready(self) -> bool:
        return ask(self.port, PROTOCOL).startswith(START_METHOD)

    @property
    def own_url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port}/"
