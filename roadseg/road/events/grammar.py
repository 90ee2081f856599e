"""The grammar of event rules, and its parser.

    rule      = NAME ":" either [ "for" TIME ] [ "hold-off" TIME ]
    either    = all { "or" all }
    all       = one { "and" one }
    one       = "not" one | "(" either ")" | condition
    condition = measure [ "in" REGION ] SIGN NUMBER UNIT
    measure   = WHAT | "count" "of" WHAT | "distance" "to" WHAT
    SIGN      = ">" | ">=" | "<" | "<="

WHAT is a class or a group of `roadseg.road.vocabulary`; REGION is `frame` (all of the picture, and
the default), `corridor`, or one of your own. A share is given in `%`, a count without a unit, a
distance in `m` or `px`. TIME is a number with `s` or `ms`. Names with spaces stand in quotes.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from roadseg.core.errors import UsageError
from roadseg.road.events.conditions import (
    Condition,
    Expression,
    Joined,
    Measure,
    Not,
    Rule,
)
from roadseg.road.events.possible import can_hold
from roadseg.road.vocabulary import Vocabulary

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<quoted>"[^"]*"|'[^']*')
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+))
      | (?P<name>[^\W\d][\w-]*)
      | (?P<sign>>=|<=|==|!=|[><=%():])
      | (?P<other>\S)
    )""",
    re.VERBOSE,
)
_SIGNS = (">", ">=", "<", "<=")
_RESERVED = frozenset({"and", "or", "not", "in", "for", "hold-off", "of", "to"})
_DEEPEST = 50


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int  # from 1


def parse_rule(
    text: str,
    words: Vocabulary,
    regions: Collection[str] = ("corridor",),
    nearest_m: Mapping[str, float] | None = None,
) -> Rule:
    """Read an event rule.

    >>> rule = parse_rule("walker: pedestrian in corridor > 0.5% for 0.3s", Vocabulary())
    >>> rule.name, rule.for_s
    ('walker', 0.3)
    >>> rule.when
    Condition(measure=Measure(kind='share', what='pedestrian', region='corridor'), sign='>', \
limit=0.005)

    Args:
        text: the rule; see the module.
        words: the classes and groups that there are.
        regions: names of regions, beside `frame`.
        nearest_m: metres to the nearest road that is seen in each region; what is said to be
            nearer can never be. Nothing is known of regions that are not in it.

    Raises:
        UsageError: one line with the column of the mistake, counted from 1: the rule is not of the
            grammar, names a class, group or region that is not there, or can never be true, or
            never be false.
    """
    return _Parser(text, words, regions, nearest_m or {}).rule()


