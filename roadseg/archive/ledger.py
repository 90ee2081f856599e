"""The ledger of an archive: an SQLite file with one row a clip.

One process writes it, and one row is one transaction: whatever ends that process, the ledger holds
whole rows. It is in the archive's folder; a shard has one of its own, since network drives do not
lock SQLite files well. docs/archives.md describes the columns.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

from roadseg.archive.result import CLIP_FILE, ClipResult, Output, read_clip_file
from roadseg.core.closing import Closing
from roadseg.core.errors import SinkError, os_reason, reading
from roadseg.core.wording import option

SCHEMA = 1
"""Version of the tables, in SQLite's `user_version`."""

_TABLES = f"""
BEGIN;
CREATE TABLE clips (
    name TEXT PRIMARY KEY,
    clip TEXT NOT NULL,
    state TEXT NOT NULL,
    identity TEXT NOT NULL,
    work TEXT NOT NULL,
    exit_code INTEGER NOT NULL,
    error TEXT NOT NULL,
    fix TEXT NOT NULL,
    frames_in INTEGER NOT NULL,
    frames_out INTEGER NOT NULL,
    frames_lost INTEGER NOT NULL,
    seconds REAL,
    duration_s REAL NOT NULL,
    model TEXT NOT NULL,
    model_sha256 TEXT NOT NULL,
    options TEXT NOT NULL,
    version TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    within TEXT NOT NULL,
    parts TEXT NOT NULL,
    warnings TEXT NOT NULL
);
CREATE TABLE outputs (
    name TEXT NOT NULL REFERENCES clips (name),
    kind TEXT NOT NULL,
    path TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (name, path)
);
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
PRAGMA user_version = {SCHEMA};
COMMIT;
"""

# Beside those of the table `clips` a result has outputs, and what only a run knows.
_NOT_COLUMNS = ("outputs", "disk_full")
_COLUMNS = tuple(f.name for f in fields(ClipResult) if f.name not in _NOT_COLUMNS)
_LISTS = ("parts", "warnings")


# Rows that are read at once.
_PAGE = 1000

# For so long whoever reads a ledger may keep the one who writes it waiting, or the other way round.
_PATIENCE_S = 60.0


def ledger_path(output: Path, shard: tuple[int, int] | None = None) -> Path:
    """Where the ledger of an archive, or of one of its shards, lies."""
    if shard is None:
        return output / "ledger.sqlite"
    return output / f"ledger-{shard[0]}-of-{shard[1]}.sqlite"


def ledgers_in(output: Path) -> list[Path]:
    """All ledgers of an archive: the one, and those of shards.

    Raises:
        SinkError: the folder cannot be looked into.
    """
    with reading(SinkError, output):
        shards = sorted(output.glob("ledger-*-of-*.sqlite"))
        return [path for path in (ledger_path(output), *shards) if path.is_file()]


