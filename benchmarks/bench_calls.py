"""One call, durable: `increment`, a bound handle and `timed` against the calls that people use today.

Every record of ours is in a file on the disk's page cache when the call returns, where `kill -9` does not reach it; new
segments are made and old ones sealed while the clock runs. The peers hold a number in memory, send a packet or write a
line of text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from contestants import (
    Pairs,
    logging_call,
    opentelemetry_call,
    per_call,
    prometheus_counter,
    prometheus_histogram,
    prometheus_multiprocess_counter,
    spooling,
    statsd_call,
    stored,
)
from harness import Figure, Options, compare, main, take_turns, temporary_folder

CALLS = 2_000
TURNS = 30
"""Together more than a segment holds, so that each round pays for at least one rotation."""


def measure(options: Options) -> Iterator[Figure]:
    turns = options.scaled(TURNS)
    with temporary_folder() as folder, ExitStack() as stack:
        metrics = stack.enter_context(spooling(folder / "home"))
        labelled, multiprocess = prometheus_counter(), prometheus_multiprocess_counter(folder)
        histogram = prometheus_histogram()
        ours_bound = metrics.counter("user.signup", tags={"plan": "pro", "region": "eu"})
        theirs_bound = labelled.labels("pro", "eu")

        def increment(pairs: Pairs) -> None:
            for plan, region in pairs:
                metrics.increment("user.signup", tags={"plan": plan, "region": region})

        def prometheus(pairs: Pairs) -> None:
            for plan, region in pairs:
                labelled.labels(plan, region).inc()

        def prometheus_mapped(pairs: Pairs) -> None:
            for plan, region in pairs:
                multiprocess.labels(plan, region).inc()

        def bound(pairs: Pairs) -> None:
            for _ in pairs:
                ours_bound.inc()

        def prometheus_bound(pairs: Pairs) -> None:
            for _ in pairs:
                theirs_bound.inc()

        def timed(pairs: Pairs) -> None:
            for plan, region in pairs:
                with metrics.timed("request.time", tags={"plan": plan, "region": region}):
                    pass

        def prometheus_time(pairs: Pairs) -> None:
            for plan, region in pairs:
                with histogram.labels(plan, region).time():
                    pass

        few = CALLS // 5
        jobs = {
            "increment": per_call(increment, CALLS),
            "prometheus": per_call(prometheus, CALLS),
            "multiprocess": per_call(prometheus_mapped, CALLS),
            "opentelemetry": per_call(opentelemetry_call(), few),
            "statsd": per_call(stack.enter_context(statsd_call()), few),
            "logging": per_call(stack.enter_context(logging_call(folder)), few),
            "bound": per_call(bound, CALLS),
            "prometheus bound": per_call(prometheus_bound, CALLS),
            "timed": per_call(timed, CALLS),
            "prometheus time": per_call(prometheus_time, CALLS),
        }
        took = take_turns(options.rounds, jobs, turns)

        def against(name: str, ours: str, theirs: str, goal: float) -> Figure:
            return compare(name, took[ours], took[theirs], goal)

        yield against("increment / prometheus labels(a, b).inc()", "increment", "prometheus", 0.60)
        yield against("increment / prometheus, multiprocess mode", "increment", "multiprocess", 0.40)
        yield against("increment / OpenTelemetry Counter.add", "increment", "opentelemetry", 0.10)
        yield against("increment / statsd incr over UDP", "increment", "statsd", 0.20)
        yield against("increment / logging.info to a file", "increment", "logging", 0.08)
        yield against("bound inc() / prometheus bound inc()", "bound", "prometheus bound", 0.90)
        yield against("with timed(...) / prometheus with labels(a, b).time()", "timed", "prometheus time", 0.60)
        metrics.close()
        found, called = stored(folder / "home"), 3 * CALLS * turns * (options.rounds + 1)
        if found != called:
            raise SystemExit(f"{called} records were recorded and {found} are in the spool")


if __name__ == "__main__":
    main("one call", measure)
