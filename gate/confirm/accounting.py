"""What a look at both sides says of each difference: seen, inert or unaccounted."""

import filecmp
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from gate.accounts import Account, Difference, Reached
from gate.confirm.observe import Look
from gate.nodeids import file_of
from gate.sides.environments import INSTALL, Equipped, Replaced
from gate.sides.footprints import Footprint, Peer
from gate.sides.installed import PACKAGES, belongs_to_a_distribution, installed_in, prefix_of
from gate.sides.manifests import is_lock, is_manifest, runs_commands
from gate.sides.peers import is_local, is_store

_ELSEWHERE: Final = frozenset(
    {
        "aws", "az", "docker", "docker-compose", "gcloud", "helm", "kubectl", "minikube", "nerdctl",
        "podman", "podman-compose", "skaffold", "ssh", "systemctl",
    }
)  # fmt: skip
"""Programs that let something run where no side is."""
PROSE: Final = re.compile(
    r"(?:.*/)?(?:\.github/.*\.(?:ya?ml|md)|\.circleci/.*|\.gitlab-ci\.yml|mkdocs\.ya?ml"
    r"|docs?/.*\.(?:txt|css|html)|\.git[a-z]+|\.editorconfig|\.pre-commit-config\.ya?ml"
    r"|\.?ruff\.toml|mypy\.ini|\.flake8|\.pylintrc|\.coveragerc|codecov\.ya?ml|renovate\.json|\.?mise\.toml"
    r"|(?:LICEN[CS]E|COPYING|NOTICE|AUTHORS|CODEOWNERS|README|CHANGELOG|CHANGES|CONTRIBUTING|SECURITY)[^/]*"
    r"|[^/]*\.(?:md|rst|adoc|pot?|png|jpg|svg)|thresholds\.yaml|[^/]*-py\d[^/]*/[^/]*\.jsonl)"
)
"""What hardly any suite opens: it orders the work, and excuses nothing."""
_TESTS: Final = re.compile(r"(?:.*/)?(?:test_[^/]*\.py|[^/]*_test\.py|conftest\.py)")
"""What no service beside the tests runs."""
_FOR_DEVELOPERS: Final = re.compile(
    r"(?:.*[-_./])?(?:dev|develop|development|docs?|lint|tests?|typing)[-_.][^/]*"
)
"""Lists of what no service needs."""
_SCHEMA: Final = re.compile(r"(?:.*/)?(?:migrations?|alembic|versions|seeds?)/.*|.*\.sql|(?:.*/)?seed[^/]*")
"""What a database may have been made from before the suites began."""
_MADE_BY_TESTS: Final = re.compile(
    r"/(?:\.?cache|\.gate|\.hypothesis|\.coverage[^/]*|\.[a-z]+_cache|__pycache__|__editable__[^/]*|logs?|tmp|\.git"
    r"|\.?venv|node_modules|\.tox|\.nox|[^/]*\.egg-info)(?:/|$)|\.(?:log|pyc|tmp|lock)$|/site-packages/"
)
"""What is written by the way, and makes no difference that anybody meant."""
_MOST_IGNORED: Final = 5
PREPARE: Final = "create it for the base with prepare: of the suite in thresholds.yaml"
_OWN: Final = (
    "let the gate start one on each side: add services: {{{}}} to thresholds.yaml "
    "and needs: [{}] to the suite{}; or, "
)
_SHARED: Final = "if it never runs code of this repository, add {} to shared: in thresholds.yaml"


_Reaches = list[tuple[Footprint, int]]
"""Footprint of a side, place in its order of tests."""


