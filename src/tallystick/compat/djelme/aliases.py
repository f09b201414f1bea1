"""`import elasticsearch_metrics` as another name of these modules: each is the same object under both names."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Final

THEIRS: Final = "elasticsearch_metrics"
OURS: Final = "tallystick.compat.djelme"


def ours(module: str) -> str:
    """Our name of one of the package's modules; any other is given back."""
    package, dot, rest = module.partition(".")
    return f"{OURS}{dot}{rest}" if package == THEIRS else module


def alias() -> None:
    """Let `elasticsearch_metrics` mean this package in this process. Idempotent."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        for name in [name for name in sys.modules if ours(name) != name]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        own = ours(fullname)
        if own == fullname:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, _Loader(own))
        spec.submodule_search_locations = []  # where there are submodules, this finder finds them
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, own: str) -> None:
        self._own = own

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        try:
            module = importlib.import_module(self._own)
        except ModuleNotFoundError as error:
            if error.name == self._own:
                raise ModuleNotFoundError(f"No module named {spec.name!r}", name=spec.name) from None
            raise
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It was run under our name; only what the import system wrote into it is taken back."""
        module.__spec__ = self._spec
