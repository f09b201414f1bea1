"""Sent around `save()`, and around the writing of an index template."""

from __future__ import annotations

from django.dispatch import Signal

pre_index_template_create = Signal()
post_index_template_create = Signal()
pre_save = Signal()
post_save = Signal()