@dataclass(frozen=True)
class Scene:
    """All that an account is made from."""

    look: Look
    equipped: Equipped
    names: Sequence[str]
    """The files that differ, relative to the trees."""
    same_code: Callable[[str], bool]
    """Whether a file differs in comments, layout and docstrings alone."""
    shared: Sequence[str] = ()
    """Addresses that the policy calls shared."""
    ignored: Sequence[str] = ()
    """Files of the work tree that git ignores, so that the other tree lacks them."""
    images: Sequence[str] = ()
    """Images of containers that the change edits."""
    written_since: Callable[[str], bool] = lambda _: False
    """Whether a file was written after the change was made or checked out, and before the look."""

    @cached_property
    def loose(self) -> list[str]:
        """What a service could run: changed code, and distributions that differ."""
        files = [
            name
            for name in self.names
            if not (
                PROSE.fullmatch(name)
                or _TESTS.fullmatch(name)
                or (is_manifest(name) and not runs_commands(name))
                or is_lock(name)
                or self.same_code(name)
            )
        ]
        others = (one for one in self.equipped.replaced if not one.project)  # its own files tell of a project
        return files + [one.what for one in others if not _FOR_DEVELOPERS.fullmatch(one.file)]

    def made_by_a_step(self, path: str) -> bool:
        """Whether a file outside was made for this change, by neither an installer nor a side."""
        return (
            path.startswith("/")
            and not self.is_own(path)
            and self.written_since(path)
            and not belongs_to_a_distribution(path, self.equipped.prefix)
        )

    def is_own(self, path: str) -> bool:
        """Whether a path leads into a directory of a side's own."""
        return any(Path(path).is_relative_to(place) for side in self.equipped.sides for place in side.places)

    def run_by(self, peer: Peer) -> list[str]:
        """The same, with all that the command of a service names."""
        words = {word.rpartition("/")[2] for word in peer.command.split()}
        named = [name for name in self.names if name.rpartition("/")[2] in words and not self.same_code(name)]
        return list(dict.fromkeys((*named, *self.loose)))


@dataclass
class _Found:
    """One difference, and from which test on it counts."""

    difference: Difference
    reaches: _Reaches = field(default_factory=list[tuple[Footprint, int]])

    def counts_for(self, test: str) -> bool:
        return any(since <= footprint.tests.get(test, 0) for footprint, since in self.reaches)


def account(scene: Scene, tests: Iterable[str]) -> Account:
    """Say of each difference whether each side used its own, for some tests.

    Args:
        scene: what differs, and what a look has shown.
        tests: nodeids.
    """
    found = [
        *_of_files(scene),
        *_of_ignored_files(scene),
        *_of_distributions(scene),
        *_of_environment(scene),
        *_of_peers(scene),
        *_of_programs(scene),
        *_of_other_environments(scene),
        *_of_files_outside(scene),
        *_of_silence(scene),
    ]
    places = {place for place, one in enumerate(found) if one.difference.state == "unaccounted"}
    unseen = bool(scene.loose) and (not scene.look.watched or any(side.hidden for side in scene.look.sides))
    reached: dict[str, Reached] = {}
    for test in tests:
        mine = {place for place, one in enumerate(found) if one.counts_for(test)}
        ran = all(
            test in side.footprint.tests and test not in side.failed and not side.problem
            for side in scene.look.sides
        )
        shared = () if _is_new(scene, test) else tuple(sorted(mine & places))
        reached[test] = Reached(bool(mine) or unseen or not ran, shared, tuple(sorted(mine - places)))
    return Account(tuple(one.difference for one in found), reached)


def _is_new(scene: Scene, test: str) -> bool:
    """Whether the base lacks a test: then there is nothing that it could clear."""
    if scene.look.base.empty:
        return True
    base, head = (side.root / file_of(test) for side in scene.equipped.sides)
    return head.is_file() and not base.exists()


def _always(scene: Scene) -> _Reaches:
    return [(side.footprint, 0) for side in scene.look.sides]


def _own(scene: Scene, name: str) -> _Reaches:
    """Which sides open a file in their own tree, and from which test on."""
    return [
        (observed.footprint, observed.footprint.files[path])
        for side, observed in zip(scene.equipped.sides, scene.look.sides, strict=True)
        if (path := str(side.tree / name)) in observed.footprint.files
    ]


