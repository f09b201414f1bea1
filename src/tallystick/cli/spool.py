"""`tallystick spool`: the files in which records wait."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import click
import msgspec

from tallystick.agent.election import elected
from tallystick.cli.app import AskedWrong, Group
from tallystick.cli.options import json_option, where_options, yes_option
from tallystick.cli.output import agreed, json_document, json_line, note, show, table
from tallystick.cli.tail import document
from tallystick.codec import encode_header
from tallystick.errors import SpoolTooNew, TallystickError
from tallystick.pipelines.targets import Where, targets
from tallystick.spool import repair as mending
from tallystick.spool.folder import Folder
from tallystick.spool.look import Seen, chosen, look, pieces
from tallystick.spool.positions import Positions
from tallystick.spool.reader import SegmentReader
from tallystick.text import clean, number, size, span

SHOWN: Final = 10


@click.group(cls=Group)
def spool() -> None:
    """Spool files: list, check, dump or repair them.

    A spool is a folder of segments, files of one JSON line a record, one for each process that records. A record's
    id is its place there: <segment>-<offset in bytes>.
    """


@spool.command("list")
@json_option
@where_options
def spool_list(where: Where, as_json: bool) -> None:
    """Every segment: who wrote it, whether it is in use, and how much of it is left to deliver."""
    found = [seen for target in targets(where) for seen in look(target.folder)]
    if as_json:
        json_document(found)
    elif not found:
        click.echo(f"No segments in {where.settings().home}: nothing waits.")
    else:
        numbers = ["age", "size", "position", "lines left"]
        columns = ["pipeline", "segment", "age", "written by", "in use", "size", "position", "lines left"]
        show(table(columns, [_row(seen) for seen in found], numbers=numbers))


def _row(seen: Seen) -> list[str]:
    header = seen.header
    by = f"{header.app or '–'}, pid {header.pid} on {header.host or '–'}" if header else "a newer version"
    return [
        seen.pipeline,
        seen.segment,
        span(max(0.0, time.time() - seen.started)),
        by,
        "yes" if seen.in_use else "no",
        size(seen.size_bytes),
        number(seen.position),
        number(seen.lines) if header else "–",
    ]


@spool.command("check")
@json_option
@where_options
def spool_check(where: Where, as_json: bool) -> None:
    """Read every line and say what is damaged, and where. Exits with 1 when something is.

    Damage is no disaster: delivery goes on behind it, and the agent moves the damaged lines to the dead letters.
    """
    found: list[dict[str, Any]] = []
    lines = segments = 0
    for target in targets(where):
        found += _check_notes(target.folder)
        for identity in target.folder.segment_ids():
            segments += 1
            lines += _check_segment(target.folder, identity, found)
    if as_json:
        json_document({"ok": not found, "segments": segments, "lines": lines, "damage": found})
    else:
        for one in found:
            click.echo(f"{one['pipeline']}: {one['place']}: {clean(one['reason'])}")
        click.echo(f"{number(lines)} lines in {number(segments)} segments, {number(len(found))} damaged")
    if found:
        raise SystemExit(1)


def _check_notes(folder: Folder) -> list[dict[str, Any]]:
    try:
        garbled = Positions(folder).fresh and folder.positions.exists()
    except TallystickError as error:
        return [{"pipeline": folder.name, "place": folder.positions.name, "reason": str(error)}]
    reason = "cannot be read: delivery begins again, which the database's ledger makes harmless"
    return [{"pipeline": folder.name, "place": folder.positions.name, "reason": reason}] if garbled else []


def _check_segment(folder: Folder, identity: str, found: list[dict[str, Any]]) -> int:
    lines = 0
    try:
        reader = SegmentReader(folder.segment(identity))
    except FileNotFoundError:
        return 0
    except SpoolTooNew as error:
        found.append({"pipeline": folder.name, "place": identity, "reason": str(error)})
        return 0
    try:
        for piece in pieces(reader):
            lines += len(piece.batch) + len(piece.damaged)
            found += [
                {"pipeline": folder.name, "place": f"{identity}-{damage.offset}", "reason": damage.reason}
                for damage in piece.damaged
            ]
    finally:
        reader.close()
    return lines


@spool.command("dump")
@click.argument("segments", nargs=-1, metavar="[SEGMENT]...")
@click.option("--all", "everything", is_flag=True, help="Also what was delivered already.")
@json_option
@where_options
def spool_dump(where: Where, segments: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Print what waits in the spool: the raw lines, each segment's header first; or with --json records with ids.

    The start of a SEGMENT's id will do; without one, all.
    """
    found = targets(where)
    there = [identity for target in found for identity in target.folder.segment_ids()]
    for wanted in segments:
        if not any(identity.startswith(wanted) for identity in there):
            known = f"there are {', '.join(there[:SHOWN])}{', …' * (len(there) > SHOWN)}" if there else "there are none"
            raise AskedWrong(f"no segment has an id that begins with {clean(wanted)}; {known}")
    for target in found:
        at = {} if everything else Positions(target.folder).at
        for identity in chosen(target.folder, segments):
            try:
                reader = SegmentReader(target.folder.segment(identity), at.get(identity, 0))
            except FileNotFoundError:
                continue
            except SpoolTooNew as error:
                note(str(error))
                continue
            try:
                _dump(reader, as_json=as_json)
            finally:
                reader.close()


