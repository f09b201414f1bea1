"""Getting one batch to the backend, whatever it takes, and learning what became of each record.

Invariants
- `deliver` returns only when every record of the batch is settled: accepted by the backend, or rejected with a reason.
  Until then nothing of the batch is given up, but for `Stopped`, after which the spool still has all of it.
- A record is rejected only while others pass. A batch of which nothing was taken raises `Refused`, and is kept: see
  `doubts.py`.
- `Unavailable` (and Python's own `ConnectionError` and `TimeoutError`) keeps everything and waits, for ever.
- An error that names no record is never held against a neighbour: the batch is halved until the poison stands alone.
- An answer that is none (a `write` without `return`) is no verdict: all are kept, until a person mends the backend.
- What a backend says is masked before anybody sees it: an error's text may hold a password.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from tallystick.agent.attempt import Attempt
from tallystick.agent.doubts import Doubts
from tallystick.agent.report import Report
from tallystick.agent.retry import Backoff
from tallystick.agent.seldom import Seldom
from tallystick.contracts import Target, WriteResult, takes_bytes
from tallystick.errors import Misconfigured, TallystickError, TooLarge, Unavailable
from tallystick.records import Batch

logger = logging.getLogger("tallystick.agent")


class Stopped(TallystickError):
    """The agent was told to stop while a batch was on its way; the spool still has it."""


class Refused(TallystickError):
    """The target took nothing of a batch, and nothing since shows that it takes anything. The source still has it."""


class Deliverer:
    """`pause(seconds)` waits and keeps house meanwhile; it returns False when the agent is to stop."""

    def __init__(self, target: Target, attempt: Attempt, report: Report, pause: Callable[[float], bool]) -> None:
        self._target = target
        self._attempt = attempt
        self._report = report
        self._pause = pause
        self._backoff = Backoff()
        self._seldom = Seldom()
        self._open = False
        self.doubts = Doubts()

    def deliver(self, batch: Batch, *, again: bool = False) -> dict[int, str]:
        """The reasons of the rejected records, by index in `batch.records`. Raises `Stopped` and `Refused`; the latter
        not for a dead letter that is tried `again`, since it was judged before.
        """
        if not takes_bytes(self._target):
            assert batch.records is not None  # looked at before offsets are: damaged lines show now
        rejected: dict[int, str] = {}
        places = {offset: index for index, offset in enumerate(batch.offsets)}
        parts, condemned = self._attempt.parts(batch)
        waiting, taken_before = parts[::-1], self.doubts.taken
        while waiting:
            part = waiting.pop()
            if len(part):
                for offset, why in self._write(part, waiting).items():
                    rejected[places[offset]] = self._report.hide(str(why))
        if rejected and not again and not self.doubts.clears(batch, taken_before):
            raise self._doubted(rejected)
        self.doubts.settled(batch)
        for part in condemned:  # the very last, for should the agent die before, it would forget what they did
            rejected[places[part.offsets[0]]] = self._attempt.quarantine(part)
        if rejected:
            self._report.rejected(len(rejected))
            self._mourn(rejected)
        return rejected

    def _doubted(self, rejected: dict[int, str]) -> Refused:
        """Say that the store may be the matter, and what a person can do."""
        reason = next(iter(rejected.values()))
        said = (
            f"all of {len(rejected)} records are refused, the first for: {reason}; all are kept until others pass; look"
            " for a constraint, a trigger or a column that was added there"
        )
        self._report.failed(Misconfigured(said))
        if self._seldom.due(f"doubt: {reason}"):
            logger.warning("%s: %s", self._target.address, said)
        return Refused(said)

    def _mourn(self, rejected: dict[int, str]) -> None:
        """One line for each reason, as long as it was not said a moment ago."""
        for reason, count in Counter(rejected.values()).items():
            if told := self._seldom.due(reason, count):
                logger.warning(
                    "%d records became dead letters, %s does not take them: %s; see `tallystick dead list`",
                    told,
                    self._target.address,
                    reason,
                )

    def _write(self, part: Batch, waiting: list[Batch]) -> dict[int, str]:
        """Try once. Reasons of rejected records by their offset; what is to be tried again goes on the stack."""
        try:
            self.open()
        except (Exception, SystemExit) as error:  # whatever it is, no record is to blame for it
            if _ends_the_process(error):
                raise
            waiting.append(part)
            self._failed(error)
            return {}
        began = time.perf_counter()
        try:
            self._attempt.begin(part)
            result = verdict(self._target, part, self._target.write(part))
        except TooLarge as error:
            if len(part) == 1:
                return {part.offsets[0]: f"too large for the backend even alone: {error}"}
            waiting.extend(part.split(len(part) // 2)[::-1])
            return {}
        except (Unavailable, ConnectionError, TimeoutError) as error:
            waiting.append(part)
            self._failed(error)
            return {}
        except (Exception, SystemExit) as error:
            if _ends_the_process(error):
                raise
            if len(part) == 1:
                return {part.offsets[0]: f"{type(error).__name__}: {error}"}
            waiting.extend(part.split(len(part) // 2)[::-1])
            return {}
        finally:
            self._attempt.end()
        taken = len(part) - len(result.kept) - len(result.rejected)
        self.doubts.taken += taken
        self._report.wrote(taken, time.perf_counter() - began)
        if result.kept:
            waiting.append(part.only(result.kept))
            reason = next(iter(result.kept.values()))
            self._failed(
                Unavailable(f"{len(result.kept)} of {len(part)} records: {reason}", result.retry_after_seconds)
            )
        elif taken:
            self._succeeded()
        return {part.offsets[index]: why for index, why in result.rejected.items()}

    def open(self) -> None:
        """Connect, or connect again after a failure. Raises what the backend raises."""
        if not self._open:
            self._target.open()
            self._open = True

    def _succeeded(self) -> None:
        failures = self._backoff.failures
        self._backoff.succeeded()
        if failures and self._seldom.due("again"):
            logger.warning("%s takes records again, after %d failed tries", self._target.address, failures)

    def _failed(self, error: BaseException) -> None:
        self._open = False
        wait = self._backoff.failed(getattr(error, "retry_after_seconds", None))
        self._report.failed(error)
        loud = self._backoff.failures in (1, 5)
        said, script = self._report.told(error, loud=loud)
        logger.log(
            logging.WARNING if loud else logging.DEBUG,
            "%s does not take records (%s: %s); all are kept, next try in %.1f s%s",
            self._target.address,
            type(error).__name__,
            said,
            wait,
            script,
        )
        if not self._pause(wait):
            raise Stopped(f"stopped while {self._target.address} did not take records")

    def close(self) -> None:
        """Never raises: nothing is on its way any more."""
        self._open = False
        try:
            self._target.close()
        except (Exception, SystemExit) as error:
            if _ends_the_process(error):
                raise


def _ends_the_process(error: BaseException) -> bool:
    """Whether it is the exit of a signal handler, and not one of the backend's own."""
    return isinstance(error, SystemExit) and threading.current_thread() is threading.main_thread()


def verdict(backend: Target, batch: Batch, answer: object) -> WriteResult:
    """What `write` returned, when it is a verdict on this batch. Raises `Misconfigured`, which keeps all: nobody knows
    what was stored.
    """
    name = f"{type(backend).__module__}.{type(backend).__qualname__}"
    if not isinstance(answer, WriteResult):
        what = "None" if answer is None else f"something of type {type(answer).__name__}"
        raise Misconfigured(
            f"{name}.write returned {what}; correct it to return a WriteResult (ACCEPTED when it took all records)"
        )
    named = [answer.rejected, answer.kept]
    if not all(isinstance(one, Mapping) and all(index in range(len(batch)) for index in one) for one in named):
        raise Misconfigured(
            f"{name}.write returned a WriteResult whose rejected or kept is no mapping of an index, here from 0 to"
            f" {len(batch) - 1}, to a reason; correct it to name records of the batch"
        )
    return answer