def _of_files(scene: Scene) -> Iterator[_Found]:
    """Changed files: each side must open its own, and only that."""
    base = scene.look.base.footprint
    before, after = (side.tree for side in scene.equipped.sides)
    for name in scene.names:
        own = _own(scene, name)
        foreign = str(after / name)
        if foreign in scene.look.foreign or (before != after and foreign in base.files):
            since = 0 if foreign in scene.look.foreign else base.files[foreign]
            who = "a program that the tests start" if foreign in scene.look.foreign else "the base"
            difference = Difference(
                "file", _printable(name), "unaccounted", f"{who} opens the head's file on the base as well",
                "name it by a path relative to the directory of the suite",
            )  # fmt: skip
            yield _Found(difference, [(base, since), *own])
        else:
            yield _Found(Difference("file", _printable(name), "seen" if own else "inert"), own)


def _printable(name: str) -> str:
    """A file's name as text, whatever its encoding."""
    return os.fsencode(name).decode(errors="replace")


def _of_ignored_files(scene: Scene) -> Iterator[_Found]:
    """Files that git ignores: the head opens them, and the base has none."""
    head = scene.look.head.footprint
    before, after = (side.tree for side in scene.equipped.sides)
    opened = [
        name
        for name in scene.ignored
        if str(after / name) in head.files
        and not (before / name).exists()
        and not _MADE_BY_TESTS.search(f"/{name}")
    ]
    yield from _of_built_files(scene)
    stopped = _relative(scene.look.base.stopped, before)
    for name in opened[:_MOST_IGNORED]:
        since = head.files[str(after / name)]
        why = "git ignores this file, so the base does not have it" + (
            f" and stopped: {stopped}" if stopped else ""
        )
        yield _Found(Difference("file", _printable(name), "unaccounted", why, PREPARE), [(head, since)])
    if stopped and not opened:
        why = f"the base did not finish its tests: {stopped}"
        remedy = f"if a file is missing that git ignores, {PREPARE}"
        yield _Found(Difference("process", "base", "unaccounted", why, remedy), _always(scene))


def _of_built_files(scene: Scene) -> Iterator[_Found]:
    """Files that git ignores and both sides have, made from sources of their own."""
    for name in scene.ignored:
        files = [side.tree / name for side in scene.equipped.sides]
        reaches = _own(scene, name)
        if not reaches or _MADE_BY_TESTS.search(f"/{name}") or not all(file.is_file() for file in files):
            continue
        if not filecmp.cmp(*files, shallow=False):
            yield _Found(Difference("file", name, "seen"), reaches)


def _relative(text: str, tree: Path) -> str:
    return text.replace(f"{tree}/", "")


def _of_distributions(scene: Scene) -> Iterator[_Found]:
    """Distributions that are not the same: both sides must not load one file of them."""
    sides = [side.footprint for side in scene.look.sides]
    for one in scene.equipped.replaced:
        files = [{path for path in footprint.files if _holds(one, path)} for footprint in sides]
        reaches = [
            (footprint, footprint.files[path])
            for footprint, paths in zip(sides, files, strict=True)
            for path in paths
        ]
        both = files[0] & files[1]
        foreign = [path for path in scene.look.foreign if _holds(one, path)]
        hidden = "" if scene.look.watched else scene.look.base.hidden
        kind = "project" if one.project else "distribution"
        if foreign or hidden:
            who = "a program that the tests start"
            why = f"{who} ({hidden}) does not report which files it opens"
            if foreign:
                why = f"{who} opens the head's {min(foreign)} on the base as well"
            yield _Found(Difference(kind, one.what, "unaccounted", why, INSTALL), _always(scene))
        elif not reaches:
            yield _Found(Difference(kind, one.what, "inert"))
        elif one.shared or both:
            why = one.shared or f"both sides load {min(both)}"
            yield _Found(Difference(kind, one.what, "unaccounted", why, INSTALL), reaches)
        else:
            yield _Found(Difference(kind, one.what, "seen"), reaches)


def _holds(one: Replaced, path: str) -> bool:
    """Whether a file is code or data of a distribution. Pytest reads the metadata of everything installed."""
    inside = path.rpartition(PACKAGES)[2] if PACKAGES in path else _below(one.roots, path)
    first = inside.partition("/")[0]
    return not first.endswith((".dist-info", ".egg-info")) and bool({inside, first} & one.places)


