"""Writes docs/reference/settings.md from the table in src/tallystick/settings.py; a test compares the two."""

from __future__ import annotations

from pathlib import Path

from tallystick.settings import SCRUB, Settings, table

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "settings.md"

HEAD = """\
# Settings

Said in any of these places; the first that has a setting wins. `tallystick config show` lists each value and its place.

1. an argument: `Metrics(sample_rate=0.1)`
2. the environment: `TALLYSTICK_SAMPLE_RATE=0.1`; an empty text counts as not given
3. a module named by `TALLYSTICK_SETTINGS_MODULE`: `TALLYSTICK_SAMPLE_RATE = 0.1`, or `sample_rate = 0.1`
4. `tallystick.toml`, or `[tool.tallystick]` in `pyproject.toml`, in the working directory or a parent of it, up to the
   project's root: the nearest folder with `.git`, else with `pyproject.toml`. The nearest file wins
5. the default

A name that is no setting is an error that says which one may be meant. Only unknown `TALLYSTICK_*` variables are none,
since the environment is not ours alone: where Kubernetes has a service called `tallystick`, every container beside it
gets `TALLYSTICK_SERVICE_HOST`, `TALLYSTICK_PORT` and more, and must start all the same. `Metrics` logs a warning of
those that look like a misspelt setting; `tallystick doctor` and `tallystick config show` list all.

A relative `home` starts from the folder of the file that says it, and from the working directory elsewhere.

```toml
backend = "sqlite:////var/lib/shop/metrics.db"
app = "shop"
tags = { env = "prod", region = "eu" }
spool_limit_bytes = 2_000_000_000
when_full = "drop_old"
retention_days = 90
```

In the environment a number, a list or a table is text: `TALLYSTICK_TAGS=env=prod,region=eu` (or JSON),
`TALLYSTICK_SCRUB=password,iban`, `TALLYSTICK_STRICT=yes`.

A password in `backend` is shown nowhere: representations, errors, logs and `config show` mask it. Where a database's
error repeats it, logs, dead letters, `status` and `doctor` mask it, too.

| setting | default | must be | meaning |
|---|---|---|---|
"""

COMPUTED = {"app": "the script's name", "host": "the machine's name", "home": "see below", "scrub": "see below"}

FOOT = f"""
The default `home` is `$XDG_STATE_HOME/tallystick` or `~/.local/state/tallystick`; on macOS
`~/Library/Application Support/tallystick`. What is made there is for its owner and group: files have the mode 0660 and
folders 0770, both narrowed by the umask (with the usual 022 only the owner writes, with 077 only the owner reads).

The default `scrub` is {", ".join(f"`{key}`" for key in SCRUB)}; a list of yours replaces it.
"""


def page() -> str:
    rows = [f"| `{name}` | {default(name)} | {row.must} | {row.sentence} |\n" for name, row in table().items()]
    return HEAD + "".join(rows) + FOOT


def default(name: str) -> str:
    if name in COMPUTED:
        return COMPUTED[name]
    value = getattr(Settings(), name)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value not in (None, "", {}) else "–"


if __name__ == "__main__":
    PAGE.write_text(page())
