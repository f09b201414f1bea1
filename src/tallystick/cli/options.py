"""The options that many commands share, and what they add up to."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from tallystick.errors import TallystickError
from tallystick.pipelines.summaries import Filters
from tallystick.pipelines.targets import Where
from tallystick.settings import load_settings
from tallystick.spool.folder import Folder, pipelines

F = TypeVar("F", bound=Callable[..., Any])


def _pipeline_names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    found: list[Folder] = []
    with contextlib.suppress(TallystickError):  # whoever runs the command is told
        found = pipelines(load_settings(home=ctx.params.get("home")).home)
    return [CompletionItem(folder.name) for folder in found if folder.name.startswith(incomplete)]


def where_options(command: F) -> F:
    """The command gets `where: Where`."""

    @click.option("--home", type=click.Path(file_okay=False, path_type=Path), help="The folder of all pipelines.")
    @click.option("--pipeline", metavar="NAME", shell_complete=_pipeline_names, help="One pipeline of the home.")
    @click.option("--backend", metavar="URL", help="The database, instead of the one that the settings name.")
    @functools.wraps(command)
    def wrapped(home: Path | None, pipeline: str | None, backend: str | None, **others: Any) -> Any:
        return command(where=Where(str(home) if home else None, pipeline, backend), **others)

    return wrapped  # type: ignore[return-value]


class Seconds(click.FloatRange):
    """A span of seconds. NaN, which is in no order, is none."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        least, most = self.min or 0, math.inf if self.max is None else self.max
        if not least <= seconds <= most:  # NaN is nowhere
            limits = f"{least:g} or more" if self.max is None else f"{least:g} to {most:g}"
            self.fail(f"{value!r} must be a number of seconds, {limits}, such as 30", param, ctx)
        return seconds


SECONDS: Final = Seconds(min=0)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON for programs.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def filter_options(command: F) -> F:
    """The command gets `filters: Filters`."""

    @click.option("--kind", multiple=True, metavar="KIND", help="Only of this kind; again for more.")
    @click.option("--where", "tags", multiple=True, metavar="TAG=VALUE", help="Only with this tag; again for more.")
    @click.option("--last", metavar="SPAN", help="Only this recent: 90s, 5m, 24h, 7d.")
    @click.option("--start", metavar="TIME", help="Only from this time on: ISO 8601 (UTC), or epoch seconds.")
    @click.option("--end", metavar="TIME", help="Only before this time.")
    @functools.wraps(command)
    def wrapped(
        kind: tuple[str, ...],
        tags: tuple[str, ...],
        last: str | None,
        start: str | None,
        end: str | None,
        **others: Any,
    ) -> Any:
        filters = Filters(kind, tag_pairs(tags), last, _moment(start), _moment(end))
        return command(filters=filters, **others)

    return wrapped  # type: ignore[return-value]


def tag_pairs(texts: tuple[str, ...], option: str = "--where") -> dict[str, list[str]]:
    """`("plan=pro", "plan=free")` → `{"plan": ["pro", "free"]}`. Raises `click.UsageError` for what has no `=`."""
    pairs: dict[str, list[str]] = {}
    for text in texts:
        tag, equals, value = text.partition("=")
        if not equals or not tag:
            raise click.UsageError(f"{option}: {text!r} must be TAG=VALUE, such as plan=pro")
        pairs.setdefault(tag, []).append(value)
    return pairs


def _moment(text: str | None) -> Decimal | str | None:
    """Epoch seconds with all their digits, or an ISO 8601 text."""
    if text is None:
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return text