def _below(roots: Iterable[str], path: str) -> str:
    """The path relative to the directory that it lies in; empty: in none of them."""
    return next((path[len(root) + 1 :] for root in roots if path.startswith(f"{root}/")), "")


def _of_environment(scene: Scene) -> Iterator[_Found]:
    for difference in scene.equipped.differences:
        yield _Found(difference, _always(scene))


def _of_peers(scene: Scene) -> Iterator[_Found]:
    """Services that neither side started: they run one version of the code, for both."""
    peers: dict[tuple[str, str], _Reaches] = {}
    by_address: dict[tuple[str, str], Peer] = {}
    for side, name in zip(scene.look.sides, ("base", "head"), strict=True):
        for peer, since in side.footprint.peers.items():
            before = peer.port in scene.look.listening and not peer.side
            here = peer.listening and (before or peer.side not in {"", name}) and _is_local(peer)
            beside = _is_beside(peer)
            if here or beside:
                peers.setdefault((peer.host, peer.port), []).append((side.footprint, since))
                # Beside this machine the process is one that has the same port here.
                found = replace(peer, pid="", side="", command="") if beside else peer
                by_address[peer.host, peer.port] = found
    made_from = [name for name in scene.names if _SCHEMA.fullmatch(name) and not _own(scene, name)]
    for key, reaches in peers.items():
        peer = by_address[key]
        if _declared(peer, scene.shared):
            continue
        if is_store(peer):
            if scene.images or made_from:
                edits = f"the change edits {_some((*scene.images, *made_from))}"
                why = f"both sides use this database or cache; it was set up before the tests, and {edits}"
                remedy = _SHARED.format(peer.address)
                yield _Found(Difference("service", peer.address, "unaccounted", why, remedy), reaches)
            elif (worker := scene.look.workers.get(peer.port)) and scene.loose:
                edits = f"the change edits {_some(scene.loose)}"
                why = f"a process that the tests did not start uses it ({_short(worker)}), and {edits}"
                remedy = f"{_entry(Peer('', '', command=worker), scene)}{_SHARED.format(peer.address)}"
                yield _Found(Difference("service", peer.address, "unaccounted", why, remedy), reaches)
        elif loose := scene.run_by(peer):
            who = f"this service ({_short(peer.command)})" if peer.command else "this service"
            edits = f"the change edits {_some(loose)}"
            why = f"both sides talk to {who}, which the tests did not start, and {edits}"
            remedy = f"{_entry(peer, scene)}{_SHARED.format(peer.address)}"
            yield _Found(Difference("service", peer.address, "unaccounted", why, remedy), reaches)


def _entry(peer: Peer, scene: Scene) -> str:
    """How the policy declares a service that was found running; without a port it is a worker."""
    name, command, fixed = ("api" if peer.port else "worker"), peer.command or "COMMAND", ""
    entry = {"run": command}
    if peer.port:
        entry["run"] = re.sub(rf"(?<!\d){re.escape(peer.port)}(?!\d)", "$GATE_PORT", command)
        fixed = "" if "$GATE_PORT" in entry["run"] else ", and let both use $GATE_PORT"
    else:
        entry["ready"] = "A TEXT THAT IT PRINTS"
    place = Path(peer.directory)
    root = scene.equipped.sides[1].root
    if peer.directory and place != root and place.is_relative_to(root):
        entry["cwd"] = str(place.relative_to(root))
    shown = ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items())
    return _OWN.format(f"{name}: {{{shown}}}", name, fixed)


def _is_local(peer: Peer) -> bool:
    """Beyond this machine it is shared; a socket of another user's is the system's."""
    return bool(peer.pid) if peer.host == "unix" else is_local(peer.host)


def _is_beside(peer: Peer) -> bool:
    """In a network of containers, a service beside that of the tests may be built from the change as well."""
    try:
        address = ip_address(peer.host.partition("%")[0])
    except ValueError:
        return False
    return address.is_private and not is_local(peer.host)


