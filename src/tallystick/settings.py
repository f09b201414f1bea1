"""Every setting: its name, type, default and meaning, and where a value comes from.

`Settings` below is the one table; what the command line, the documentation and the error messages say is read from it.
A value is looked for in this order, and the first place that has it wins:

1. an argument (`Metrics(sample_rate=0.1)`); None means "not given"
2. the environment, `TALLYSTICK_<NAME>`; an empty text means "not given"
3. a settings module, named by `TALLYSTICK_SETTINGS_MODULE`: `TALLYSTICK_<NAME>`, or the name in lower case
4. `tallystick.toml`, or `[tool.tallystick]` in `pyproject.toml`, in the working directory or a parent of it, up to the
   project's root (the nearest folder with `.git`, else with `pyproject.toml`); the nearest file wins
5. the default

A key that is no setting is an error, so that a misspelt one is not silently without effect. Unknown environment
variables are none: others may use the prefix (Kubernetes does, where a service has our name), and a program must start
all the same. `unknown_environment` lists them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, get_type_hints

import msgspec
from msgspec import Meta

from tallystick.coercion import coerce
from tallystick.errors import SettingsError
from tallystick.masking import Secret, mask_url
from tallystick.places import (
    PREFIX,
    Found,
    default_app,
    default_home,
    default_host,
    in_environment,
    in_file,
    in_module,
)

__all__ = ["Secret", "Setting", "Settings", "load_settings", "mask_url", "table", "unknown_environment"]

SCRUB: Final = (
    "password", "passwd", "passphrase", "secret", "token", "authorization", "api_key", "apikey", "access_key",
    "private_key", "cookie", "set-cookie", "credential", "credentials", "session_id", "sessionid", "csrf",
)  # fmt: skip


def _is(sentence: str, must: str, **limits: Any) -> Meta:
    """What stands beside a type: the sentence for people, and how an error says what the value must be."""
    return Meta(description=sentence, extra={"must": must}, **limits)


Text: TypeAlias = Annotated[str, Meta(max_length=255)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in force. `load_settings` makes and checks them; `source(name)` says where a value came from."""

    backend: Annotated[
        str | None,
        _is(
            "Where the records go, as a URL; unset means an SQLite file in the pipeline's folder.",
            "a URL such as sqlite:///metrics.db or memory://",
        ),
    ] = None
    channel: Annotated[
        str | None,
        _is(
            "The broker that this host's agent forwards records to, as a URL; unset delivers to the backend itself."
            " With it, `backend` says where questions are asked, and an agent elsewhere delivers there.",
            "a URL such as redis://queue-1 or nats://queue-1",
        ),
    ] = None
    pipeline: Annotated[
        str,
        _is(
            "The name of the way from spool to database; each has a folder of its own in the home.",
            "1 to 100 letters, digits, '_', '-' or '.', not starting with '.' or '-'",
            pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z",
        ),
    ] = "default"
    app: Annotated[Text, _is("The application's name, stored with each record.", "a text of up to 255 characters")] = (
        msgspec.field(default_factory=default_app)
    )
    host: Annotated[Text, _is("This machine's name, stored with each record.", "a text of up to 255 characters")] = (
        msgspec.field(default_factory=default_host)
    )
    tags: Annotated[
        dict[str, str],
        _is(
            "Tags that every record gets.",
            "names and texts: a table in TOML, a dict in Python, env=prod,region=eu or JSON in the environment",
        ),
    ] = {}
    namespace: Annotated[Text, _is("Put before every metric's name, with a dot.", "a text of up to 255 characters")] = (
        ""
    )
    home: Annotated[
        Path,
        _is("The folder that holds every pipeline's spool, dead letters and SQLite file.", "a folder's path in UTF-8"),
    ] = msgspec.field(default_factory=default_home)
    strict: Annotated[
        bool,
        _is(
            "Whether a refused record raises RecordError instead of being logged; it is counted either way.",
            "true or false",
        ),
    ] = False
    sample_rate: Annotated[
        float,
        _is(
            "The share of calls that is recorded; sums and counts are weighed by its inverse.",
            "a number above 0 and at most 1",
            gt=0,
            le=1,
        ),
    ] = 1.0
    scrub: Annotated[
        tuple[str, ...],
        _is(
            "Keys, in any case, whose values are masked before anything reaches the disk.",
            "a list of names, or names with commas between them in the environment",
        ),
    ] = SCRUB
    deliver: Annotated[
        Literal["thread", "off"],
        _is(
            "Whether the application may deliver in a thread of its own when no agent does.",
            "thread or off",
        ),
    ] = "thread"
    exit_timeout_seconds: Annotated[
        float,
        _is(
            "How long the interpreter's exit waits for delivery; what is left stays in the spool.",
            "a number of seconds, from 0 to 3600",
            ge=0,
            le=3600,
        ),
    ] = 2.0
    spool_limit_bytes: Annotated[
        int,
        _is(
            "How large a pipeline's spool may grow; where two begin a segment at the same moment, one segment more."
            " Each process that records takes one segment of it (segment_bytes, 4 MiB unless it is set), and two once"
            " it has filled its first (8 MiB). 64 KiB of counts for each process that dropped or refused something"
            " belong to it and may go beyond it. On top come 1 MiB of reserve, which is freed when the disk is full,"
            " the dead letters (dead_limit_bytes), and the SQLite file.",
            "a whole number of bytes, at least 131072",
            ge=131_072,
        ),
    ] = 1_000_000_000
    segment_bytes: Annotated[
        int,
        _is(
            "The size of one spool file.",
            "a whole number of bytes, from 65536 (64 KiB) to 8388608 (8 MiB)",
            ge=65_536,
            le=8_388_608,
        ),
    ] = 4_194_304
    when_full: Annotated[
        Literal["drop_new", "drop_old", "block"],
        _is(
            "What a full spool does with the next record: drop it (drop_new), drop the oldest segments for it"
            " (drop_old), or wait for room (block).",
            "drop_new, drop_old or block",
        ),
    ] = "drop_new"
    block_timeout_seconds: Annotated[
        float,
        _is(
            "How long a call waits for room when when_full is block; then the record is dropped and counted.",
            "a number of seconds, from 0 to 3600",
            ge=0,
            le=3600,
        ),
    ] = 1.0
    fsync: Annotated[
        Literal["never", "interval", "always"],
        _is(
            "When records are forced to the disk, which is what survives a loss of power.", "never, interval or always"
        ),
    ] = "interval"
    fsync_interval_seconds: Annotated[
        float,
        _is(
            "How often that is when fsync is interval.",
            "a number of seconds, above 0 and at most 3600",
            gt=0,
            le=3600,
        ),
    ] = 1.0
    batch_records: Annotated[
        int,
        _is(
            "How many records an agent process hands to the backend at once, at most.",
            "a whole number from 1 to 100000",
            ge=1,
            le=100_000,
        ),
    ] = 5000
    dead_limit_bytes: Annotated[
        int,
        _is("How large a pipeline's dead letters may grow.", "a whole number of bytes, at least 65536", ge=65_536),
    ] = 100_000_000
    retention_days: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        _is(
            "After how many days any record of the pipeline's database may be deleted, whoever recorded it; unset keeps"
            " all.",
            "a whole number of days, 1 or more",
        ),
    ] = None
    self_metrics: Annotated[bool, _is("Whether the agent records metrics about itself.", "true or false")] = False

    sources: dict[str, str] = {}
    whole_channel: Secret | None = None
    """The same of the channel's URL."""
    whole: Secret | None = None
    """The backend's URL when it holds a secret; `backend` then is its masked form, which a dump or a log may show."""

    @property
    def backend_url(self) -> str | None:
        """The URL to connect with; not to be shown."""
        return self.backend if self.whole is None else self.whole.reveal()

    @property
    def channel_url(self) -> str | None:
        """The channel's URL to connect with; not to be shown."""
        return self.channel if self.whole_channel is None else self.whole_channel.reveal()

    def source(self, name: str) -> str:
        """Where the value came from: `argument`, `environment X`, `settings module m`, `file …` or `default`."""
        _known(name, Found(None, "argument", name))
        return self.sources.get(name, "default")

    def shown(self, name: str) -> str:
        """The value for people, as Python writes it, secrets masked."""
        _known(name, Found(None, "argument", name))
        value = getattr(self, name)
        return repr(mask_url(value) if name in ("backend", "channel") and value else value)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={self.shown(name)}' for name in table())})"


