"""The table of the documentation, from what the tests of a run had to say."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

INTRODUCTION = """\
# Backends and the contract

What each backend keeps, on each server that it is proven on: `✓` is kept, `–` does not apply (the note says why), `✗`
is not kept. Nobody writes this page: a run of the contract does, on the real servers, each of which says its version
itself. A stand-in takes the place of a server that cannot be had. To write it anew, or (with `-k`) some columns of it:

```text
TALLYSTICK_CONTRACT_TABLE=docs/reference/backends.md make test
```
"""

HEAD = "what is kept"
PASSED, FAILED, SKIPPED, ABSENT = "✓", "✗", "–", "?"


class Table:
    """Rows × columns. `passed`, `failed` and `skipped` take what one test had to say; `note` is a relaxation."""

    def __init__(self, rows: Mapping[str, Iterable[str]], columns: Mapping[str, Callable[[], str]]) -> None:
        self.rows = rows
        self.columns = dict(columns)
        self._marks: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._notes: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)  # a dict keeps the order

    def passed(self, row: str, column: str, notes: Iterable[str] = ()) -> None:
        self._marks[row, column].add(PASSED)
        self._notes[row, column] |= dict.fromkeys(notes)

    def failed(self, row: str, column: str) -> None:
        self._marks[row, column].add(FAILED)

    def skipped(self, row: str, column: str, why: str) -> None:
        self._marks[row, column].add(SKIPPED)
        self._notes[row, column][why] = None

    def does_not_apply(self, row: str, column: str, why: str) -> None:
        """Counts where no test is."""
        if not self._marks[row, column]:
            self.skipped(row, column, why)

    def keep(self, page: str) -> None:
        """Of an earlier page, the columns of which this run tried nothing."""
        notes = dict(re.findall(r"^\[\^(\d+)\]: (.*)\.$", page, re.MULTILINE))
        kept = self.columns.keys() - self._tried()
        for line in page.splitlines():
            first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            if len(cells) != len(self.columns):
                continue
            for column, cell in zip(self.columns, cells, strict=True):
                if column not in kept:
                    continue
                if first == HEAD:
                    self.columns[column] = cell.__str__
                elif cell[:1] in {PASSED, FAILED, SKIPPED}:
                    self._marks[first, column].add(cell[0])
                    self._notes[first, column] |= dict.fromkeys(notes[n] for n in re.findall(r"\d+", cell))

    def _tried(self) -> set[str]:
        return {column for (_, column), marks in self._marks.items() if marks}

    def absent(self) -> list[str]:
        """Cells that no test filled and nobody explained, and columns of nothing else."""
        rows = [row for part in self.rows.values() for row in part]
        found = []
        for column in self.columns:
            missing = [row for row in rows if not self._marks[row, column]]
            found += [f"{column}: {row}" for row in missing] if missing != rows else [f"{column}: no test at all"]
        return found

    def markdown(self) -> str:
        tried = self._tried()
        heads = [head() if column in tried else column for column, head in self.columns.items()]
        notes: dict[str, int] = {}
        parts = [INTRODUCTION]
        for heading, rows in self.rows.items():
            lines = [f"| {HEAD} | {' | '.join(heads)} |", f"|---|{':-:|' * len(heads)}"]
            lines += [
                f"| {row} | {' | '.join(self._cell(row, column, notes) for column in self.columns)} |" for row in rows
            ]
            parts.append(f"## {heading}\n\n" + "\n".join(lines) + "\n")
        parts.append("\n".join(f"[^{number}]: {_sentence(note)}" for note, number in notes.items()) + "\n")
        return "\n".join(parts)

    def _cell(self, row: str, column: str, notes: dict[str, int]) -> str:
        marks = self._marks[row, column]
        mark = next((one for one in (FAILED, PASSED, SKIPPED) if one in marks), ABSENT)
        return mark + "".join(f"[^{notes.setdefault(note, len(notes) + 1)}]" for note in self._notes[row, column])


def _sentence(note: str) -> str:
    plain = " ".join(note.split())
    return f"{plain[:1].upper()}{plain[1:].rstrip('.')}."
