"""Document -> one self-contained HTML page: no script, no font, nothing fetched."""

from gate.report.document import Document
from gate.report.text import one_line


def to_html(document: Document) -> str:
    """The whole page. Every text is escaped by the template engine."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - heavy, only for pages

    environment = Environment(
        loader=PackageLoader("gate.report"),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html").render(document=document)


def _visible(value: object) -> object:
    """Take hidden characters out of a text; markup of the template's own stays as it is."""
    return one_line(value) if type(value) is str else value
