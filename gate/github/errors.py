"""What can go wrong with GitHub. Every message says what to do, none holds the token."""


class GitHubError(Exception):
    """GitHub refused or could not be reached."""


class ForbiddenError(GitHubError):
    """The token may not do it."""


class NotFoundError(GitHubError):
    """There is no such thing, or the token may not see it."""


class UncertainError(GitHubError):
    """Nobody knows whether something was created: look it up before you repeat it."""


class AgainError(Exception):
    """Trying again does no harm: a read, a repeatable write, or a write that certainly was not done."""

    def __init__(self, cause: GitHubError, wait: float | None = None) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.wait = wait
        """Seconds that GitHub asks for."""
