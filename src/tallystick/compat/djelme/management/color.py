"""Django's colours, and two of the commands' own."""

from __future__ import annotations

from typing import Any

from django.core.management import color
from django.utils import termcolors

_OWN: dict[str, dict[str, Any]] = {"TYPENAME": {"opts": ("bold",)}, "ES_TEMPLATE": {"fg": "yellow"}}


def no_style() -> Any:
    style = color.no_style()
    for role in _OWN:
        setattr(style, role, str)
    return style


def color_style() -> Any:
    if not color.supports_color():
        return no_style()
    style = color.color_style()
    for role, how in _OWN.items():
        setattr(style, role, termcolors.make_style(**how))
    return style