class Ledger(Closing):
    """An open ledger; a context manager that closes it.

    Args:
        path: see `ledger_path`; made where it is missing. One that is damaged or of another version
            is renamed, and made anew.
        read_only: make and mend nothing; what cannot be used is an error.

    Attributes:
        is_new: it was made just now.
        notes: what happened when it was opened, one line each, for people.

    Raises:
        SinkError: it cannot be read or written; with `read_only` also where it is missing, damaged
            or of another version.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.notes: list[str] = []
        with reading(SinkError, path):
            is_there = path.exists()
        problem = _problem(path) if is_there else None
        if read_only:
            if not is_there:
                raise SinkError(
                    f"there is no ledger at {path}", fix="give the folder that batch wrote"
                )
            if problem is not None:
                raise SinkError(f"{path} {problem}", fix="run batch again, which makes it anew")
        elif problem is not None:
            backup = _set_aside(path, problem)
            self.notes.append(f"{path.name} {problem}: it is now {backup.name}, and is made anew")
        self._base = _open(path, read_only=read_only)
        with _errors(path):
            self.is_new = _is_empty(self._base)
            if self.is_new:
                self._base.executescript(_TABLES)

    def put(self, result: ClipResult) -> None:
        """Write a clip's row, in place of the one that it may have.

        Raises:
            SinkError: it cannot be written; what the ledger held before, it still holds.
        """
        values = []
        for column in _COLUMNS:
            value = getattr(result, column)
            if column in _LISTS:
                value = json.dumps(value, ensure_ascii=False)
            values.append(value)
        marks = ", ".join("?" * len(_COLUMNS))
        with _errors(self.path), self._base:
            self._base.execute("DELETE FROM outputs WHERE name = ?", (result.name,))
            self._base.execute(
                f"INSERT OR REPLACE INTO clips ({', '.join(_COLUMNS)}) VALUES ({marks})", values
            )
            self._base.executemany(
                "INSERT INTO outputs VALUES (?, ?, ?, ?)",
                [(result.name, each.kind, each.path, each.bytes) for each in result.outputs],
            )

    def get(self, name: str) -> ClipResult | None:
        """The row of a clip, by the name of its folder; None where it has none."""
        return next(iter(self._select("WHERE name = ?", (name,))), None)

    def rows(self) -> Iterator[ClipResult]:
        """All rows, in the order of their names; a page of them at a time is in memory, and between
        pages whoever writes can go on."""
        last = ""
        while page := self._select("WHERE name > ? ORDER BY name LIMIT ?", (last, _PAGE)):
            yield from page
            last = page[-1].name

    def names(self) -> list[str]:
        """The names of all rows."""
        with _errors(self.path):
            return [name for (name,) in self._base.execute("SELECT name FROM clips").fetchall()]

    def made_otherwise(self, work: str) -> ClipResult | None:
        """A row of another work than this; None for none."""
        return next(iter(self._select("WHERE work != ? LIMIT 1", (work,))), None)

    def remember(self, key: str, value: str) -> None:
        """Keep something about the whole archive.

        Raises:
            SinkError: it cannot be written.
        """
        with _errors(self.path), self._base:
            self._base.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, value))

    def recall(self, key: str) -> str | None:
        """What was kept, None for nothing."""
        with _errors(self.path):
            row = self._base.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def close(self) -> None:
        """Close it; a second call does nothing."""
        self._base.close()

    def _select(self, condition: str, values: tuple[str | int, ...]) -> list[ClipResult]:
        results = []
        with _errors(self.path):
            clips = self._base.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM clips {condition}", values
            )
            # A statement that is open between rows would lock out the one who writes.
            for row in clips.fetchall():
                known = dict(zip(_COLUMNS, row, strict=True))
                for column in _LISTS:
                    known[column] = tuple(json.loads(known[column]))
                outputs = self._base.execute(
                    "SELECT kind, path, bytes FROM outputs WHERE name = ? ORDER BY path",
                    (known["name"],),
                )
                written = tuple(Output(*each) for each in outputs.fetchall())
                results.append(ClipResult(**known, outputs=written))
        return results


def archive_rows(output: Path) -> Iterator[ClipResult]:
    """The rows of all ledgers of an archive, without changing anything. Of a clip with a row in
    several, the one of the result that is there.

    Raises:
        SinkError: there is no ledger, or one cannot be used.
    """
    with ExitStack() as stack:
        paths = ledgers_in(output) or [ledger_path(output)]
        ledgers = [stack.enter_context(Ledger(path, read_only=True)) for path in paths]
        counts: Counter[str] = Counter()
        if len(ledgers) > 1:
            for ledger in ledgers:
                counts.update(ledger.names())
        for number, ledger in enumerate(ledgers):
            for row in ledger.rows():
                count = counts.pop(row.name, 1 if len(ledgers) == 1 else 0)
                if count > 1:
                    others = (each.get(row.name) for each in ledgers[number + 1 :])
                    yield _valid(output, [row, *(each for each in others if each is not None)])
                elif count:
                    yield row


def _valid(output: Path, rows: Sequence[ClipResult]) -> ClipResult:
    """Which of a clip's rows speaks of what is there."""
    done = [row for row in rows if row.state == "done"]
    differ = len({(row.work, row.identity) for row in done}) > 1
    there = read_clip_file(output / rows[0].name) if differ else None
    if there is not None:
        same = [r for r in done if (r.work, r.identity) == (there.work, there.identity)]
        done = same or done
    return (done or list(rows))[0]


