"""The names of a segment's lines are counted by a shorter way than reading them, which finds the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.spool.conftest import line

from tallystick.codec import decode_lines
from tallystick.spool.dropping import names_of

LINES = st.one_of(
    st.builds(line, st.none() | st.integers() | st.text(), st.text(), st.none() | st.just({"plan": "pro"})),
    st.sampled_from([
        b'[1,"k","n"]\n', b'[1,"k","n",1,{},{},1]\n', b'[1,"k","n","\xff"]\n', b'[1,"k","n",1,{"a":"\xff"}]\n',
        b'["1","k","n",1]\n', b'[9223372036854775808,"k","n",1]\n', b"[]\n", b"\n", b'[1,"k","n",[1\n', b"],2]\n",
        b'[1,2,"n",1]\n', b'[1,"k",2,1]\n', b'[1,"k","n",1][1,"k","n",1]\n', b'[1,"k","n",1e999]\n', b"\0\n",
    ]),
    st.binary(max_size=20).map(lambda some: some.replace(b"\n", b"") + b"\n"),
)  # fmt: skip


@given(st.lists(LINES, max_size=8).map(b"".join))
def test_the_names_that_are_counted_are_those_that_are_read(raw: bytes) -> None:
    lines, _, damaged = decode_lines(raw, 0)
    assert sorted(names_of(raw)) == sorted([read.name for read in lines] + [""] * len(damaged))
