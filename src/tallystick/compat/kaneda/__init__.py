"""Kaneda's names, in front of this library's engine."""
