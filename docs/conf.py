"""How the pages become a site: `make docs`."""

from sphinx.application import Sphinx

from voicespan import __version__

project = "voicespan"
author = "The voicespan maintainers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"voicespan {version}"

myst_enable_extensions = ["colon_fence"]
# Links from one page to a heading of another.
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
# `conversation` is a function and the name of a module; the reader means the function.
add_module_names = False


def setup(app: Sphinx) -> None:
    """Links of the repository's own pages, which are shown here as well, lead to their copies."""
    app.connect("include-read", _relink)


def _relink(_app: Sphinx, _path: object, _parent: str, content: list[str]) -> None:
    content[0] = content[0].replace("(ARCHITECTURE.md)", "(architecture.md)").replace("(docs/", "(")
