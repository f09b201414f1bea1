"""Names of indices, parts of time, opaque keys."""
