"""Looks at the machine and says what keeps `roadseg run` from working, and what to do about it.

from roadseg.doctor import diagnose

report = diagnose()
report.run_would_fail
"""

from __future__ import annotations

from roadseg.doctor.checkup import diagnose
from roadseg.doctor.report import Finding, Level, Report

__all__ = ["Finding", "Level", "Report", "diagnose"]
