"""The template of services, `templates/service`: real code, rendered by replacing words and removing parts.

Lines between `# template if CONDITION` and `# template end` are kept if the condition holds, such as
`database and not redis` or `calls accounts`; those after `# template each call` are repeated for every called
service. `template.toml` has conditions of whole files. The words `depot` and `crate` become those of the
service; imports that are no longer used are removed, and the code is formatted.
"""

from pathlib import Path
from typing import Final

TEMPLATE: Final = Path("templates/service")
"""Folder of the template, from the root of the workspace."""
