"""Pages in HTML from a room's templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def page_environment(package: str) -> Environment:
    """What fills in the templates of a package: text is escaped, and a missing value is an error.

    Args:
        package: whose folder `templates` holds them: `roadseg.archive.report`.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
