"""Doors for frameworks."""
