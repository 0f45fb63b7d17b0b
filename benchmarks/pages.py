"""HTML pages from templates: everything that comes from runs is escaped, a missing value is an error.

The pages' common head and look is `house.html`, beside this file.
"""

from pathlib import Path
from typing import Any

import jinja2


def render(template: Path, **values: Any) -> str:
    """Return the page that `template` makes of `values`; it may include `house.html`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template.name).render(**values)
