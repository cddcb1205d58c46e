"""Sphinx configuration: builds without network."""

project = "Shoal"
author = "The Shoal developers"
copyright = "2026, The Shoal developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "Shoal"
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "separated"
nitpicky = False
suppress_warnings = ["myst.header"]
