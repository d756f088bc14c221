"""What the environment of a suite is. Its own pytest says so: only that knows what wrappers make of it."""

import json
import re
import sys
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+?)(?:-py[\d.]+)?\.(?:dist-info|egg-info|egg)")


def write_probe(path: Path) -> None:
    """Write interpreter, import paths and installed distributions as JSON, the file at once or not at all."""
    document = {
        "executable": sys.executable,
        "prefix": sys.prefix,
        "version": sys.version.split()[0],
        "implementation": sys.implementation.cache_tag or sys.implementation.name,
        "path": [entry for entry in sys.path if entry],
        "distributions": [found for entry in sys.path for found in distributions_in(Path(entry or "."))],
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document), encoding="utf-8")
    part.replace(path)


def distributions_in(directory: Path) -> list[dict[str, str]]:
    """What is installed in a directory, as the names of its metadata tell: fields of distributions."""
    found: list[dict[str, str]] = []
    try:
        entries = sorted(directory.iterdir())
    except OSError:
        return []
    for entry in entries:
        if entry.suffix not in {".dist-info", ".egg-info", ".egg"}:
            continue
        match = _NAME.fullmatch(entry.name)
        name, version = (match["name"], match["version"]) if match else (entry.stem, "")
        source = entry / "direct_url.json"
        try:
            url = source.read_text(encoding="utf-8")
        except OSError:
            url = ""
        found.append({"name": name, "version": version, "place": str(entry), "source": url})
    return found