class Setting(msgspec.Struct, frozen=True):
    """One row of the table, for people and for errors."""

    name: str
    env: str
    type: Any
    sentence: str
    must: str


@cache
def table() -> dict[str, Setting]:
    """Every setting by name, in the order in which people should meet them."""
    rows = {}
    for name, hint in get_type_hints(Settings, include_extras=True).items():
        for meta in getattr(hint, "__metadata__", ()):
            if isinstance(meta, Meta) and meta.extra:
                rows[name] = Setting(name, PREFIX + name.upper(), hint, meta.description or "", meta.extra["must"])
    return rows


def load_settings(**arguments: object) -> Settings:
    """The settings in force here and now. Raises `SettingsError` for a name or a value that cannot be."""
    given = {name: Found(value, "argument", name) for name, value in arguments.items() if value is not None}
    file, module = in_file(), in_module()
    for found in (given, file):
        for name, one in found.items():
            _known(name, one)
    for name, one in module.items():
        if one.key.startswith(PREFIX) or _near(name, 0.8):  # a module may hold other things besides
            _known(name, one)
    layers = (given, in_environment(), module, file)
    winners = {name: next((layer[name] for layer in layers if name in layer), None) for name in table()}
    values = {name: _coerced(table()[name], one) for name, one in winners.items() if one}
    for name, whole in (("backend", "whole"), ("channel", "whole_channel")):
        if (url := values.get(name)) is not None and (masked := mask_url(url)) != url:
            values |= {name: masked, whole: Secret(url)}
    settings = Settings(**values, sources={name: one.place for name, one in winners.items() if one})
    _check_room(settings)
    return settings


