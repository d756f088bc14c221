"""`python -m tests.gate.github.gallery`: typical comments as GitHub shows them, to be looked at.

Renders the golden comments with GitHub's style sheet in Chromium, light and dark, to docs/comments.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

GOLDEN: Final = Path("tests/gate/golden")
TARGET: Final = Path("docs/comments")
_CSS: Final = "github-markdown-css@5"
_PAGE: Final = """<!doctype html><meta charset="utf-8"><style>{css}
body {{ margin: 0; padding: 24px; background: {ground}; }}
.markdown-body {{ max-width: 860px; border: 1px solid {line}; border-radius: 6px; padding: 16px;
  font-size: 14px; }}
</style><article class="markdown-body">{text}</article>"""
_COLOURS: Final = {"light": ("#ffffff", "#d1d9e0"), "dark": ("#0d1117", "#3d444d")}
_ALERT: Final = re.compile(r"<blockquote>\s*<p>\[!(\w+)\]\s*")


def main() -> int:
    """Write two pictures per comment."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        print("Chromium is needed: apt-get install chromium", file=sys.stderr)
        return 2
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        styles = _styles(Path(name))
        for file in sorted(GOLDEN.glob("comment.*.md")):
            for theme, (ground, line) in _COLOURS.items():
                page, picture = Path(name) / "page.html", TARGET / f"{file.stem[8:]}.{theme}.png"
                text = _rendered(file.read_text())
                page.write_text(_PAGE.format(css=styles[theme], ground=ground, line=line, text=text))
                _photograph(
                    chromium, page, picture, height=220 + 34 * text.count("<tr>") + 30 * text.count("<p>")
                )
                print(picture)
    return 0


def _styles(directory: Path) -> dict[str, str]:
    done = subprocess.run(
        ["npm", "pack", "--silent", _CSS],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    with tarfile.open(directory / done.stdout.strip().splitlines()[-1]) as archive:
        return {theme: _member(archive, f"package/github-markdown-{theme}.css") for theme in _COLOURS}


def _member(archive: tarfile.TarFile, name: str) -> str:
    file = archive.extractfile(name)
    assert file is not None
    return file.read().decode()


def _rendered(text: str) -> str:
    """GitHub's flavour: tables, and alerts in quotes. What is folded is shown unfolded."""
    html = MarkdownIt("commonmark", {"html": True}).enable(["table"]).render(text)
    html = _ALERT.sub(
        lambda m: (
            f'<div class="markdown-alert markdown-alert-{m[1].lower()}"><p class="markdown-alert-title">'
            f"{m[1].title()}</p><p>"
        ),
        html,
    )
    return html.replace("</blockquote>", "</div>").replace("<details>", "<details open>")


def _photograph(chromium: str, page: Path, picture: Path, height: int) -> None:
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    ]
    size, target = f"--window-size=960,{height}", f"--screenshot={picture}"
    command = [chromium, *flags, "--hide-scrollbars", size, target, str(page)]
    subprocess.run(command, capture_output=True, timeout=60, check=True)


if __name__ == "__main__":
    sys.exit(main())