class _Parser:
    """Recursive descent: a method for each line of the grammar."""

    def __init__(
        self,
        text: str,
        words: Vocabulary,
        regions: Collection[str],
        nearest_m: Mapping[str, float],
    ) -> None:
        self.text, self.words, self.nearest_m = text, words, nearest_m
        self.regions = ("frame", *(region for region in regions if region != "frame"))
        self.tokens = []
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or "other"
            self.tokens.append(_Token(kind, match[kind], match.start(kind) + 1))
        self.tokens.append(_Token("end", "", len(text.rstrip()) + 1))
        self.at = self.depth = 0

    @property
    def next(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *texts: str) -> _Token | None:
        """The next token, if it is one of these."""
        token = self.next
        if token.kind not in ("name", "sign") or token.text not in texts:
            return None
        self.at += 1
        return token

    def wrong(self, what: str, fix: str, token: _Token | None = None) -> UsageError:
        column = (token or self.next).column
        return UsageError(f"event {self.text!r}, column {column}: {what}", fix=fix)

    def expected(self, what: str) -> UsageError:
        found = repr(self.next.text) if self.next.text else "the end"
        return self.wrong(f"found {found}", f"write {what}")

    def name(self, what: str) -> _Token:
        token = self.next
        is_name = token.kind == "quoted" or (token.kind == "name" and token.text not in _RESERVED)
        if not is_name or not token.text.strip("\"' "):
            raise self.expected(what)
        self.at += 1
        return _Token(token.kind, token.text.strip("\"'"), token.column)

    def rule(self) -> Rule:
        name = self.name("the event's name, as in 'NAME: pedestrian in corridor > 0.5%'")
        if not self.take(":"):
            raise self.expected("':' behind the event's name")
        start = self.next
        when = self.joined("or")
        for_s = self.time() if self.take("for") else 0.0
        hold_off_s = self.time() if self.take("hold-off") else 0.0
        if self.next.kind != "end":
            raise self.expected("and, or, for, hold-off or the end")
        if not can_hold(when, self.words, self.nearest_m):
            raise self.wrong("this can never be true", "change a number or a condition", start)
        if not can_hold(Not(when), self.words, self.nearest_m):
            raise self.wrong(
                "this is always true, and the event would never end",
                "change a number or a condition",
                start,
            )
        return Rule(name.text, when, for_s, hold_off_s, self.text)

    def joined(self, word: str) -> Expression:
        parts = [self.joined("and") if word == "or" else self.one()]
        while self.take(word):
            parts.append(self.joined("and") if word == "or" else self.one())
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def one(self) -> Expression:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self.wrong(f"more than {_DEEPEST} levels of not and (", "write it flatter")
        found: Expression
        if self.take("not"):
            found = Not(self.one())
        elif self.take("("):
            found = self.joined("or")
            if not self.take(")"):
                raise self.expected("and, or or ')'")
        else:
            found = self.condition()
        self.depth -= 1
        return found

    def condition(self) -> Condition:
        kind = "share"
        following = self.tokens[min(self.at + 1, len(self.tokens) - 1)].text
        if following == "of" and self.take("count"):
            kind = "count"
            self.at += 1
        elif following == "to" and self.take("distance"):
            kind = "distance"
            self.at += 1
        what = self.name("a class or group, count of, distance to, not or '('")
        if what.text not in self.words.names:
            raise self.wrong(*self.words.unknown(what.text), what)
        region = "frame"
        if self.take("in"):
            where = self.name("a region")
            region = where.text
            if region not in self.regions:
                close = difflib.get_close_matches(region, self.regions, n=1)
                fix = f"use {close[0]}" if close else f"use one of {', '.join(self.regions)}"
                raise self.wrong(f"unknown region {region!r}", fix, where)
        sign = self.take(*_SIGNS)
        if sign is None:
            raise self.expected("in, >, >=, < or <=")
        limit, unit = self.number(sign, kind, region)
        if unit == "%":
            limit /= 100
        return Condition(
            Measure(unit if kind == "distance" else kind, what.text, region), sign.text, limit
        )

    def number(self, sign: _Token, kind: str, region: str) -> tuple[float, str]:
        """The number and its unit, which must be the measure's."""
        example = {"share": "0.5%", "count": "2", "distance": "10m or 40px"}[kind]
        token = self.next
        if token.kind != "number":
            raise self.expected(f"a number, such as {example}")
        self.at += 1
        unit = self.take("%", "m", "px")
        limit = float(token.text)
        if not math.isfinite(limit):
            raise self.wrong(f"{token.text} is too large", "use a smaller number", token)
        units = {"share": ("%",), "count": ("",), "distance": ("m", "px")}[kind]
        given = unit.text if unit else ""
        if given not in units:
            raise self.wrong(
                f"a {kind} cannot be compared with {token.text}{given or self.next.text}",
                f"write a number such as {example}",
                token,
            )
        if kind == "count" and limit != int(limit):
            raise self.wrong(f"{token.text} is no count", "use a whole number", token)
        least, most = {"share": ("0", "100%")}.get(kind, ("0", ""))
        beyond = most and limit > 100 and sign.text[0] == ">"
        if beyond or (limit < 0 and sign.text[0] == "<"):
            bound = f"{most} at most" if beyond else f"{least} at least"
            raise self.wrong(f"a {kind} like this can never be", f"compare it with {bound}", token)
        nearest_m = self.nearest_m.get(region, 0.0) if given == "m" else 0.0
        if sign.text[0] == "<" and limit < nearest_m:
            raise self.wrong(
                f"in {region} nothing is nearer than {nearest_m:.1f} m, where the camera first "
                "sees the road",
                "compare it with a larger distance",
                token,
            )
        return limit, given

    def time(self) -> float:
        token = self.next
        if token.kind != "number":
            raise self.expected("a time, such as 0.3s or 500ms")
        self.at += 1
        unit = self.take("s", "ms")
        if unit is None:
            raise self.expected("s or ms")
        if token.text.startswith("-"):
            raise self.wrong(f"a time of {token.text} s cannot be", "use 0 or more", token)
        return float(token.text) / (1000 if unit.text == "ms" else 1)
