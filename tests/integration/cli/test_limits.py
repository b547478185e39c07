"""`tenuto limit`, from a shell."""

from __future__ import annotations

from tests.integration.cli.program import Program


def test_limits_are_put_listed_and_dropped(tenuto: Program) -> None:
    # Given a rate and a number of slots, the rate put twice
    tenuto("limit", "put", "model:openai", "--rate", "5")
    put = tenuto("limit", "put", "model:openai", "--rate", "600", "--per", "1m")
    tenuto("limit", "put", "printer", "--concurrency", "1")
    assert put.out == "model:openai allows 600 per 1 min, 1 together\n"
    # When they are listed
    listed = tenuto("limit", "list").out.splitlines()
    # Then the later rate counts
    assert [line.split() for line in listed] == [
        ["KEY", "AT", "ONCE", "RUNNING", "RATE", "BURST", "HELD", "BACK"],
        ["model:openai", "0", "600", "per", "1", "min", "1", "0"],
        ["printer", "1", "0", "0"],
    ]
    [limit] = tenuto("limit", "list", "model:", "--format", "json").json["limits"]
    assert (limit["key"], limit["rate"], limit["per_seconds"], limit["burst"]) == ("model:openai", 600, 60.0, 1)
    # And one that is dropped is gone
    assert tenuto("limit", "drop", "model:openai").out == "dropped model:openai\n"
    assert "there is no limit 'model:openai'" in tenuto("limit", "drop", "model:openai", code=3).err
    assert [each["key"] for each in tenuto("limit", "list", "--format", "json").json["limits"]] == ["printer"]


def test_a_limit_that_limits_nothing_or_makes_no_sense_is_refused(tenuto: Program) -> None:
    assert "limits nothing: give --concurrency, --rate" in tenuto("limit", "put", "printer", code=2).err
    assert "rate must be a whole number from 1" in tenuto("limit", "put", "printer", "--rate", "0", code=2).err
    assert (
        "--per 'soon' is no length of time" in tenuto("limit", "put", "p", "--rate", "1", "--per", "soon", code=2).err
    )
