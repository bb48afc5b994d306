"""Rollups: bins pack and add up; what several processes count in one file is what all of them did."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from tests.records.recording import rows, url_of
from toolrail.records.rollups import ToolSums, merge_bins, pack_bins, rounded, starts_of, unpack_bins

BINS = st.dictionaries(st.integers(-1050, 1050), st.integers(1, 2**40), max_size=200)


@promise("see:percentiles")
@given(bins=BINS)
def test_packed_bins_are_unpacked_as_they_were(bins: dict[int, int]) -> None:
    assert unpack_bins(pack_bins(bins)) == bins


@promise("see:percentiles")
@given(parts=st.lists(BINS, max_size=5))
def test_packed_bins_are_merged_by_addition(parts: list[dict[int, int]]) -> None:
    merged = merge_bins(pack_bins(part) for part in parts)
    assert merged == {at: sum(part.get(at, 0) for part in parts) for at in {at for part in parts for at in part}}


@pytest.mark.parametrize("damaged", [b"\x09", b"\x00abc\x01\x01", b"\x03" + b"x" * 11])
def test_what_is_no_pack_is_said_to_be_none(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="no packed bins"):
        unpack_bins(damaged)


def test_a_moment_is_counted_in_its_minute_its_hour_and_the_total() -> None:
    assert starts_of(7_385.9) == ((60, 7_380), (3600, 7_200), (0, 0))


@pytest.mark.parametrize(("size", "counted"), [(0, 0), (999, 999), (1_000, 1_000), (1_234, 1_200), (56_789, 56_000)])
def test_large_runs_are_counted_by_two_digits(size: int, counted: int) -> None:
    assert rounded(size) == counted


def test_a_row_of_sums_is_read_back_as_it_was() -> None:
    sums = ToolSums("bank", 3, 4, 5, 6, 1, 0.5, [0, 1, 0, 0, 0], {"TIMEOUT": 1}, {-3: 2, 9: 1})
    assert ToolSums.from_row(sums.row()) == sums


PROGRAM = """
import asyncio, sys
from tests.records.recording import batches, calls_of
for at in range(4):
    found = [calls_of("find", 5, start=100 * at + 5 * n) for n in range(5)]
    asyncio.run(batches(sys.argv[1], *found, calls_of("fail", 2)))
"""


@promise("see:percentiles")
def test_several_processes_that_write_one_file_count_together_what_each_did(tmp_path: Path) -> None:
    url = url_of(tmp_path)
    command = [sys.executable, "-c", PROGRAM, url]
    programs = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for program in programs:
        _, said = program.communicate(timeout=120)
        assert program.returncode == 0, said.decode()
    sums = "grain, sum(calls), sum(dependency_errors)"
    sql = f"SELECT {sums} FROM tool_rollups WHERE tool = ? GROUP BY grain ORDER BY grain"
    assert rows(url, sql, ("find",)) == [(grain, 300, 0) for grain in (0, 60, 3600)]
    assert rows(url, sql, ("fail",)) == [(grain, 24, 24) for grain in (0, 60, 3600)]
    packed = rows(url, "SELECT bins FROM tool_rollups WHERE grain = 0 AND tool = 'find'")
    assert sum(merge_bins(bins for (bins,) in packed).values()) == 300
    codes = rows(url, "SELECT codes FROM tool_rollups WHERE grain = 0 AND tool = 'fail'")
    assert [json.loads(one) for (one,) in codes] == [{"TOOL_ERROR": 24}]
    assert rows(url, "SELECT count(*), count(settled) FROM calls") == [(324, 324)]
    assert rows(url, "SELECT count(*), sum(calls), sum(failed) FROM runs") == [(12, 324, 24)]
    assert rows(url, "SELECT coalesce(sum(lost), 0) FROM losses") == [(0,)]
