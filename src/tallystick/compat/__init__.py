"""Doors for users of other systems: their imports, their stored documents, their wire."""
