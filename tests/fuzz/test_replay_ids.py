"""Replay ids: whatever text is given for one is read, and spelled the same again, or refused in one line."""

from functools import cache

from hypothesis import example, given
from hypothesis import strategies as st
from spoiling import TEXTS, assert_short_line, spoiled_text, times

from bncheck.case import DTYPES, GAMMAS, MAX_ELEMENTS, MEMORY, NUMBERS, CaseSpec
from bncheck.cases.plan import draw as drawn_case
from bncheck.cases.recipes import RECIPES
from bncheck.errors import UsageError

WIDE = st.floats(-1e300, 1e300).map(lambda number: number + 0.0)  # without -0.0, which no id has
POSITIVE = st.floats(0.0, 1e300)
SPECS = st.builds(
    CaseSpec,
    recipe=st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True),
    seed=st.integers(0, 2**64 - 1),
    n=st.integers(1, 100),
    c=st.integers(1, 100),
    spatial=st.lists(st.integers(1, 9), max_size=4).map(tuple),
    dtype=st.sampled_from(DTYPES),
    eps=POSITIVE,
    momentum=POSITIVE,
    mean=WIDE,
    sd=POSITIVE,
    constant=st.integers(0, MAX_ELEMENTS),
    gamma=st.sampled_from(GAMMAS),
    dy_scale=WIDE,
    memory=st.sampled_from(MEMORY),
    numbers=st.sampled_from(NUMBERS),
)
PARTS = st.one_of(
    st.sampled_from(
        "v1 v2 seed n c eps mean spatial dtype constant recipe id custom float16 zero : , = x . - + e".split()
    ),
    st.sampled_from(",n=2 ,eps=-0.0 ,mean=-0 ,, ,spatial=1x1 0 1 2x3 1e-5 -0.0 1e300 1e999 nan inf ٣ ²".split()),
    st.sampled_from(["", " ", "\n", "\x00", "\u2028", "\ud800", "9" * 20, "9" * 9, "0" * 40, "1" * 5000]),
)


@cache
def ids():
    made = [spec.id for _, recipe in RECIPES.items() for spec in recipe()]
    return [*made, *(drawn_case(index, 5, dtype, (0, 1, 2, 3)).id for index in range(50) for dtype in DTYPES)]


def read_or_refused(text):
    try:
        spec = CaseSpec.parse(text)
    except UsageError as error:
        assert_short_line(error)
    else:
        # Their repr, as 0.0 == -0.0 == 0.
        assert repr(CaseSpec.parse(spec.id)) == repr(spec)
        assert CaseSpec.parse(spec.id).id == spec.id
        assert spec.m * spec.c <= MAX_ELEMENTS


@times(10)
@given(SPECS)
def test_what_is_spelled_is_read(spec):
    back = CaseSpec.parse(spec.id)
    assert back == spec
    assert back.id == spec.id
    read_or_refused(spec.id)


@times(20)
@given(spoiled_text(ids, PARTS | TEXTS))
def test_a_spoiled_id_is_read_or_refused(text):
    read_or_refused(text)


@times(10)
@given(TEXTS)
@example("v1:" + "a" * 1_000_000)
@example("v1:a:" + "," * 1_000_000)
@example("v1:a:" + "b" * 1_000_000)
def test_any_text_is_read_or_refused(text):
    for whole in (text, f"v1:{text}", f"v1:custom:{text}", f"v1:custom:n={text}", f"v1:custom:mean={text},c=1"):
        read_or_refused(whole)
