"""Which distributions the base would have had: every kind of file, and when nothing would be different."""

import json
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from gate.sides.dependencies import Dependencies, edited_dependencies
from gate.sides.manifests import (
    is_lock,
    is_manifest,
    is_opaque,
    poetry_specifier,
    project_names,
    requirements_in,
)

INSTALLED = {"depx": "2.0", "other": "1.5", "tool": "3.0"}


def edited(before: dict[str, str], after: dict[str, str], **kwargs: object) -> Dependencies:
    return edited_dependencies(
        {name: text.encode() for name, text in before.items()},
        {name: text.encode() for name, text in after.items()},
        kwargs.pop("installed", INSTALLED),  # type: ignore[arg-type]
        **kwargs,  # type: ignore[arg-type]
    )


def wanted(before: dict[str, str], after: dict[str, str], **kwargs: object) -> list[str]:
    return [one.requirement for one in edited(before, after, **kwargs).wanted]


def uv(version: str) -> str:
    return (
        f'version = 1\n[[package]]\nname = "depx"\nversion = "{version}"\n'
        'source = { registry = "https://example.org/simple" }\n'
        '[[package]]\nname = "shop"\nversion = "0.1"\nsource = { editable = "." }\n'
    )


FILES: dict[str, Callable[[str], str]] = {
    "requirements.txt": lambda v: f"# what we need\ndepx=={v} \\\n    --hash=sha256:abc{v[0]}\nother\n",
    "requirements/base.txt": lambda v: f"-r more.txt\ndepx[fast]=={v} ; python_version >= '3.8'  # why\n",
    "requirements-dev.txt": lambda v: f"depx=={v}\n",
    "deploy/constraints.txt": lambda v: f"depx=={v}\n",
    "uv.lock": uv,
    "poetry.lock": lambda v: f'[[package]]\nname = "Depx"\nversion = "{v}"\n',
    "pdm.lock": lambda v: f'[[package]]\nname = "depx"\nversion = "{v}"\n',
    "Pipfile.lock": lambda v: json.dumps(
        {"_meta": {"hash": {}}, "default": {"depx": {"version": f"=={v}"}}, "develop": {}}
    ),
    "pylock.toml": lambda v: f'lock-version = "1.0"\n[[packages]]\nname = "depx"\nversion = "{v}"\n',
    "pylock.dev.toml": lambda v: f'lock-version = "1.0"\n[[packages]]\nname = "depx"\nversion = "{v}"\n',
    "pyproject.toml": lambda v: f'[project]\nname = "shop"\ndependencies = ["depx=={v}", "other"]\n',
    "api/pyproject.toml": lambda v: f'[dependency-groups]\ndev = ["depx=={v}", {{include-group = "x"}}]\n',
    "setup.cfg": lambda v: (
        f"[metadata]\nname = shop\n[options]\ninstall_requires =\n    depx=={v}\n    other\n"
    ),
    "setup.py": lambda v: (
        f"from setuptools import setup\nsetup(name='shop', install_requires=['depx=={v}'])\n"
    ),
    "Pipfile": lambda v: f'[packages]\ndepx = "=={v}"\n',
}
"""A file of every kind that pins depx."""


@pytest.mark.parametrize("file", FILES)
def test_every_kind_of_file_says_which_version_the_base_had(file: str) -> None:
    text = FILES[file]
    found = edited({file: text("1.0")}, {file: text("2.0")})
    assert [(one.name, one.file) for one in found.wanted] == [("depx", file)]
    assert Requirement(found.wanted[0].requirement).specifier == SpecifierSet("==1.0")
    assert not found.unread


@pytest.mark.parametrize("file", FILES)
def test_the_same_versions_are_no_difference(file: str) -> None:
    text = FILES[file]("2.0")
    assert edited({file: text}, {file: text + "\n"}) == Dependencies()


