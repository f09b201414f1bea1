"""`tallystick agent`: deliver from this host's spools, as a process of its own."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final

import click
import msgspec

from tallystick.agent.agent import Until
from tallystick.cli.options import SECONDS, json_option, where_options
from tallystick.errors import TallystickError
from tallystick.pipelines.deliveries import Deliveries
from tallystick.pipelines.receiving import Receiving
from tallystick.pipelines.targets import Where

logger = logging.getLogger("tallystick.agent")

LOOK_SECONDS: Final = 2.0
"""How soon a new pipeline is noticed."""
TURN_SECONDS: Final = 0.2


@click.command()
@click.option("--once", is_flag=True, help="Go through what is there once, then end.")
@click.option("--drain", is_flag=True, help="End when everything was delivered; wait for databases that are down.")
@click.option(
    "--stop-timeout", type=SECONDS, default=30.0, show_default=True, help="For the batch in hand, at the end."
)
@click.option(
    "--nice",
    default=10,
    show_default=True,
    type=click.IntRange(0, 19),
    metavar="STEPS",
    help="So far behind other processes when the processor is short.",
)
@click.option("--from", "source", metavar="URL", help="Move records on from this channel, not from this host's spools.")
@click.option("--to", "goals", metavar="URL", multiple=True, help="With --from: deliver there; again for more.")
@click.option(
    "--concurrency", default=1, show_default=True, type=click.IntRange(1, 64), help="With --from: agents a target."
)
@json_option
@where_options
def agent(
    where: Where,
    once: bool,
    drain: bool,
    stop_timeout: float,
    nice: int,
    source: str | None,
    goals: tuple[str, ...],
    concurrency: int,
    as_json: bool,
) -> None:
    """Deliver from this host's spools, until stopped.

    It takes over from the applications' own threads, and delivers every pipeline of the home whose target is known;
    --pipeline limits it to one. A second agent stands by and takes over when the first one ends.

    SIGTERM and SIGINT stop it when the batch in hand is done, with 0; SIGHUP has it read the settings again. It
    says what it does on standard error; --json makes these lines JSON.

    With --from it moves records on from a channel to each --to, which has its own progress there.

    --once exits with 1 when something could not be delivered, --drain when it was stopped before the end; both also
    when records were rejected.
    """
    _checked(once=once, drain=drain, source=source, goals=goals)
    _speak(as_json=as_json)
    if hasattr(os, "nice"):
        os.nice(nice)  # what is delivered is safe and can wait; the application's users cannot
    until: Until = "passed" if once else "empty" if drain else "stopped"
    asked: SimpleQueue[int] = SimpleQueue()  # its `put` may be called from a signal handler, an Event's `set` may not

    def note(number: int, _: FrameType | None) -> None:
        asked.put(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, note)
    received = source is not None and Receiving(where.settings(), source, goals, until, concurrency)
    deliveries = received or Deliveries(where, until)
    deliveries.look()
    if not deliveries.running:
        logger.info("nothing to deliver in %s%s", where.settings().home, "" if until != "stopped" else " yet; waiting")
    stopped = _watch(deliveries, asked)
    late = deliveries.stop(stop_timeout)
    for name in late:
        logger.warning("%s: its backend did not answer in %s s; what was on its way is tried again", name, stop_timeout)
    if until == "stopped":
        logger.info("stopped")
        return
    for name, one in deliveries.running.items():
        logger.info("%s: %d delivered to %s", name, one.delivered, one.target.address)
    wrong = deliveries.shortfalls()
    for sentence in wrong:
        logger.error("%s", sentence)
    if wrong or late or (stopped and drain):
        raise SystemExit(1)


def _checked(*, once: bool, drain: bool, source: str | None, goals: tuple[str, ...]) -> None:
    if once and drain:
        raise click.UsageError("--once and --drain exclude each other")
    if (source is None) != (not goals):
        raise click.UsageError("--from and --to go together")


def _watch(deliveries: Deliveries | Receiving, asked: SimpleQueue[int]) -> bool:
    """Until the work is done or somebody asks us to stop; True for the latter."""
    forever = deliveries.until == "stopped"
    next_look = time.monotonic() + LOOK_SECONDS
    while forever or not deliveries.ended:
        number = _next(asked, TURN_SECONDS if forever else TURN_SECONDS / 10)
        if number in (signal.SIGTERM, signal.SIGINT):
            logger.info("%s: finishing the batch in hand", signal.Signals(number).name)
            return True
        if number == signal.SIGHUP:
            logger.info("SIGHUP: reading the settings again")
            _going_on(deliveries.reread)
        elif forever and time.monotonic() >= next_look:
            next_look = time.monotonic() + LOOK_SECONDS
            _going_on(deliveries.look)
        if forever:
            deliveries.say()
    return False


def _next(asked: SimpleQueue[int], timeout_seconds: float) -> int:
    try:
        return asked.get(timeout=timeout_seconds)
    except Empty:
        return 0


def _going_on(act: Callable[[], None]) -> None:
    try:
        act()
    except (TallystickError, OSError) as error:  # what worked until now goes on
        logger.error("%s; going on as before", error)


def _speak(*, as_json: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("tallystick")
    root.addHandler(handler)
    root.setLevel(logging.INFO)


class _JsonLines(logging.Formatter):
    """One JSON object a line: `time` (epoch seconds), `level`, `message`, and `traceback` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {"time": record.created, "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()
