"""A gate's name where GitHub or a marker takes no text as it is."""

from urllib.parse import quote


def encoded(gate: str) -> str:
    """The name as in a URL: one-to-one, and without what a comment's marker or an artifact cannot hold."""
    return quote(gate, safe="", errors="surrogatepass")


def artifact_of(gate: str) -> str:
    """The artifact in which a gate leaves its verdict; `action.yml` says the same."""
    return f"regression-{encoded(gate)}"
