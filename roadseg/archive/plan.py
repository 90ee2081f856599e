"""What is there already, and what is still to be done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from roadseg.archive.clip import Clip
from roadseg.archive.identity import identity_of, joint_identity
from roadseg.archive.ledger import Ledger
from roadseg.archive.publishing import is_whole
from roadseg.archive.result import ClipResult, read_clip_file
from roadseg.archive.spec import ArchiveSpec
from roadseg.archive.work import Work
from roadseg.core.errors import SinkError, SourceError, UsageError
from roadseg.core.files import printable
from roadseg.core.wording import option

_WORK = "work"


class Plan:
    """Decides for each clip whether what is there will do.

    Args:
        spec: what is asked for.
        work: the same, with what runs it decided.
        ledger: open.
    """

    def __init__(self, spec: ArchiveSpec, work: Work, ledger: Ledger) -> None:
        self._spec, self._work, self._ledger = spec, work, ledger

    def agree(self, others: Sequence[Path] = ()) -> None:
        """Make sure that the archive is one of this work.

        Args:
            others: ledgers of other shards, and of runs without shards.

        Raises:
            UsageError: its results were made with other options, and nobody has said `redo`.
            SinkError: the ledger cannot be written.
        """
        agreed = self._ledger.recall(_WORK)
        if agreed == self._work.key:
            return
        if not self._spec.redo:
            # A ledger that was made anew does not know what was agreed on, but its rows do.
            other = self._ledger.made_otherwise(self._work.key)
            # Once a shard has agreed, what the others were made with no longer matters: each may be
            # done again by itself.
            for path in others if agreed is None and other is None else ():
                # One that cannot be read is made anew by its own run.
                with suppress(SinkError), Ledger(path, read_only=True) as theirs:
                    if theirs.recall(_WORK) != self._work.key:
                        other = other or theirs.made_otherwise(self._work.key)
            if other is not None:
                output = self._spec.clip.output
                raise UsageError(
                    f"{output} holds results that were made otherwise: {self._difference(other)}",
                    fix=f"give another {option('--output')}, or {option('--redo', True)} to do "
                    "them again",
                )
        self._ledger.remember(_WORK, self._work.key)

    def existing(self, clip: Clip) -> ClipResult | None:
        """What is there for a clip and need not be done again; None where it is to be done.

        A result that is there without a row gets one: the run that made it ended just then.

        Raises:
            SinkError: the ledger cannot be written.
        """
        row = self._ledger.get(clip.name)
        if row is None or row.work != self._work.key or row.state == "skipped":
            return self._unlisted(clip)
        if row.state == "failed" and self._spec.retry_failed:
            return None
        if not self._is_same(clip, row):
            return self._unlisted(clip)
        if row.state == "done" and not is_whole(self._spec.clip.output, row):
            return None
        return row

    def _unlisted(self, clip: Clip) -> ClipResult | None:
        """A complete result of this work and this content that the ledger does not have."""
        output = self._spec.clip.output
        result = read_clip_file(output / clip.name)
        if result is None or result.name != clip.name or result.work != self._work.key:
            return None
        if not is_whole(output, result) or not self._is_same(clip, result):
            return None
        self._ledger.put(result)
        return result

    def _is_same(self, clip: Clip, result: ClipResult) -> bool:
        """Whether a clip is still what the result was made of."""
        return self.identity(clip) == result.identity

    def identity(self, clip: Clip) -> str:
        """Digest of a clip; empty where it cannot be read."""
        full = self._spec.clip.full_hash
        try:
            found = [identity_of(file, full=full) for file in clip.files]
        except SourceError:
            return ""
        return joint_identity(found, full=full) if clip.parts else found[0]

    def lost(self, clip: Clip, attempts: int, how: str) -> ClipResult:
        """The result of a clip whose workers all died."""
        work = self._work
        return ClipResult(
            clip=printable(clip.path),
            name=clip.name,
            state="failed",
            identity=self.identity(clip),
            work=work.key,
            exit_code=1,
            error=f"its worker died {attempts} times ({how})",
            fix=f"if memory was short, use {option('--workers', 1)} and "
            f"{option('--retry-failed', True)}",
            model=work.model,
            model_sha256=work.model_sha256,
            options=work.options,
            version=work.version,
            attempts=attempts,
            parts=tuple(map(printable, clip.parts)),
        )

    def note_parts(self, clip: Clip, drive: ClipResult) -> None:
        """Give each clip of a drive, but the first, a row that says so. Results that it had by
        itself, from a run without `join`, are removed: where the drive failed they are all that
        there is, and stay.

        Args:
            clip: the drive.
            drive: its result.

        Raises:
            SinkError: the ledger cannot be written.
        """
        named = list(zip(clip.part_names, clip.parts, strict=True))
        for name, path in named[1:]:
            row = self._ledger.get(name)
            if row is not None and (row.state, row.within) == ("skipped", clip.name):
                continue
            if drive.state != "done" and row is not None and row.state == "done":
                continue
            self._ledger.put(
                ClipResult(
                    clip=printable(path),
                    name=name,
                    state="skipped",
                    identity=self.identity(Clip(path, name)),
                    work=self._work.key,
                    options=self._work.options,
                    version=self._work.version,
                    within=clip.name,
                )
            )
            folder = self._spec.clip.output / name
            if drive.state == "done" and read_clip_file(folder) is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def _difference(self, row: ClipResult) -> str:
        """How a row's work differs from ours, in words."""
        work = self._work
        if row.version != work.version:
            return f"by version {row.version} of roadseg, and this is {work.version}"
        theirs, ours = json.loads(row.options), json.loads(work.options)
        names = [key for key in ours if theirs.get(key) != ours[key]]
        if "reading" in names:
            before = theirs.get("reading", {})
            names.remove("reading")
            names += [key for key in ours["reading"] if before.get(key) != ours["reading"][key]]
        if not names:
            return f"with other weights of {row.model}"
        return f"with other options ({', '.join(sorted(names))})"
