"""Implementations of record types, one a kind of store."""
