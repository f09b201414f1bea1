"""Kadabra's agent: fronts of the one engine, which takes from the Redis list and sees it into the publisher.

Each receiver thread is an agent of ours on the same pipeline; one is elected and delivers, the others stand by. What an
agent left in progress is taken over by the receiver, so the nannies only say how: they hold Kadabra's settings.
A channel of the user's own, with `receive` and `complete`, is asked in a plain loop.
"""

from __future__ import annotations

import logging
import threading
from hashlib import blake2b
from typing import Any

from tallystick.agent.agent import Agent as Engine
from tallystick.channels.source import ChannelSource
from tallystick.compat.kadabra.channels import RedisChannel
from tallystick.compat.kadabra.config import merged
from tallystick.compat.kadabra.lists import ListChannel
from tallystick.compat.kadabra.publishers import DebugPublisher, InfluxDBPublisher, PublisherTarget
from tallystick.plugins import backend_from_url
from tallystick.settings import load_settings
from tallystick.spool.dead import DeadLetters
from tallystick.spool.folder import Folder

STOP_SECONDS = 8.0


def engine(channel: RedisChannel, publisher: Any, options: dict[str, Any]) -> Engine:
    """The agent that moves from the lists to the publisher."""
    ours = type(publisher) is InfluxDBPublisher
    given = dict(options) if ours else {**options, "whole": "yes"}
    url = channel.url + "".join(f"&{name}={value}" for name, value in given.items())
    target = backend_from_url(publisher.url) if ours else PublisherTarget(publisher)
    name = blake2b(f"{channel.url} {target.address}".encode(), digest_size=6).hexdigest()
    settings = load_settings()
    folder = Folder(settings.home, f"kadabra-{name}")

    def source() -> ChannelSource:
        dead = DeadLetters(folder, settings.dead_limit_bytes)
        return ChannelSource(folder, dead, ListChannel.from_url(url), "default")

    return Engine(folder, source, target, urls=[url])


class ReceiverThread(threading.Thread):
    """Takes metrics from the channel and publishes them, until `stop`."""

    def __init__(self, channel: Any, publisher: Any, logger: logging.Logger) -> None:
        super().__init__(daemon=True)
        self.channel = channel
        self.publisher = publisher
        self.logger = logger
        self.stopped = False
        self.options: dict[str, Any] = {}
        self._engine: Engine | None = None

    def stop(self) -> None:
        self.logger.info("Stopping %s...", self.name)
        self.stopped = True
        if self._engine is not None:
            self._engine.finish(0)

    def run(self) -> None:
        if type(self.channel) is RedisChannel:
            self._engine = engine(self.channel, self.publisher, self.options)
            if not self.stopped:
                self._engine.run()
        else:
            while not self._check_stopped():
                self._run_once()
        self.logger.info("Stopped %s.", self.name)

    def _run_once(self) -> None:
        try:
            metrics = self.channel.receive()
            if metrics is not None:
                self.publisher.publish([metrics])
                self.channel.complete([metrics])
        except Exception:  # it stays in progress, and the nanny tries again
            self.logger.warning("Receiver thread encountered exception", exc_info=True)

    def _check_stopped(self) -> bool:
        return self.stopped


class Receiver:
    """`num_threads` threads that take metrics from the channel and publish them."""

    def __init__(
        self,
        channel: Any,
        publisher: Any,
        logger: logging.Logger,
        num_threads: int | None = None,
        *,
        receiver_threads: int | None = None,
    ) -> None:
        self.channel = channel
        self.publisher = publisher
        self.logger = logger
        self.num_threads = num_threads if num_threads is not None else receiver_threads or 1
        self.threads: list[ReceiverThread] = []
        for number in range(self.num_threads):
            thread = ReceiverThread(channel, publisher, logger)
            thread.name = f"KadabraReceiver-{number}"
            self.threads.append(thread)

    def start(self) -> None:
        for thread in self.threads:
            self.logger.info("Starting %s", thread.name)
            thread.start()

    def stop(self) -> None:
        self.logger.info("Stopping Receiver...")
        for thread in self.threads:
            thread.stop()


class BatchedReceiver:
    """Each `publishing_interval` seconds publishes all that waits, `max_batch_size` entries at once."""

    def __init__(
        self, channel: Any, publisher: Any, logger: logging.Logger, publishing_interval: float, max_batch_size: int
    ) -> None:
        self.channel = channel
        self.publisher = publisher
        self.logger = logger
        self.publishing_interval = publishing_interval
        self.max_batch_size = max_batch_size
        self.timer: ReceiverThread | None = None
        self.threads: list[ReceiverThread] = []

    def start(self) -> None:
        thread = ReceiverThread(self.channel, self.publisher, self.logger)
        thread.name = "KadabraBatchedReceiverRunner"
        thread.options = {"every_seconds": self.publishing_interval, "batch": self.max_batch_size}
        self.timer, self.threads = thread, [thread]
        thread.start()

    def stop(self) -> None:
        self.logger.info("Stopping BatchedReceiver...")
        if self.timer is not None:
            self.timer.stop()


