"""The version, in one place: the build reads this file as text, so that asking for it costs no look-up of metadata."""

from __future__ import annotations

__version__ = "0.1.0"
