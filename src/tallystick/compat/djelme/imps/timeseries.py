"""Names, template, search and care of a type's indices by time.

`Meta.template_name` names the template; pattern and indices have their names by application and type.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from elasticsearch8 import dsl as esdsl
from elasticsearch8.exceptions import NotFoundError

from tallystick.compat.djelme import engine, exceptions, signals
from tallystick.compat.djelme.util.index_status import DjelmeIndexStatus
from tallystick.compat.djelme.util.timeparts import (
    AbstractTimeparts,
    GregorianTime,
    Timeparts,
    TimepartStrat,
    serialize_timeparts,
)
from tallystick.compat.djelme.util.timeseries_naming import (
    TimeseriesIndexNaming,
    TimeseriesRangePattern,
    format_namepart,
    format_template_name,
)

_DEPTH: Final = 3
"""An index a day, where neither the type nor the settings say otherwise."""


class Timeseries:
    """The class methods of `TimeseriesRecord`."""

    @classmethod
    def get_timeseries_recordtype_name(cls: Any) -> str:
        name: str = cls._get_meta_attr("timeseries_recordtype_name", cls.__name__)
        return name

    @classmethod
    def get_timeseries_index_timedepth(cls: Any) -> int:
        depth = cls._get_meta_attr("timeseries_index_timedepth", getattr(settings, "DJELME_DEFAULT_TIMEDEPTH", _DEPTH))
        assert isinstance(depth, int)
        return depth

    @classmethod
    def get_timepart_strat(cls: Any) -> TimepartStrat:
        return GregorianTime(cls.get_timeseries_index_timedepth())

    @classmethod
    def get_timeseries_index_expiration(cls: Any) -> timedelta | None:
        age = cls._get_meta_attr("timeseries_index_expiration")
        if age is not None and not isinstance(age, timedelta):
            raise ImproperlyConfigured("timeseries_index_expiration must be a timedelta", age)
        return age

    # --- names ---

    @classmethod
    def get_timeseries_template_name(cls: Any) -> str:
        name = cls._get_meta_attr("template_name") or format_template_name(
            cls.app_label, cls.get_timeseries_recordtype_name()
        )
        return f"{cls.get_index_name_prefix()}{name}"

    @classmethod
    def timeseries_index_naming(cls: Any, timeparts: AbstractTimeparts | date | str) -> TimeseriesIndexNaming:
        return TimeseriesIndexNaming(
            cls.app_label,
            cls.get_timeseries_recordtype_name(),
            timeparts,
            cls.get_timepart_strat(),
            prefix=cls.get_index_name_prefix(),
        )

    @classmethod
    def timeseries_index_wildcard(cls: Any, timeparts: tuple[int, ...] = ()) -> str:
        name: str = cls.timeseries_index_naming(timeparts).to_str(wildcard=True)
        return name

    @classmethod
    def timeseries_index_range_pattern(
        cls: Any, from_when: tuple[int, ...] | date, until_when: tuple[int, ...] | date | None
    ) -> str:
        """The wildcards of the indices that a range touches, also that in which it ends."""
        strat, depth = cls.get_timepart_strat(), cls.get_timeseries_index_timedepth()
        end = strat.get_timeparts(until_when or datetime.now().astimezone(), pad=True, truncate=False)
        inside = any(part > (1 if place < 3 else 0) for place, part in enumerate(end[depth:], depth))
        until = (*end[: depth - 1], end[depth - 1] + 1) if inside else end[:depth]
        pattern = TimeseriesRangePattern(
            cls.app_label,
            cls.get_timeseries_recordtype_name(),
            from_when,
            until,
            strat,
            index_name_prefix=cls.get_index_name_prefix(),
        )
        return str(pattern)

    @classmethod
    def parse_timeseries_index_name(cls: Any, index_name: str) -> TimeseriesIndexNaming:
        parsed = TimeseriesIndexNaming.parse(index_name, cls.get_timepart_strat(), prefix=cls.get_index_name_prefix())
        own = (format_namepart(cls.app_label), format_namepart(cls.get_timeseries_recordtype_name()))
        if (format_namepart(parsed.app_label), format_namepart(parsed.recordtype)) != own:
            raise ValueError(f"index {index_name!r} does not belong to {cls}")
        return parsed

    @classmethod
    def _default_index(cls: Any, index: str | None = None) -> str:
        assert not cls.is_abstract
        return index or cls.timeseries_index_wildcard()

    # --- template ---

    @classmethod
    def init(cls: Any, index: Any = None, using: Any = None) -> None:
        """Make the template; the indices are made when the first document comes."""
        assert not cls.is_abstract
        cls.sync_index_template(using=using)

    @classmethod
    def get_timeseries_template(cls: Any) -> Any:
        assert not cls.is_abstract
        name, pattern = cls.get_timeseries_template_name(), cls.timeseries_index_wildcard()
        return cls._index.as_composable_template(template_name=name, pattern=pattern)

    @classmethod
    def sync_index_template(cls: Any, using: Any = None) -> Any:
        template = cls.get_timeseries_template()
        signals.pre_index_template_create.send(cls, index_template=template, using=using)
        template.save(using=cls._get_using(using))
        signals.post_index_template_create.send(cls, index_template=template, using=using)
        return template

    @classmethod
    def check_djelme_setup(cls: Any, using: Any = None) -> None:
        """Raises `IndexTemplateNotFoundError`, `IndexTemplateOutOfSyncError`."""
        name = cls.get_timeseries_template_name()
        try:
            found = cls._get_connection(using).indices.get_index_template(name=name)
        except NotFoundError as error:
            message = f"{name} does not exist for {cls.__name__}"
            raise exceptions.IndexTemplateNotFoundError(message, error) from error
        stored = found["index_templates"][0]["index_template"]
        wanted = cls.get_timeseries_template().to_dict()
        same = {
            "mappings": stored["template"].get("mappings", {}) == wanted["template"].get("mappings", {}),
            "patterns": stored["index_patterns"] == wanted["index_patterns"],
            "settings": _as_stored(stored["template"].get("settings", {}).get("index", {}))
            == _as_stored(wanted["template"].get("settings", {})),
        }
        if not all(same.values()):
            differ = ", ".join(what for what, is_same in same.items() if not is_same)
            raise exceptions.IndexTemplateOutOfSyncError(
                f"{name} is out of sync with {cls.__name__} ({differ})",
                mappings_in_sync=same["mappings"],
                patterns_in_sync=same["patterns"],
                settings_in_sync=same["settings"],
            )

    # --- search and care ---

    @classmethod
    def search(cls: Any, using: Any = None, index: str | None = None) -> Any:
        assert not cls.is_abstract
        engine.flush()
        return esdsl.Search(using=cls._get_using(using), index=cls._default_index(index), doc_type=[cls])

    @classmethod
    def search_timeseries_range(cls: Any, from_when: tuple[int, ...] | date, until_when: tuple[int, ...] | date) -> Any:
        """A search for `from_when <= time < until_when`."""
        strat = cls.get_timepart_strat()
        start, end = (
            serialize_timeparts(strat.get_timeparts(when, pad=False, truncate=False))
            for when in (from_when, until_when)
        )
        within = esdsl.query.Range(timeseries_timeparts={"gte": start, "lt": end})
        return cls.search(index=cls.timeseries_index_range_pattern(from_when, until_when)).filter(within)

    @classmethod
    def refresh(cls: Any, using: Any = None) -> None:
        assert not cls.is_abstract
        cls._get_connection(using).indices.refresh(index=cls.timeseries_index_wildcard())

    @classmethod
    def _expired_before(cls: Any) -> Timeparts | None:
        raise TypeError(f"{cls.__name__} is no TimeseriesRecord")

    @classmethod
    def each_existing_index(cls: Any, using: Any = None) -> Iterator[DjelmeIndexStatus]:
        found = cls._get_connection(using).indices.get(index=cls.timeseries_index_wildcard())
        before = cls._expired_before()
        for name in sorted(found.keys()):
            expired = before is not None and () < cls.parse_timeseries_index_name(name).timeparts < before
            yield DjelmeIndexStatus(name, expired)

    @classmethod
    def delete_index(cls: Any, index_name: str, using: Any = None) -> None:
        cls._get_connection(using).indices.delete(index=index_name)

    @classmethod
    def do_teardown(cls: Any, using: Any = None, *, keep_templates: bool = False) -> None:
        assert not cls.is_abstract
        client = cls._get_connection(using)
        for one in cls.each_existing_index(using=client):
            cls.delete_index(one.index_name, using=client)
        if not keep_templates:
            try:
                client.indices.delete_index_template(name=cls.get_timeseries_template_name())
            except NotFoundError:
                pass


def _as_stored(value: Any) -> Any:
    """Settings as the server gives them back: numbers and booleans are texts."""
    if isinstance(value, dict):
        return {name: _as_stored(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_as_stored(one) for one in value]
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int | float) else value
