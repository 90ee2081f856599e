"""What several tests share: small networks and clips, and stand-ins of what has no GPU to run on.

Modules here are imported like any other; fixtures that several folders need are in `fixtures.py`.
"""

from __future__ import annotations

from pathlib import Path

# The project's folder.
ROOT = Path(__file__).resolve().parents[2]
