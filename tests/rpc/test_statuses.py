"""The table of statuses: whatever the rules can answer is explained, in one sentence each way."""

from __future__ import annotations

import re

import pytest

from node.cli.output import describe
from node.rpc import errors
from node.rpc.errors import fail_status
from node.rpc.statuses import SUCCESSES, describe_status, known_names, notable, sentence
from node.sdk.errors import InsufficientMargin, from_rpc
from node.stf.types import Status


def test_every_status_is_explained_and_nothing_else() -> None:
    assert known_names() == set(Status.__members__)


def test_every_refusal_has_a_kind_and_no_success_has_one() -> None:
    assert set(errors._KIND_BY_STATUS) == known_names() - SUCCESSES


@pytest.mark.parametrize("name", sorted(known_names()))
def test_meaning_and_remedy_are_one_sentence_each(name: str) -> None:
    info = describe_status(name)
    for text in (info.meaning, info.remedy):
        assert text and "\n" not in text and not text.endswith(".") and ". " not in text, text
        assert text[0].islower() or text[0] == "`" or re.match(r"[A-Z0-9]+\b", text), text
    assert info.meaning != info.remedy and sentence(name) == f"{info.meaning}: {info.remedy}"


def test_no_two_statuses_read_the_same() -> None:
    meanings = [describe_status(name).meaning for name in known_names()]
    assert len(set(meanings)) == len(meanings)


def test_notes_leave_out_ok_and_repetitions() -> None:
    listed = [Status.OK, Status.PRICE_BAND, Status.OK, Status.NO_MARKET, Status.PRICE_BAND]
    assert [info.status for info in notable(listed)] == ["PRICE_BAND", "NO_MARKET"]
    assert notable([Status.OK]) == []


def test_a_refusal_says_meaning_and_remedy_once_on_the_wire_and_on_the_command_line() -> None:
    wire = fail_status(Status.INSUFFICIENT_MARGIN)
    assert wire.message == sentence("INSUFFICIENT_MARGIN")
    error = from_rpc(wire)
    assert isinstance(error, InsufficientMargin)
    shown = describe(error)
    assert shown.count("deposit, order less") == 1 and "INSUFFICIENT_MARGIN" in shown