class Nanny:
    """How what was left in progress is taken over: looked for each `frequency_seconds`, when it has been there for
    `threshold_seconds`, at most `query_limit` at once."""

    def __init__(
        self,
        channel: Any,
        publisher: Any,
        logger: logging.Logger,
        frequency_seconds: float,
        threshold_seconds: float,
        query_limit: int,
        num_threads: int,
    ) -> None:
        self.channel = channel
        self.publisher = publisher
        self.logger = logger
        self.frequency_seconds = frequency_seconds
        self.threshold_seconds = threshold_seconds
        self.query_limit = query_limit
        self.num_threads = num_threads

    @property
    def options(self) -> dict[str, Any]:
        return {
            "frequency_seconds": self.frequency_seconds,
            "threshold_seconds": self.threshold_seconds,
            "limit": self.query_limit,
        }

    def start(self) -> None:
        """The receiver's threads do the work."""

    def stop(self) -> None:
        self.logger.info("Stopping Nanny...")


class BatchedNanny(Nanny):
    """The same for the batched agent."""

    def __init__(
        self,
        channel: Any,
        publisher: Any,
        logger: logging.Logger,
        frequency_seconds: float,
        threshold_seconds: float,
        max_batch_size: int,
    ) -> None:
        super().__init__(channel, publisher, logger, frequency_seconds, threshold_seconds, max_batch_size, 1)
        self.max_batch_size = max_batch_size


class Agent:
    """Takes metrics from the channel and publishes them, until `stop`. `configuration` overrides defaults.

    Raises `Exception` for a type of agent, channel or publisher that is not known, `TypeError` for an argument that is
    not.
    """

    def __init__(self, configuration: dict[str, Any] | None = None) -> None:
        config = merged(configuration)
        self.logger = logging.getLogger(config["AGENT_LOGGER_NAME"])
        kind = _known("agent", config["AGENT_TYPE"], {"default": 0, "batched": 1})
        channel = _made("channel", config, {"redis": RedisChannel})
        publisher = _made("publisher", config, {"debug": DebugPublisher, "influxdb": InfluxDBPublisher})
        logger = self.logger
        often, old = config["AGENT_NANNY_FREQUENCY_SECONDS"], config["AGENT_NANNY_THRESHOLD_SECONDS"]
        self.receiver: Any
        self.nanny: Any
        if kind:
            every, size = config["BATCHED_AGENT_INTERVAL_SECONDS"], config["BATCHED_AGENT_MAX_BATCH_SIZE"]
            self.receiver = BatchedReceiver(channel, publisher, logger, every, size)
            size = config["BATCHED_AGENT_NANNY_MAX_BATCH_SIZE"]
            self.nanny = BatchedNanny(channel, publisher, logger, often, old, size)
        else:
            self.receiver = Receiver(channel, publisher, logger, config["AGENT_RECEIVER_THREADS"])
            limit, threads = config["AGENT_NANNY_QUERY_LIMIT"], config["AGENT_NANNY_THREADS"]
            self.nanny = Nanny(channel, publisher, logger, often, old, limit, threads)
        self.stopped = False

    def start(self) -> None:
        """Work until `stop` is called or Control-C is pressed."""
        self.logger.info("Starting agent...")
        options = getattr(self.nanny, "options", {})
        for thread in getattr(self.receiver, "threads", []):
            thread.options = {**options, **thread.options}
        self.receiver.start()
        self.nanny.start()
        try:
            while not self.stopped:
                threading.Event().wait(0.2)
        except KeyboardInterrupt:
            self.stop()
        for thread in getattr(self.receiver, "threads", []):
            thread.join(STOP_SECONDS / len(self.receiver.threads))

    def stop(self, *_args: Any, **_kwargs: Any) -> None:
        """End `start` within 10 s; for signal handlers and threads."""
        self.logger.info("Gracefully stopping the agent... This may take up to 10 seconds.")
        self.stopped = True
        self.nanny.stop()
        self.receiver.stop()


def _known(what: str, name: str, types: dict[str, Any]) -> Any:
    if name not in types:
        raise Exception(f"Unrecognized {what} type: '{name}'")  # noqa: TRY002
    return types[name]


def _made(what: str, config: dict[str, Any], types: dict[str, Any]) -> Any:
    made = _known(what, config[f"AGENT_{what.upper()}_TYPE"], types)
    return made(**{**made.DEFAULT_ARGS, **(config[f"AGENT_{what.upper()}_ARGS"] or {})})
