"""Sphinx configuration of the site; ``python docs/build.py`` builds it."""

import moireio

project = "moireio"
author = "The moireio authors"
copyright = author
version = release = moireio.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
html_theme = "furo"
html_title = f"moireio {version}"
html_copy_source = False
html_show_sphinx = False
# No page asks another server for anything.
html_theme_options = {"light_css_variables": {"font-stack": "system-ui, sans-serif"}}

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4
smartquotes = False  # "--option" stays as it is
# Single backticks in docstrings are names; most are parameters, which have no page to link to.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings give types with shapes and units
autodoc_default_options = {"members": True}
toc_object_entries = False
napoleon_google_docstring = False
napoleon_use_rtype = False
