"""The pull request that brings accepted runs to a branch that takes no push."""

from gate.github.client import GitHub
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

    def opened() -> Pull | None:
        owner = github.context.repository.partition("/")[0]
        found = github.pages("/pulls", Pull, state="open", head=f"{owner}:{head}", base=base)
        return next((pull for pull in found if pull.head.ref == head), None)

    asked = {"title": title, "head": head, "base": base, "body": body}
    return (opened() or github.create_once("/pulls", asked, Pull, opened)).number
