"""The pull request that brings accepted runs to a branch that takes no push."""

from gate.github.client import GitHub
from gate.github.errors import UncertainError
from gate.github.nouns import Pull


def open_pull(github: GitHub, head: str, base: str, title: str, body: str) -> int:
    """Open a pull request between two branches of the repository, if none is open.

    Args:
        github: the connection.
        head: the branch that holds the commits.
        base: the branch they shall go to.
        title: one line.
        body: Markdown.

    Returns:
        Its number.

    Raises:
        GitHubError: GitHub refused, or could not be reached in time.
    """
    known = _opened(github, head, base)
    if known:
        return known
    try:
        asked = {"title": title, "head": head, "base": base, "body": body}
        return github.create("/pulls", asked, Pull).number
    except UncertainError:
        known = _opened(github, head, base)
        if known:
            return known
        raise


def _opened(github: GitHub, head: str, base: str) -> int:
    owner = github.context.repository.partition("/")[0]
    found = github.pages("/pulls", Pull, state="open", head=f"{owner}:{head}", base=base)
    return next((pull.number for pull in found if pull.head.ref == head), 0)
