import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gate.report.document import Code, Document
from gate.report.markdown import code, escape, to_markdown
from gate.report.summary import summary
from gate.verdict import Finding
from tests.gate.unit.test_golden import all_kinds

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
TAGS = re.compile(r"</?[a-zA-Z!][^>]*>")

HOSTILE = [
    "*bold* _it_ __b__ ~~gone~~",
    "[click](https://evil.example) ![x](https://evil.example/a.png)",
    "[ref]: https://evil.example",
    "<b>html</b> <img src=x onerror=alert(1)>",
    "<!-- comment",
    "</details></table>",
    "<https://evil.example>",
    "&lt;b&gt; &amp; &#64;everyone",
    "`code` ``more``",
    "a | b || c \\| d \\\\| e",
    "# heading",
    "> quote",
    "- item",
    "+ item",
    "***",
    "---",
    "$x^2$ $$y$$",
    "line\nbreak\r\n\r\n# heading",
    "back\\slash \\",
    "```\nfence\n```",
    "\u202egnp.exe\u2066 \u200b zero",
    "\x1b[31mred\x07\x00",
    "@everyone and @octo/team, see #1 and a/b#2",
]


def rendered(text: str) -> str:
    return RENDERER.render(text)


def plain(html: str) -> str:
    """The text that a reader sees."""
    text = TAGS.sub("", html)
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        text = text.replace(entity, char)
    return text.replace("\N{WORD JOINER}", "")


def tags(html: str) -> set[str]:
    return {re.match(r"</?([\w!-]+)", tag)[1] for tag in TAGS.findall(html)}


def document_with(text: str) -> Document:
    document = Document("Title")
    document.heading(text)
    document.paragraph("Text: ", text, Code(text))
    document.bullets([("First: ", text)])
    document.table(("A", text), [(text, Code(text)), (Code(text), text)], numeric=(1,))
    document.commands(f"pytest '{text}'")
    return document


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_makes_no_markup(text):
    html = rendered(to_markdown(document_with(text)))
    assert tags(html) <= {
        "h1", "h2", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "code", "pre",
    }  # fmt: skip
    assert html.count("<tr>") == 3
    assert html.count("<th") - html.count("<thead") == 2
    assert html.count("<td") == 4
    assert html.count("<h2>") == 1
    assert html.count("<li>") == 1
    assert html.count("<pre>") == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_it_is(text):
    shown = plain(rendered(f"Text: {escape(text)}"))
    seen = re.sub(r"[\r\n\t]", " ", text)
    seen = re.sub("[\x00\x07\x1b\u202e\u2066\u200b]", "", seen)
    assert shown.split() == f"Text: {seen}".split()


@given(st.text(st.sampled_from("ab @#`*_[]()<>!|\\~$&-+\n\r{}.:/'\""), max_size=30))
def test_no_text_at_all_makes_markup(text):
    html = rendered(to_markdown(document_with(text)))
    assert not tags(html) & {"a", "img", "em", "strong", "s", "blockquote", "hr", "b", "br"}
    assert html.count("<td") == 4


@given(st.text(st.sampled_from("ab12 @#-_"), max_size=30))
@example("@octo #12")
def test_no_mention_and_no_reference_comes_out(text):
    written = escape(text)
    assert not re.search(r"[@#]\\?\w", written)
    assert plain(rendered(f"x{written}x")).split() == f"x{text}x".split()


@pytest.mark.parametrize("text", ["see https://github.com/o/r/issues/1", "www.evil.example", "GH-1"])
def test_bare_addresses_do_not_link(text):
    assert "\N{WORD JOINER}" in escape(text)


@given(st.text(st.sampled_from("ab`|\\ *<"), max_size=20))
@example("`")
@example("``a`")
@example("a\\")
@example("|")
def test_code_comes_out_as_it_went_in(text):
    document = Document("t")
    document.table(("A",), [(Code(text),), ("end",)])
    html = rendered(to_markdown(document))
    assert html.count("<td>") == 2
    cell = html.partition("<td>")[2].partition("</td>")[0]
    assert cell.startswith("<code>")
    assert plain(cell).strip(" ") == text.strip(" ")


def test_code_in_a_paragraph_comes_out_as_it_went_in():
    document = Document("t")
    document.paragraph(Code("a|b"))
    assert "<p><code>a|b</code></p>" in rendered(to_markdown(document))


@pytest.mark.parametrize(
    ("text", "written"),
    [("plain", "`plain`"), ("a`b", "``a`b``"), ("`a`", "`` `a` ``"), ("", "`  `"), ("a\nb", "`a b`")],
)
def test_code_is_fenced_by_more_backticks_than_it_holds(text, written):
    assert code(text) == written


def test_a_command_cannot_end_its_block():
    document = Document("t")
    document.commands("```", "# not a heading")
    assert "<h1>not a heading</h1>" not in rendered(to_markdown(document))


def test_numbers_stand_right_and_empty_tables_are_left_out():
    document = Document("t")
    document.table(("A", "B"), [("x", "1")], numeric=(1,))
    document.table(("A", "B"), [])
    document.bullets([])
    assert to_markdown(document) == "# t\n\n| A | B |\n| --- | ---: |\n| x | 1 |\n"


@pytest.mark.parametrize("number", [1, 200, 3000])
@pytest.mark.parametrize("length", [1, 300, 30_000])
def test_a_summary_is_short_enough_for_github_and_begins_with_the_verdict(number, length):
    """What is longer than 1 MiB is not shown at all."""
    text = "`|<x&" * length
    findings = tuple(
        Finding(kind, "fail", f"t.py::test_{n}{text}", text, rule=text, remedy=text, reproduce=f"gate {text}")
        for kind in ("new-failure", "limit", "regression")
        for n in range(number)
    )
    verdict = msgspec.structs.replace(all_kinds()[1], findings=findings)
    written = summary(verdict)
    assert written.startswith(f"# failed: {number:,} new failure")
    assert len(written.encode()) < 2**20
    assert len(written.splitlines()) > 10
