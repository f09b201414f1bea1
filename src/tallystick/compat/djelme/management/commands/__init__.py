"""The management commands, with the output and exit codes of the package."""