def _declared(peer: Peer, shared: Sequence[str]) -> bool:
    return any(peer.address == one or peer.port == one.removeprefix(":") for one in _spelled(shared))


def _spelled(shared: Sequence[str]) -> Iterator[str]:
    """A name of this machine is its address."""
    for one in shared:
        yield one
        yield one.replace("localhost:", "127.0.0.1:")
        yield one.replace("localhost:", "::1:")


def _short(command: str) -> str:
    return command if len(command) < 60 else f"{command[:57]}..."


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(names[:2]) + more


def _of_programs(scene: Scene) -> Iterator[_Found]:
    """Programs that let something run elsewhere."""
    loose = scene.loose
    programs: dict[str, _Reaches] = {}
    for side in scene.look.sides if loose else ():
        for program in side.opaque:
            elsewhere = Path(program).name in _ELSEWHERE or scene.made_by_a_step(shutil.which(program) or "")
            if elsewhere and Path(program).name not in scene.shared:
                reaches = programs.setdefault(Path(program).name, [])
                reaches.append((side.footprint, side.footprint.children[program]))
    for program, reaches in programs.items():
        edits = f"the change edits {_some(loose)}"
        why = f"the tests start this program, what it runs may be the same for both sides, and {edits}"
        remedy = _SHARED.format(program)
        yield _Found(Difference("process", program, "unaccounted", why, remedy), reaches)


def _of_other_environments(scene: Scene) -> Iterator[_Found]:
    """Programs of environments that hold the project as well: both sides start the same ones."""
    found: dict[str, _Reaches] = {}
    usual = {os.path.realpath(scene.equipped.prefix), os.path.realpath(sys.base_prefix)}
    for side in scene.look.sides if scene.loose and scene.equipped.prefix else ():
        prefixes = {process.prefix: 0 for process in side.footprint.processes}
        children = side.footprint.children.items()
        prefixes |= {prefix: since for one, since in children if (prefix := prefix_of(one))}
        for prefix, since in prefixes.items():
            if os.path.realpath(prefix) not in usual and not scene.is_own(prefix):
                found.setdefault(prefix, []).append((side.footprint, since))
    for prefix, reaches in found.items():
        for name in sorted(installed_in(prefix) & scene.equipped.projects):
            edits = f"the change edits {_some(scene.loose)}"
            why = f"both sides start the same installed copy from {prefix}, and {edits}"
            remedy = "install it into the environment of the tests"
            yield _Found(Difference("process", name, "unaccounted", why, remedy), reaches)


def _of_files_outside(scene: Scene) -> Iterator[_Found]:
    """Files elsewhere that are younger than the change, which edits what may have made them."""
    unseen = [name for name in scene.loose if name in scene.names and not _own(scene, name)]
    files: dict[str, _Reaches] = {}
    for side in scene.look.sides if unseen else ():
        inside = {path: since for path, since in side.footprint.files.items() if PACKAGES in path}
        for path, since in (side.footprint.outside | inside).items():
            if scene.made_by_a_step(path):
                files.setdefault(path, []).append((side.footprint, since))
    for path, reaches in files.items():
        edits = f"it is newer than the change, and the change edits {_some(unseen)}"
        why = f"the tests read this file outside the repository, {edits}"
        remedy = "write it inside the repository; for the base, with prepare: of the suite in thresholds.yaml"
        yield _Found(Difference("outside", path, "unaccounted", why, remedy), reaches)


def _of_silence(scene: Scene) -> Iterator[_Found]:
    """A side whose processes tell nothing, though tests ran in them."""
    for side, observed in zip(scene.equipped.sides, scene.look.sides, strict=True):
        heard = observed.footprint.tests or observed.stopped or observed.empty
        if scene.names and not heard:
            what, why = f"tests of the {side.name}", "their processes do not tell what they reach"
            remedy = "let the command of the suite start pytest in an environment that has the gate"
            yield _Found(Difference("process", what, "unaccounted", why, remedy), _always(scene))
