"""Configuration of Sphinx."""

from suno_async import __version__

project = "suno_async"
author = "The suno_async authors"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"suno_async {release}"
html_copy_source = False

# Headings get anchors, so that pages can link to sections.
myst_heading_anchors = 3

# `Name` in a docstring is a link if it names something that is documented.
default_role = "py:obj"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# List attributes as fields. As separate entries, they would repeat the descriptors of msgspec.
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
