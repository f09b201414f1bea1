"""What happens when a record type is declared: its fields are mapped, its index is its own, and it is registered.

`str` is a keyword and a naive datetime means UTC in records, and in the inner documents that they hold. Other
documents of the program keep the driver's mapping: it is exchanged while a record's class is made, under a lock.
"""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any, Final, get_args

from elasticsearch8 import dsl as esdsl
from elasticsearch8.dsl._sync.document import IndexMeta
from elasticsearch8.dsl.document_base import DocumentOptions

from tallystick.compat.djelme.registry import djelme_registry

_OURS: Final[dict[type, Any]] = {
    str: (esdsl.Keyword, {}),
    datetime: (esdsl.Date, {"default_timezone": "UTC"}),
}
_INHERITED: Final = ("settings", "analyzers")
_lock: Final = threading.RLock()


class RecordMeta(IndexMeta):
    """`Meta` is each class's own; settings, analyzers and `using` of `Index`, and defaults, are inherited."""

    Meta: Any

    def __new__(mcls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> Any:
        meta = attrs.get("Meta") or type("Meta", (), {})
        known: dict[Any, Any] = DocumentOptions.type_annotation_map
        with _lock:
            before = {kind: known[kind] for kind in _OURS}
            known.update(_OURS)
            try:
                made: Any = super().__new__(mcls, name, bases, attrs)
            finally:
                known.update(before)
        made.Meta = meta
        for base in bases:
            for field, default in getattr(base, "_defaults", {}).items():
                made._defaults.setdefault(field, default)
        for field in made._doc_type.mapping.properties._params.get("properties", {}).values():
            _map_inner(field)
        if not made.is_abstract:
            mcls._register(made)
        return made

    @staticmethod
    def _register(made: Any) -> None:
        using = made.__dict__.get("_own_index", made._index)._using
        djelme_registry.register_recordtype(
            made,
            imp_module_name="tallystick.compat.djelme.imps.elastic8",
            app_label=made._get_meta_attr("app_label", ""),
            default_backend=using if isinstance(using, str) and using in djelme_registry.all_backends else "",
        )

    @classmethod
    def construct_index(cls, opts: Any, bases: tuple[type, ...]) -> Any:
        options: Any = opts or type("Index", (), {})
        for base in bases:
            index = getattr(base, "_index", None)
            if index is None:
                continue
            if not hasattr(options, "settings") and index._settings:
                options.settings = dict(index._settings)
            if not hasattr(options, "analyzers") and getattr(index, "_analyzers", None):
                options.analyzers = list(index._analyzers)
            if not hasattr(options, "using") and index._using != "default":
                options.using = index._using
        made = super().construct_index(options, bases)
        made._analyzers = list(getattr(options, "analyzers", ()))  # type: ignore[attr-defined]
        return made

    def _get_meta_attr(cls, name: str, default: Any = None) -> Any:  # noqa: N805
        return getattr(getattr(cls, "Meta", None), name, default)

    @property
    def is_abstract(cls) -> bool:  # noqa: N805
        return bool(cls._get_meta_attr("abstract", False))

    @property
    def app_label(cls) -> str:  # noqa: N805
        label = djelme_registry.get_recordtype_app_label(cls)
        assert label
        return label


class SimpleMeta(RecordMeta):
    """The one index of a `SimpleRecord` has its name by the settings of the moment."""

    @property
    def _index(cls) -> Any:  # noqa: N805
        own: Any = cls.__dict__["_own_index"]
        if cls.is_abstract or djelme_registry.get_recordtype_app_label(cls) is None:
            return own
        kind: Any = cls
        return own.clone(name=kind.djelme_index_name(), using=kind._get_djelme_backend().djelme_backend_name())

    @_index.setter
    def _index(cls, index: Any) -> None:  # noqa: N805
        type.__setattr__(cls, "_own_index", index)


def _map_inner(holder: Any) -> None:
    """A text that an inner document declares by `str` alone is a keyword, too. The holder's mapping is its own copy."""
    inner = getattr(holder, "_doc_class", None)
    if inner is None:
        return
    properties = holder._mapping.properties._params.get("properties", {})
    for name, annotation in getattr(inner, "__annotations__", {}).items():
        field = properties.get(name)
        if type(field) is esdsl.Text and not field._params and str in (annotation, *get_args(annotation)):
            properties[name] = esdsl.Keyword(required=field._required, multi=field._multi)
        _map_inner(field)