def _check_room(settings: Settings) -> None:
    """The tags of all records stand in a segment's first line, which must leave room for records."""
    taken, most = len(msgspec.json.encode(settings.tags)), settings.segment_bytes // 4
    if taken > most:
        raise SettingsError(
            f"tags: they take {taken} bytes ({settings.source('tags')}), and at most {most} fit a segment of"
            f" {settings.segment_bytes} bytes; give fewer or shorter ones, or make segment_bytes larger"
        )


def unknown_environment(*, misspelt: bool = False) -> list[str]:
    """A sentence for each `TALLYSTICK_*` variable that is set and is no setting; with `misspelt`, only of those that
    look much like one.
    """
    unknown = {name: one.key for name, one in in_environment().items() if name not in table()}
    return [f"{key} is no setting{_near(name)}" for name, key in unknown.items() if not misspelt or _near(name, 0.8)]


def _coerced(row: Setting, one: Found) -> Any:
    return coerce(row.name, row.type, row.must, one)


def _known(name: str, one: Found) -> Setting:
    if setting := table().get(name):
        return setting
    hint = _near(name) or "; `tallystick config show` lists all"
    raise SettingsError(f"{one.key}: no such setting ({one.place}){hint}")


def _near(name: str, likeness: float = 0.6) -> str:
    import difflib

    near = difflib.get_close_matches(name.lower(), table(), 1, likeness)
    return f"; did you mean {near[0]}?" if near else ""