@pytest.mark.parametrize("extra", ["extras", "groups", "poetry", "hatch", "uv", "pdm"])
def test_every_place_of_pyproject(extra: str) -> None:
    places = {
        "extras": '[project.optional-dependencies]\nfast = ["depx{}"]',
        "groups": '[dependency-groups]\ntest = ["depx{}"]',
        "poetry": '[tool.poetry.dependencies]\npython = "^3.11"\ndepx = "{}"',
        "hatch": '[tool.hatch.envs.test]\ndependencies = ["depx{}"]',
        "uv": '[tool.uv]\ndev-dependencies = ["depx{}"]',
        "pdm": '[tool.pdm.dev-dependencies]\ntest = ["depx{}"]',
    }
    text = places[extra]
    assert wanted({"pyproject.toml": text.format("<2")}, {"pyproject.toml": text.format(">=2")}) == ["depx<2"]


def test_what_the_base_allows_is_not_replaced() -> None:
    assert not wanted({"requirements.txt": "depx>=1"}, {"requirements.txt": "depx>=2"})
    assert not wanted({"requirements.txt": "depx"}, {"requirements.txt": "depx>=2"})


def test_a_head_that_keeps_newer_versions_away_asks_what_the_base_would_have() -> None:
    assert wanted({"requirements.txt": "depx"}, {"requirements.txt": "depx==2.0"}) == ["depx"]
    assert wanted({"requirements.txt": "depx>=1,<4"}, {"requirements.txt": "depx>=1,<3"}) == ["depx<4,>=1"]


def test_a_lock_file_counts_for_more_than_a_requirement() -> None:
    pyproject = '[project]\nname = "shop"\ndependencies = ["depx{}"]\n'
    assert wanted(
        {"pyproject.toml": pyproject.format("<2"), "uv.lock": uv("1.2")},
        {"pyproject.toml": pyproject.format(">=2"), "uv.lock": uv("2.0")},
    ) == ["depx==1.2"]
    assert not wanted(
        {"pyproject.toml": pyproject.format("<2"), "uv.lock": uv("2.0")},
        {"pyproject.toml": pyproject.format(">=2"), "uv.lock": uv("2.0")},
    )


def test_all_versions_of_the_lock_file_constrain_what_is_installed() -> None:
    text = '[[package]]\nname = "depx"\nversion = "{}"\n[[package]]\nname = "deep"\nversion = "0.3"\n'
    found = edited({"poetry.lock": text.format("1.0")}, {"poetry.lock": text.format("2.0")})
    assert found.constraints == ("deep==0.3", "depx==1.0")


def test_what_was_removed_is_there_again() -> None:
    assert wanted({"requirements.txt": "gone==0.9\nother"}, {"requirements.txt": "other"}) == ["gone==0.9"]
    lock = '[[package]]\nname = "gone"\nversion = "0.9"\n'
    pyproject = '[tool.poetry.dependencies]\ngone = "^0.9"\n'
    found = edited(
        {"poetry.lock": lock, "pyproject.toml": pyproject},
        {"poetry.lock": "", "pyproject.toml": '[tool.poetry.dependencies]\npython = "*"\n'},
    )
    assert [one.requirement for one in found.wanted] == ["gone<0.10,>=0.9"]
    assert found.constraints == ("gone==0.9",)


def test_what_only_the_head_asks_for_is_named() -> None:
    found = edited({"requirements.txt": "other"}, {"requirements.txt": "other\ndepx==2.0"})
    assert (dict(found.added), found.wanted) == ({"depx": "requirements.txt"}, ())


def test_a_file_of_another_environment_decides_nothing() -> None:
    assert not wanted({"b/requirements.txt": "depx==4.0"}, {"b/requirements.txt": "depx==5.0"})
    assert not wanted({"requirements.txt": "missing==1"}, {"requirements.txt": "missing==2"})


def test_markers_of_the_suite_s_interpreter() -> None:
    before = {"requirements.txt": "depx==1.0; python_version < '3.9'\ndepx==1.5; python_version >= '3.9'"}
    after = {"requirements.txt": "depx==2.0"}
    assert wanted(before, after, python="3.8.1") == ["depx==1.0"]
    assert wanted(before, after, python="3.12.0") == ["depx==1.5"]


