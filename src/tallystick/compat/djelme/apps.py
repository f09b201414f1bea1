"""The Django application: finds each app's `metrics.py` and gives each backend its connection."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules

from tallystick.compat.djelme.registry import djelme_registry

__all__ = ["ElasticsearchMetricsConfig", "djelme_registry"]


class ElasticsearchMetricsConfig(AppConfig):
    name = "tallystick.compat.djelme"
    label = "elasticsearch_metrics"

    def ready(self) -> None:
        autodiscover_modules("metrics")
        backends: dict[str, list[Any]] = defaultdict(list)
        for name, module, _ in djelme_registry.each_backend_settings():
            backends[module].append(djelme_registry.get_backend(name))
        for module, those in backends.items():
            djelme_registry.get_imp_module(module).djelme_when_ready(backends=those)
