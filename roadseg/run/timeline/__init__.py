"""`roadseg timeline`: a page that draws what `roadseg run --timeline` wrote.

    read_timeline -> Drawing (columns thinned out, events, thumbnails) -> one HTML file

The page needs nothing but itself; the video plays in it where it lies beside the page.
"""

from __future__ import annotations

from roadseg.run.timeline.write import TimelinePage, write_timeline_page

__all__ = ["TimelinePage", "write_timeline_page"]