def test_repositories_and_addresses() -> None:
    text = "depx @ git+https://example.org/depx@{}"
    assert wanted({"requirements.txt": text.format("aaa")}, {"requirements.txt": text.format("bbb")}) == [
        "depx @ git+https://example.org/depx@aaa"
    ]
    egg = "-e git+https://example.org/depx@{}#egg=depx"
    assert wanted({"requirements.txt": egg.format("aaa")}, {"requirements.txt": egg.format("bbb")}) == [
        "depx @ git+https://example.org/depx@aaa"
    ]
    source = 'source = {{ git = "https://example.org/depx?rev=main#{}" }}\n'
    lock = f'[[package]]\nname = "depx"\nversion = "2.0"\n{source}'
    assert wanted({"uv.lock": lock.format("aaa")}, {"uv.lock": lock.format("bbb")}) == [
        "depx @ git+https://example.org/depx@aaa"
    ]


def test_the_repository_s_own_projects_are_no_dependencies() -> None:
    text = '[[package]]\nname = "shop"\nversion = "{}"\n'
    assert not wanted(
        {"poetry.lock": text.format("1")},
        {"poetry.lock": text.format("2")},
        own=("shop",),
        installed={"shop": "2"},
    )


def test_what_cannot_be_read_is_said() -> None:
    found = edited(
        {"uv.lock": "[[package]", "environment.yml": "a", "same.lock": "", "conda-lock.yml": "x"},
        {"uv.lock": uv("2.0"), "environment.yml": "b", "same.lock": "", "conda-lock.yml": "x"},
    )
    assert sorted(found.unread) == ["environment.yml", "uv.lock"]
    assert not edited({"uv.lock": "[[package]"}, {"uv.lock": "[[package]"}).unread


@pytest.mark.parametrize(
    ("text", "specifier"),
    [
        ("^1.2.3", ">=1.2.3,<2"), ("^0.2.3", ">=0.2.3,<0.3"), ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0.0", ">=0.0,<0.1"), ("^1", ">=1,<2"), ("~1.2.3", ">=1.2.3,<1.3"), ("~1.2", ">=1.2,<1.3"),
        ("~1", ">=1,<2"), ("*", ""),
        ("1.2.*", "==1.2.*"), (">=1,<2", ">=1,<2"), ("~=1.4", "~=1.4"), ("^1.2,!=1.3", ">=1.2,<2,!=1.3"),
    ],
)  # fmt: skip
def test_poetry_s_own_specifiers(text: str, specifier: str) -> None:
    assert SpecifierSet(poetry_specifier(text)) == SpecifierSet(specifier)


def test_names_of_projects() -> None:
    assert project_names("pyproject.toml", b'[project]\nname = "My.Shop"') == ["my-shop"]
    assert project_names("a/pyproject.toml", b'[tool.poetry]\nname = "my_shop"') == ["my-shop"]
    assert project_names("setup.cfg", b"[metadata]\nname = shop") == ["shop"]
    assert project_names("setup.py", b"import setuptools\nsetuptools.setup(name='shop', **more)") == ["shop"]
    assert project_names("pyproject.toml", b"[tool.ruff]\n") == []
    assert project_names("setup.py", b"def (") == []


def test_names_of_files() -> None:
    assert all(is_manifest(name) for name in FILES)
    assert not any(
        is_manifest(name) for name in ("README.md", "src/shop/lock.py", "data.toml", "docs/requirements.md")
    )
    assert is_lock("a/uv.lock")
    assert not is_lock("pyproject.toml")
    assert is_opaque("envs/environment-dev.yml")
    assert not is_opaque("environment.py")


NAMES = st.sampled_from(["depx", "other", "new"])
VERSIONS = st.sampled_from(["1.0", "2.0", "3.0"])
LISTS = st.dictionaries(NAMES, VERSIONS)


@given(LISTS, LISTS)
def test_applied_to_the_head_s_environment_the_base_s_file_holds(
    before: dict[str, str], after: dict[str, str]
) -> None:
    """The law: what is installed at the head, with what is wanted in its place, is what the base pins."""

    def text(pins: dict[str, str]) -> dict[str, str]:
        return {"requirements.txt": "\n".join(f"{name}=={version}" for name, version in pins.items())}

    found = edited(text(before), text(after), installed=after)
    there = {**after, **{one.name: one.requirement.partition("==")[2] for one in found.wanted}}
    assert before == {name: version for name, version in there.items() if name not in found.added}


@given(st.binary(max_size=60), st.sampled_from(sorted(FILES)))
def test_no_contents_break_it(text: bytes, file: str) -> None:
    with suppress(ValueError):
        requirements_in(file, text)