def _dump(reader: SegmentReader, *, as_json: bool) -> None:
    if not as_json:
        click.echo(encode_header(reader.codec.header), nl=False)
        for piece in pieces(reader):
            click.echo(piece.raw, nl=False)
        return
    for piece in pieces(reader):
        for record in piece.batch.records:
            json_line(document(record))
        for damage in piece.damaged:
            place = f"{reader.segment}-{damage.offset}"
            json_line({"id": place, "damaged": damage.reason, "line": damage.line.decode("utf-8", "backslashreplace")})


@spool.command("repair")
@yes_option
@json_option
@where_options
def spool_repair(where: Where, yes: bool, as_json: bool) -> None:
    """Move damaged lines to the dead letters, and write damaged headers anew.

    No readable line is lost, or changes its id. Only segments that no process has open are touched, and applications
    may go on recording. An agent has to be stopped for it; an application's own thread gives way.

    It is seldom needed, since the agent steps over damage by itself. It saves host, app and global tags where a
    header is damaged, and cleans up while a database is down.
    """
    found = targets(where)
    if not yes:
        names = ", ".join(target.name for target in found) or "nothing"
        agreed(f"Repair the segments of {names} in {where.settings().home}?")
    limit = where.settings().dead_limit_bytes
    done = [(target.name, mended) for target in found for mended in _repaired(target.folder, limit)]
    leftovers = [name for target in found for name in mending.remove_leftovers(target.folder)]
    if as_json:
        documents = [{"pipeline": name, **msgspec.to_builtins(mended)} for name, mended in done]
        json_document({"segments": documents, "leftovers": leftovers})
    else:
        for sentence in _sentences(done, leftovers):
            click.echo(sentence)
    if any(mended.left for _, mended in done):
        raise SystemExit(1)


def _repaired(folder: Folder, dead_limit_bytes: int) -> list[mending.Mended]:
    with elected(folder):
        return mending.repair(folder, dead_limit_bytes)


def _sentences(done: list[tuple[str, mending.Mended]], leftovers: list[str]) -> Iterator[str]:
    for name, mended in done:
        what = [f"{number(mended.lines)} lines moved to the dead letters"] if mended.lines else []
        what += ["header written anew"] if mended.header else []
        what += [clean(mended.left)] if mended.left else []
        yield f"{name}: {mended.segment}: {', '.join(what)}"
    for leftover in leftovers:
        yield f"{leftover}: removed; who was making it died"
    if not done and not leftovers:
        yield "nothing to repair"
