"""Settings of Sphinx: `make docs` writes the site to build/docs."""

from __future__ import annotations

from phoundry.version import __version__

project = "Phoundry"
author = "The Phoundry developers"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

# The pages are read on their own, too: headings link as they do there.
myst_heading_anchors = 3
# Links to files of the repository beside docs/ have no page to lead to.
suppress_warnings = ["myst.xref_missing"]

html_theme = "furo"
html_title = "Phoundry"
html_theme_options = {"navigation_with_keys": True}
# Nothing is fetched from elsewhere when a page is read.
html_static_path: list[str] = []

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