def results_in(output: Path) -> Iterator[ClipResult]:
    """The results that an archive's folder holds, from the file that each clip's folder has."""
    for folder, below, files in os.walk(output):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if CLIP_FILE not in files:
            continue
        result = read_clip_file(Path(folder))
        # A folder that was copied or moved is not the one that its file speaks of.
        if result is not None and Path(folder) == output / result.name:
            yield result


def open_ledger(output: Path, shard: tuple[int, int] | None = None) -> Ledger:
    """Open the ledger of an archive, or of one of its shards, to write it.

    One that had to be made anew has the rows of the results that are there. (A shard's gets its
    own as they are found; the others are in other ledgers.)

    Raises:
        SinkError: it cannot be read or written.
    """
    ledger = Ledger(ledger_path(output, shard))
    if ledger.is_new and shard is None:
        found = 0
        for result in results_in(output):
            ledger.put(result)
            found += 1
        if found:
            ledger.notes.append(f"{ledger.path.name} has the {found} results that are there")
    return ledger


def _open(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """No write-ahead log: it needs shared memory, which network drives lack, and two more files."""
    mode = "ro" if read_only else "rwc"
    with _errors(path):
        uri = f"{path.resolve().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, uri=True, timeout=_PATIENCE_S)


def _is_empty(base: sqlite3.Connection) -> bool:
    """Whether there are no tables: a run was killed before it had made them."""
    return bool(base.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()[0])


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        if "locked" in str(exc):
            raise SinkError(
                f"{path} was locked by another program for {_PATIENCE_S:g} s",
                fix="end what reads it; what is done stays done",
            ) from exc
        raise SinkError(
            f"cannot use {path} ({exc})",
            fix="free the space it needs, what is done stays done; "
            f"or give another {option('--output')}",
        ) from exc


def _problem(path: Path) -> str | None:
    """What is wrong with a ledger that is there, for people; None for nothing."""
    uri = f"{path.resolve().as_uri()}?mode=rw"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as base:
            if _is_empty(base):
                return None
            version = base.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA:
                return f"is of version {version} and not {SCHEMA}"
            (state,) = base.execute("PRAGMA quick_check(1)").fetchone()
            if state != "ok":
                return "is damaged"
            base.execute(f"SELECT {', '.join(_COLUMNS)} FROM clips LIMIT 1").fetchone()
            base.execute("SELECT name, kind, path, bytes FROM outputs LIMIT 1").fetchone()
            base.execute("SELECT key, value FROM about LIMIT 1").fetchone()
    except sqlite3.OperationalError as exc:
        # Locked, or not to be opened: using it says so.
        return "is damaged" if "no such" in str(exc) else None
    except sqlite3.DatabaseError:
        return "is damaged"
    return None


def _set_aside(path: Path, problem: str) -> Path:
    """Rename a ledger that cannot be used; its new name."""
    number = 1
    while (place := path.with_name(f"{path.stem}-backup-{number}{path.suffix}")).exists():
        number += 1
    try:
        os.replace(path, place)
        # It would be taken for the new one's.
        Path(f"{path}-journal").unlink(missing_ok=True)
    except OSError as exc:
        raise SinkError(
            f"{path} {problem}, and cannot be renamed ({os_reason(exc)})", fix="move it away"
        ) from exc
    return place
