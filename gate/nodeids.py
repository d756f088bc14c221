"""The parts of a test's name: `file::Class::function[parameters]`. A file's path may hold brackets, too."""


def file_of(nodeid: str) -> str:
    """The file of a test, relative to the directory that pytest was run in."""
    return nodeid.partition("::")[0]


def function_of(nodeid: str) -> str:
    """A nodeid without parameters."""
    file, colons, place = nodeid.partition("::")
    return f"{file}{colons}{place.partition('[')[0]}"


def above(nodeid: str) -> list[str]:
    """The file of a test, and its classes, as nodeids."""
    parts = function_of(nodeid).split("::")
    return ["::".join(parts[:length]) for length in range(1, len(parts))]
