"""`roadseg report`: a page that shows an archive, made from its ledger.

ledger row + the clip's files -> Digest (kept in OUTPUT/.report) -> OUTPUT/report.html

digest.py   what the page shows of one clip: a picture, shares over time, events
totals.py   the same summed up
page.py     the page as text
write.py    all of it
"""

from __future__ import annotations

from roadseg.archive.report.write import ArchivePage, write_report

__all__ = ["ArchivePage", "write_report"]
