"""Reading thresholds.yaml.

The file's keys are described once, in the tables of `Field`s below; parsing, error messages and the
JSON Schema for editors all come from them.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import Any, Final

from gate.located import Located, LocatedError, Mistake, Place, read_yaml
from gate.model import MOST_SHARDS
from gate.policy import (
    DEFAULT_BASELINE,
    DEFAULT_BUDGET,
    DEFAULT_READY_TIMEOUT,
    DEFAULT_TIMEOUT,
    FILE_NAME,
    LOOPBACK,
    OFF,
    PATTERN,
    SERVICE_NAME,
    SUITE_NAME,
    VARIABLE,
    Entry,
    KnownFailure,
    Policy,
    Service,
    Suite,
    beyond_warning,
    is_suite,
    split_pattern,
)
from gate.units import FACTORS, Quantity, UnitError, dimension, parse, quantity_pattern


class _BadValueError(ValueError):
    """What is wrong with one value; the place is added by the caller."""


@dataclass(frozen=True)
class Field:
    """One key: how its text is read, and what the JSON Schema says about it."""

    read: Callable[[str], Any]
    schema: dict[str, Any]
    listed: bool = False
    """It may be a list, too; read as its items with spaces between them."""


_OFF: Final = ("off", "Off", "OFF", "false", "False", "FALSE")
_SAYS_OFF: Final = {"enum": [*_OFF, False]}


def _time(description: str, *, off: bool = False) -> Field:
    def read(text: str) -> Quantity:
        if off and text in _OFF:
            return OFF
        quantity = parse(text)
        if dimension(quantity.unit) != "time":
            raise _BadValueError(f"{text!r} has the wrong unit; write e.g. 30 min")
        if text.strip().startswith("-"):
            raise _BadValueError(f"{text!r} is negative")
        return quantity

    written = {"type": "string", "pattern": quantity_pattern(FACTORS["time"], r"\+?")}
    return Field(read, _any_of(written, *([_SAYS_OFF] if off else [])) | {"description": description})


def _limit(description: str) -> Field:
    """In the unit of a metric, which nobody knows yet."""
    units = [unit for units in FACTORS.values() for unit in units]
    number = {"type": "number", "exclusiveMinimum": -1e16, "exclusiveMaximum": 1e16}
    written = {"type": "string", "pattern": quantity_pattern(units)}
    return Field(parse, _any_of(written, number) | {"description": description})


def _any_of(first: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [first, *others]} if others else first


def _tolerance(description: str, *, off: bool = False) -> Field:
    """A relative change; only zero may go without a unit, since 10 could be 10 % or ten times."""

    def read(text: str) -> Quantity:
        if off and text in _OFF:
            return OFF
        quantity = parse(text)
        if quantity.unit == "" and quantity.value > 0:
            percent = quantity.value if quantity.value >= 1 else 100 * quantity.value
            raise _BadValueError(f"{text!r} has no unit; did you mean {percent:g} %?")
        if quantity.unit and dimension(quantity.unit) != "ratio":
            raise _BadValueError(f"{text!r} has the wrong unit; write e.g. 10 %")
        if quantity.value < 0:
            raise _BadValueError(f"{text!r} is negative")
        return quantity

    written = {"type": "string", "pattern": quantity_pattern(FACTORS["ratio"], r"\+?")}
    zero = {"type": "string", "pattern": r"^\s*[+-]?0*\.?0+(?:[eE][+-]?[0-9]+)?\s*(?:%|ratio)?\s*$"}
    return Field(
        read,
        _any_of(written, zero, {"const": 0}, *([_SAYS_OFF] if off else [])) | {"description": description},
    )


_BOOLEANS: Final = {"true": True, "false": False}
_SAYS_YES: Final = tuple(word for yes in ("true", "yes", "on") for word in (yes, yes.title(), yes.upper()))
_YES_NO: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def _choice(description: str, options: Mapping[str, Any]) -> Field:
    """One of some words, as they are; those that YAML knows in its three spellings."""
    spelled = {
        word: value
        for name, value in options.items()
        for word in ((name, name.title(), name.upper()) if name in _YES_NO else (name,))
    }

    def read(text: str) -> object:
        if text not in spelled:
            near = get_close_matches(text.lower(), options, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(options)}"
            raise _BadValueError(f"{text!r} is not allowed; {hint}")
        return spelled[text]

    # YAML reads a bare true or false as a boolean.
    booleans = [value for name, value in _BOOLEANS.items() if name in options]
    return Field(read, {"enum": [*spelled, *booleans], "description": description})


def _text(description: str) -> Field:
    def read(text: str) -> str:
        if not text.strip():
            raise _BadValueError("is empty")
        if "\0" in text:
            raise _BadValueError("holds a NUL character; remove it")
        return text

    written = {"type": "string", "pattern": r"\S"}
    return Field(read, _any_of(written, {"type": ["number", "boolean"]}) | {"description": description})


def _paths(description: str) -> Field:
    def read(text: str) -> str:
        if not text.strip():
            raise _BadValueError("is empty")
        for name in text.split():
            if name.endswith((",", ";")):
                raise _BadValueError(f"{name!r} ends with {name[-1]!r}; separate the globs with spaces alone")
            if name.startswith("../"):
                raise _BadValueError(f"{name!r} points outside; a glob cannot begin with ../")
            if name.startswith(("/", "./")):
                raise _BadValueError(f"{name!r} is no relative path; write {name.lstrip('./')!r}")
        return text

    pattern = r"^\s*(?:(?!/|\./|\.\./)\S*[^\s,;](?:\s+|$))+$"
    return Field(read, {"type": "string", "pattern": pattern, "description": description})


_SECRET: Final = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|PRIVATE|(?:^|_)KEY(?:$|_)|APIKEY|AUTH", re.IGNORECASE
)


def _any_case(pattern: str) -> str:
    """The pattern for capital and small letters, as JSON Schema has no flags."""
    return re.sub(r"[A-Z]", lambda letter: f"[{letter[0]}{letter[0].lower()}]", pattern)


def _variables(description: str) -> Field:
    def read(text: str) -> str:
        for name in text.split() or [text]:
            if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
                raise _BadValueError(f"{name!r} is no name of a variable; write e.g. DATABASE_MODE")
            if _SECRET.search(name):
                raise _BadValueError(
                    f"{name!r} looks like a secret, and accepted runs can be read by anybody"
                )
        return text

    secret = _any_case(_SECRET.pattern).replace("(?:^|_)", r"(?:^|\s|_)").replace("(?:$|_)", r"(?:$|\s|_)")
    names = r"[A-Za-z_][A-Za-z0-9_]*"
    pattern = rf"^(?![\s\S]*(?:{secret}))\s*{names}(?:\s+{names})*\s*$"
    return Field(read, {"type": "string", "pattern": pattern, "description": description})


def _whole(description: str, most: int) -> Field:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}(?:\.0)?", text) or not 1 <= int(float(text)) <= most:
            raise _BadValueError(f"{text!r} is not a whole number from 1 to {most}")
        return int(float(text))

    return Field(read, {"type": "integer", "minimum": 1, "maximum": most, "description": description})


def _service_names(description: str) -> Field:
    def read(text: str) -> tuple[str, ...]:
        for name in text.split() or [text]:
            if not re.fullmatch(SERVICE_NAME, name):
                raise _BadValueError(f"{name!r} is no name of a service; write e.g. [api]")
        return tuple(dict.fromkeys(text.split()))

    names = {"type": "string", "pattern": rf"^\s*{SERVICE_NAME}(?:\s+{SERVICE_NAME})*\s*$"}
    items = {
        "type": "array",
        "minItems": 1,
        "items": {"type": "string", "pattern": f"^{SERVICE_NAME}$"},
    }
    return Field(read, {"anyOf": [items, names], "description": description}, listed=True)


def _matching(pattern: str, wrong: str, description: str) -> Field:
    """A text of one pattern; `wrong` says of another one what it is not."""

    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise _BadValueError(f"{text!r} {wrong}")
        return text

    return Field(read, {"type": "string", "pattern": f"^{pattern}$", "description": description})


def _host(description: str) -> Field:
    pattern = r"[A-Za-z0-9_:](?:[A-Za-z0-9_:-]|\.(?!\.))*"
    return _matching(pattern, "is no name or address of a host; write e.g. 127.0.0.1", description)


def _directory(description: str) -> Field:
    def read(text: str) -> str:
        if text.startswith("/") or ".." in text.split("/") or not text.strip():
            raise _BadValueError(f"{text!r} is no directory below that of this file; write e.g. services/api")
        return text

    pattern = r"^(?!/)(?!(?:.*/)?\.\.(?:/|$))(?=.*\S).*$"
    return Field(read, {"type": "string", "pattern": pattern, "description": description})


def _branch(description: str) -> Field:
    pattern = r"(?!.*(?:\.\.|\.lock(?:/|$)|//))[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*"
    return _matching(pattern, "is no name of a branch; write e.g. gate-baseline", description)


def _date(description: str) -> Field:
    def read(text: str) -> date:
        try:
            if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
                return date.fromisoformat(text)
        except ValueError as error:
            raise _BadValueError(f"{text!r} is no date: {error}") from None
        raise _BadValueError(f"{text!r} is no date; write year-month-day, e.g. 2026-12-24")

    pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
    return Field(read, {"type": "string", "format": "date", "pattern": pattern, "description": description})


TOP: Final = {
    "version": Field(str, {"enum": [1, "1"], "description": "The format of this file."}),
    "baseline": _text(f"Directory of the stored baseline (default {DEFAULT_BASELINE})."),
    "baseline_branch": _branch(
        "Branch of the remote that holds it, e.g. gate-baseline (default: the code's own)."
    ),
    "install": _text(
        "Command that installs all dependencies, the gate too; for a base whose lock file differs."
    ),
    "libraries": _text(
        "Libraries whose versions move the numbers, e.g. numpy pydantic: part of the environment."
    ),
    "shared": _text(
        "Services that base and head may share since no change reaches them, e.g. localhost:9200 :4222"
    ),
    "watch": _variables(
        "Environment variables that a run tells of, by a short hash, e.g. DATABASE_MODE; never a secret."
    ),
    "max_age": _time("A report older than this is stale (default 24 h).", off=True),
}
SUITE: Final = {
    "run": _text("The command, run by the shell in the directory of this file; it starts pytest."),
    "durations": _choice("Take the tests' call durations as metrics.", _YES_NO),
    "exclusive": _choice(
        "Two of it cannot run at once, e.g. for a fixed port: base and head run one after the other.", _YES_NO
    ),
    "needs": _service_names(
        "Services that run beside it, e.g. [api]; $GATE_PORT is the port of the first one."
    ),
    "prepare": _text("Command that makes what git ignores, run in the tree of the base before its tests."),
    "shards": _whole("How many reports make the suite whole (default: as the reports say).", MOST_SHARDS),
    "timeout": _time(f"Stop the suite after this time (default {DEFAULT_TIMEOUT})."),
}
SERVICE: Final = {
    "run": _text(
        "The command, run by the shell; it listens on $GATE_PORT of 127.0.0.1, and does not fork away."
    ),
    "ready": _text(
        "When it can be used: its port accepts connections (port, the default), a URL answers with a status "
        "below 400, or a line that it prints has this text."
    ),
    "cwd": _directory("The directory it runs in, relative to this file (default: that of this file)."),
    "prepare": _text("Command that is run before it starts, e.g. migrations or createdb $GATE_ID."),
    "cleanup": _text("Command that is run after its end, however the gate ends, e.g. dropdb $GATE_ID."),
    "timeout": _time(f"How long prepare may take, and getting ready (default {DEFAULT_READY_TIMEOUT})."),
    "after": _service_names("Services that have to be ready before it starts."),
    "shared": _choice("Somebody else has started it, and it belongs to neither side.", _YES_NO),
    "host": _host(f"Where a shared service can be reached (default {LOOPBACK})."),
    "port": _whole("The port of a shared service (default for others: a free one).", 65_535),
}
DEFAULTS: Final = {
    "tolerance": _tolerance("How much worse than the baseline is acceptable."),
    "confirm": _choice(
        "What is measured again, base and head on one machine. budget (default): what history suspects, "
        "then all that the change can affect, while the budget lasts; suspects: them alone; all: always; "
        "off: judge by the stored baseline alone.",
        {
            "true": "budget",
            "budget": "budget",
            "suspects": "suspects",
            "all": "all",
            "false": "off",
            "off": "off",
        },
    ),
    "budget": _time(f"Time for measuring again (default {DEFAULT_BUDGET})."),
    "flaky": _choice("What a test means that fails only sometimes.", {"warn": "warn", "fail": "fail"}),
    "inconclusive": _choice(
        "What a suspect means that the comparison left open and that is at most twice the tolerance worse "
        "(default: fail).",
        {"fail": "fail", "warn": "warn"},
    ),
}
GITHUB: Final = {
    "comment": _choice(
        "When a first comment is written: problems (default): when there is something to say; always.",
        {"problems": "problems", "always": "always"},
    ),
    "protected": _paths("Globs of further files that decide how a pull request is judged, e.g. ci/* tox.ini"),
    "self_waivers": _choice("Whether the author of a pull request may waive (default true).", _YES_NO),
}
METRIC: Final = {
    "better": _choice("Which direction is better.", {"lower": "lower", "higher": "higher"}),
    "target": _limit("Missed: the run fails."),
    "warning": _limit("Passed over: the run warns."),
    "critical": _limit("Passed over: the run fails."),
    "tolerance": _tolerance("How much worse than the baseline is acceptable; off: limits only.", off=True),
    "floor": _limit("The smallest absolute change worth a word."),
}
KNOWN_FAILURE: Final = {
    "signature": _text("Glob of the failure: type | file | message, as gate check shows it (default: any)."),
    "owner": _text("Who fixes it."),
    "issue": _text("Where it is discussed."),
    "since": _date("Since when it is known, e.g. 2026-11-01."),
    "until": _date("The last day on which it is permitted, e.g. 2026-12-24."),
    "paths": _paths("Globs of the owner's files, e.g. src/payments/* tests/api/*"),
}


def parse_policy(text: str, source: str = FILE_NAME) -> Policy:
    """Read the text of a thresholds.yaml.

    Raises:
        LocatedError: with every mistake, each with line, column and a suggestion.
    """
    return _Reader(source).policy(read_yaml(text, source))


_SECTIONS: Final = ("services", "suites", "defaults", "github", "metrics", "known_failures")


class _Reader:
    """Collects mistakes while it walks the document, so that a user sees all of them at once."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.mistakes: list[Mistake] = []

    def policy(self, document: Located) -> Policy:
        if document.value is None:
            raise LocatedError(
                self.source,
                [Mistake(document.place, "the file is empty; begin with 'version: 1' and 'suites:'")],
            )
        top = self._section(document, "the file", (*TOP, *_SECTIONS))
        if not isinstance(document.value, dict):
            raise LocatedError(self.source, self.mistakes)
        if "version" not in top and not self.mistakes:
            self._mistake(document.place, "'version: 1' is missing; add it as the first line")
        plain = self._fields(top, TOP, "")
        if plain.get("version", "1") != "1":
            self._mistake(
                top["version"].place,
                f"version {plain['version']} is not known here; this gate reads version 1",
            )
        of_all = {key: plain.pop(key) for key in ("libraries", "watch") if key in plain}
        services = self._services(top["services"]) if "services" in top else {}
        suites = self._suites(top["suites"], of_all, services) if "suites" in top else {}
        if "suites" not in top:
            self._mistake(document.place, "'suites:' is missing; add e.g. suites: {api: {run: pytest tests}}")
        defaults: dict[str, Any] = {}
        if "defaults" in top:
            defaults = self._fields(
                self._section(top["defaults"], "defaults", DEFAULTS), DEFAULTS, "defaults."
            )
        github: dict[str, Any] = {}
        if "github" in top:
            github = self._fields(self._section(top["github"], "github", GITHUB), GITHUB, "github.")
        entries = self._entries(top["metrics"]) if "metrics" in top else ()
        known = self._known_failures(top["known_failures"]) if "known_failures" in top else ()
        if self.mistakes:
            raise LocatedError(self.source, self.mistakes)
        settings = {key: value for key, value in plain.items() if key != "version"}
        sections: dict[str, Any] = {"suites": suites, "entries": entries, "known_failures": known}
        return Policy(source=self.source, **sections, **settings, **defaults, **github)

    def _services(self, node: Located) -> dict[str, Service]:
        given: dict[str, dict[str, Any]] = {}
        sections: dict[str, Mapping[str, Located]] = {}
        for name, service in self._section(node, "services", None).items():
            where = f"services.{name}"
            if not re.fullmatch(SERVICE_NAME, name):
                self._mistake(node.keys[name], f"service {name!r}: use letters, digits, '.', '_' and '-'")
            section = self._section(service, where, (*SERVICE, "env"))
            values = self._fields(section, SERVICE, f"{where}.")
            if "env" in section:
                values["env"] = self._environment(section["env"], f"{where}.env")
            if isinstance(service.value, dict):
                self._check_service(values, section, where, service.place)
            given[name], sections[name] = values, section
        services: dict[str, Service] = {}

        def add(name: str, above: tuple[str, ...]) -> Service | None:
            if name in above:
                circle = " -> ".join((*above[above.index(name) :], name))
                self._mistake(
                    node.keys[name], f"services.{name}.after: services wait for each other: {circle}"
                )
                return None
            if name not in services:
                values = given[name]
                earlier = self._known_services(
                    values.pop("after", ()),
                    given,
                    sections[name].get("after"),
                    f"services.{name}.after",
                )
                after = [add(one, (*above, name)) for one in earlier]
                services[name] = Service(name=name, after=tuple(one for one in after if one), **values)
            return services[name]

        for name in given:
            add(name, ())
        return services

    def _environment(self, node: Located, where: str) -> tuple[tuple[str, str], ...]:
        values: list[tuple[str, str]] = []
        for name, value in self._section(node, where, None).items():
            if not re.fullmatch(VARIABLE, name):
                self._mistake(node.keys[name], f"{where}: {name!r} is no name of a variable")
            if name.startswith("GATE_"):
                self._mistake(node.keys[name], f"{where}: {name} is set by the gate; choose another name")
            if not isinstance(value.value, str):
                self._mistake(value.place, f"{where}.{name} must be a single value, not {value.kind}")
                continue
            if "\0" in value.value:
                self._mistake(value.place, f"{where}.{name} holds a NUL character; remove it")
            values.append((name, value.value))
        return tuple(values)

    def _check_service(
        self, values: Mapping[str, Any], section: Mapping[str, Located], where: str, place: Place
    ) -> None:
        if values.get("shared"):
            if "run" in section:
                self._mistake(
                    section["run"].place,
                    f"{where}: a shared service is started by somebody else; remove 'run'",
                )
            ready = values.get("ready", "port")
            if ready != "port" and not ready.startswith(("http://", "https://")):
                self._mistake(
                    section["ready"].place,
                    f"{where}.ready: nobody sees what a shared service prints; use port or a URL",
                )
            if "port" not in section:
                self._mistake(
                    place, f"{where}: 'port' is missing; a shared service listens somewhere, e.g. port: 5432"
                )
        else:
            if "run" not in section:
                self._mistake(place, f"{where}: 'run' is missing; add the command, or shared: true")
            for key in section.keys() & {"host", "port"}:
                self._mistake(
                    section[key].place,
                    f"{where}.{key} is for a shared service; let others listen on $GATE_PORT of {LOOPBACK}",
                )

    def _known_services(
        self, names: Iterable[str], known: Iterable[str], node: Located | None, where: str
    ) -> list[str]:
        allowed = list(known)
        for name in names:
            if name not in allowed and node is not None:
                near = get_close_matches(name, allowed, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "describe it below 'services:'"
                self._mistake(node.place, f"{where}: unknown service {name!r}; {hint}")
        return [name for name in names if name in allowed]

    def _suites(
        self, node: Located, of_all: Mapping[str, str], services: Mapping[str, Service]
    ) -> dict[str, Suite]:
        suites: dict[str, Suite] = {}
        for name, suite in self._section(node, "suites", None).items():
            if not is_suite(name):
                self._mistake(node.keys[name], f"suite {name!r}: {_not_a_suite(name)}")
            section = self._section(suite, f"suites.{name}", SUITE)
            values = self._fields(section, SUITE, f"suites.{name}.")
            if "run" not in values:
                if isinstance(suite.value, dict) and "run" not in suite.value:
                    self._mistake(
                        suite.place,
                        f"suites.{name}: 'run' is missing; add the command, e.g. run: pytest tests",
                    )
                continue
            needed = self._known_services(
                values.pop("needs", ()), services, section.get("needs"), f"suites.{name}.needs"
            )
            values["needs"] = tuple(services[one] for one in needed)
            suites[name] = Suite(name=name, **of_all, **values)
            other = next((one for one in suites.values() if one.run == suites[name].run), suites[name])
            if other.needs != suites[name].needs:
                self._mistake(
                    suite.place,
                    f"suites.{name}: suite {other.name!r} has the same 'run' and needs other services; "
                    "the command decides which services run beside it",
                )
        if not suites and not self.mistakes:
            self._mistake(node.place, "suites: name at least one suite, e.g. api: {run: pytest tests}")
        return suites

    def _entries(self, node: Located) -> tuple[Entry, ...]:
        entries: list[Entry] = []
        meant: dict[object, Entry] = {}
        for pattern, entry in self._section(node, "metrics", None).items():
            place = node.keys[pattern]
            try:
                split_pattern(pattern)
            except ValueError as error:
                self._mistake(place, f"metrics: {error}")
                continue
            where = f"metrics[{pattern}]"
            section = self._section(entry, where, METRIC)
            values = self._fields(section, METRIC, f"{where}.")
            if not values and isinstance(entry.value, dict) and not entry.value:
                self._mistake(place, f"{where} says nothing; give it a limit or a tolerance")
            places = {key: section[key].place for key in values}
            self._check_order(values, where, places)
            entries.append(Entry(pattern, place, values, places))
            if (first := meant.setdefault(entries[-1].meaning, entries[-1])) is not entries[-1]:
                self._mistake(
                    place, f"{where} names the same metrics as line {first.place.line}; merge the two"
                )
        return tuple(entries)

    def _known_failures(self, node: Located) -> tuple[KnownFailure, ...]:
        entries: list[KnownFailure] = []
        for pattern, entry in self._section(node, "known_failures", None).items():
            place, where = node.keys[pattern], f"known_failures[{pattern}]"
            if "::" not in pattern and "*" not in pattern:
                self._mistake(place, f"{where} names no test; write {pattern}::TEST, or {pattern}::* for all")
            section = self._section(entry, where, KNOWN_FAILURE)
            values = self._fields(section, KNOWN_FAILURE, f"{where}.")
            if isinstance(entry.value, dict) and "until" not in section:
                self._mistake(place, f"{where}: 'until' is missing; say how long, e.g. until: 2026-12-24")
            if "until" not in values:
                continue
            if "since" in values and values["since"] > values["until"]:
                message = f"{where}.since: {values['since']} is after until, {values['until']}; swap the two"
                self._mistake(section["since"].place, message)
            entries.append(KnownFailure(pattern, place, **values))
        return tuple(entries)

    def _check_order(self, values: Mapping[str, Any], where: str, places: Mapping[str, Place]) -> None:
        try:
            beyond = beyond_warning(values, values.get("better", "lower"))
        except UnitError as error:
            self._mistake(places["warning"], f"{where}: {error}")
            return
        if beyond:
            hint = "; if higher is better, say better: higher" if "better" not in values else ""
            self._mistake(
                places["warning"],
                f"{where}: warning {values['warning']} lies beyond {beyond} {values[beyond]}, "
                f"which fails first{hint}",
            )

    def _section(self, node: Located, where: str, known: Iterable[str] | None) -> dict[str, Located]:
        if not isinstance(node.value, dict):
            self._mistake(node.place, f"{where} must be a mapping of keys and values, not {node.kind}")
            return {}
        if known is not None:
            allowed = list(known)
            for key in node.value.keys() - set(allowed):
                near = get_close_matches(key, allowed, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(allowed)}"
                self._mistake(node.keys[key], f"{where}: unknown key {key!r}; {hint}")
        return node.value

    def _fields(
        self, section: Mapping[str, Located], table: Mapping[str, Field], where: str
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key in table.keys() & section.keys():
            node = section[key]
            if table[key].listed and isinstance(node.value, list):
                node = self._joined(node, f"{where}{key}")
            if not isinstance(node.value, str):
                self._mistake(node.place, f"{where}{key} must be a single value, not {node.kind}")
                continue
            try:
                values[key] = table[key].read(node.value)
            except ValueError as error:
                self._mistake(node.place, f"{where}{key}: {error}")
                continue
            kind = table[key].schema.get("type")
            if (kind == "string" or table[key].listed) and not node.is_text:
                self._mistake(node.place, f'{where}{key} must be a string; write "{node.value}" in quotes')
            if kind == "integer" and node.is_text:
                self._mistake(node.place, f"{where}{key} must be an integer; remove the quotes")
        return values

    def _joined(self, node: Located, where: str) -> Located:
        """A list of plain values as one text."""
        items = node.value if isinstance(node.value, list) else []
        for item in items:
            if not isinstance(item.value, str) or not item.is_text or not item.value or " " in item.value:
                self._mistake(item.place, f"{where}: each item must be a name, not {item.kind}")
                return Located("-", node.place, is_text=True)
        return Located(" ".join(str(item.value) for item in items), node.place, is_text=True)

    def _mistake(self, place: Place, message: str) -> None:
        self.mistakes.append(Mistake(place, message))


def _not_a_suite(name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        return "the gate writes files of such a name; choose another one"
    return "use letters, digits, '.', '_' and '-'; it names a file"


def _service_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A service is started by the gate, or shared: each has keys of its own."""
    schema["properties"]["env"] = {
        "type": "object",
        "propertyNames": {"pattern": f"^(?!GATE_){VARIABLE}$"},
        "additionalProperties": {"type": ["string", "number", "boolean"]},
        "description": "Variables for it, prepare and cleanup; $NAME stands for a variable of the gate's.",
    }
    says = {"required": ["shared"], "properties": {"shared": {"enum": [*_SAYS_YES, True]}}}
    return schema | {
        "if": says,
        "then": {
            "required": ["port"],
            "properties": {"run": False, "ready": {"pattern": "^(?:port$|https?://)"}},
        },
        "else": {"required": ["run"], "properties": {"host": False, "port": False}},
    }


def json_schema() -> dict[str, Any]:
    """The JSON Schema of thresholds.yaml, for editors."""

    def mapping(table: Mapping[str, Field], required: list[str]) -> dict[str, Any]:
        return {
            "type": "object",
            "additionalProperties": False,
            "required": required,
            "properties": {key: entry.schema for key, entry in table.items()},
        }

    schema = mapping(TOP, ["version", "suites"])
    schema["properties"] |= {
        "services": {
            "type": "object",
            "propertyNames": {"pattern": f"^{SERVICE_NAME}$"},
            "additionalProperties": _service_schema(mapping(SERVICE, [])),
        },
        "suites": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": f"^{SUITE_NAME}$"},
            "additionalProperties": mapping(SUITE, ["run"]),
        },
        "defaults": mapping(DEFAULTS, []),
        "github": mapping(GITHUB, []),
        "metrics": {
            "type": "object",
            "propertyNames": {"pattern": f"^{PATTERN}$"},
            "additionalProperties": mapping(METRIC, []) | {"minProperties": 1},
        },
        "known_failures": {
            "type": "object",
            "propertyNames": {"pattern": r"::|\*"},
            "additionalProperties": mapping(KNOWN_FAILURE, ["until"]),
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "thresholds.yaml of the regression gate",
        **schema,
    }
