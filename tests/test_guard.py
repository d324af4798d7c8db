"""What stands in for sys.stdout while user code runs, and what of the process is put back after it."""

import io
import logging
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import bncheck
from bncheck import guard
from bncheck.guard import Printed, changes_noted, printing_counted


def wrapped_again():
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", write_through=True)
    out.write("four")


def detached():
    sys.stdout.detach().write(b"four")


@pytest.mark.parametrize(
    ("act", "said", "count"),
    [
        (lambda: print("ähm"), "ähm\n", 4),
        (lambda: print("out", file=sys.stderr, flush=True), "out\n", 4),
        (lambda: sys.stdout.writelines(["a", "b"]), "ab", 2),
        (lambda: sys.stdout.buffer.write("ä".encode()), "ä", 2),
        (lambda: sys.stdout.buffer.write(memoryview(b"abcd")[1:3]), "bc", 2),
        (lambda: sys.stdout.buffer.write(b"\xff"), "\ufffd", 1),
        (lambda: sys.stdout.reconfigure(encoding="utf-8", line_buffering=True), "", 0),
        (lambda: logging.StreamHandler(sys.stderr).emit(logging.makeLogRecord({"msg": "log"})), "log\n", 4),
        (wrapped_again, "four", 4),
        (detached, "four", 4),
    ],
)
def test_what_user_code_does_to_its_streams_works_and_is_counted(act, said, count):
    with printing_counted() as printed:
        act()
        # Whatever was done to the stream, printing goes on.
        print("!", end="")
    assert (printed.beginning, printed.characters) == (said + "!", count + 1)


def test_it_is_a_stream_without_a_file():
    printed = Printed()
    assert (printed.isatty(), printed.writable(), printed.readable(), printed.seekable()) == (False, True, False, False)
    assert printed.encoding == "utf-8"
    assert isinstance(printed.name, str)
    with pytest.raises(io.UnsupportedOperation):
        printed.fileno()
    with pytest.raises(io.UnsupportedOperation):
        printed.buffer.fileno()


@pytest.mark.parametrize("write", [lambda p: p.write(b"bytes"), lambda p: p.write(3), lambda p: p.buffer.write("text")])
def test_what_no_stream_takes_is_a_type_error(write):
    with pytest.raises(TypeError):
        write(Printed())


def test_only_the_beginning_is_kept():
    printed = Printed()
    for _ in range(100):
        assert printed.write("x" * 1000) == 1000
        assert printed.buffer.write(b"y" * 1000) == 1000
    assert printed.characters == 200_000
    assert printed.beginning == "x" * 1000 + "y" * 1000


@pytest.mark.parametrize(("inner", "place"), [("torch", "my_bn.py:1"), ("my_library", "deep.py:1")])
def test_a_line_of_a_framework_is_not_the_place_that_is_named(tmp_path, inner, place):
    deep = tmp_path / "site-packages" / inner / "deep.py"
    scope = {}
    exec(compile("def fails(): raise ValueError('deep down')", str(deep), "exec"), scope)
    exec(compile("def calls(): fails()", str(tmp_path / "my_bn.py"), "exec"), scope)
    with pytest.raises(ValueError, match="deep down") as caught:
        scope["calls"]()
    assert guard.where(caught.value) == place
    with pytest.raises(ValueError, match="deep down") as caught:
        scope["fails"]()
    assert guard.where(caught.value.with_traceback(caught.tb.tb_next)) == "deep.py:1"  # there is no other line


# ---------------------------------------------------------------------------------------------------------- the process


def state():
    """Return what belongs to the whole process."""
    printing = {name: str(value) for name, value in np.get_printoptions().items()}
    functions = {name: id(value) for name, value in vars(np).items()}
    filters = [str(one) for one in warnings.filters]
    errors = np.geterr(), np.geterrcall()
    return os.getcwd(), dict(os.environ), sys.getrecursionlimit(), functions, errors, filters, printing


@pytest.fixture
def _place(monkeypatch, tmp_path):
    """Be in a folder that has another below it, with a variable THERE."""
    monkeypatch.setenv("THERE", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    depth = sys.getrecursionlimit()
    guard.forget_replaced()
    yield
    guard.forget_replaced()
    sys.setrecursionlimit(depth)


@pytest.fixture
def _run(_place):
    with guard.quiet():
        yield


def left_by(act, stage="forward"):
    """Return what is told of a call."""
    with changes_noted() as noted, guard.user_code(stage):
        act()
    return sorted(f"{change.how} after {change.stage}" for change in noted)


class Unequal:
    """Does not say whether it is equal to something."""

    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError("not to be compared")


CHANGES = {
    "the current folder is another one": [
        lambda: os.chdir("below"),
        lambda: (os.chdir("below"), os.rmdir("../below")),
    ],
    "environment: NEW set": [lambda: os.environ.update(NEW="1")],
    "environment: THERE changed": [lambda: os.environ.update(THERE="2")],
    "environment: THERE gone": [lambda: os.environ.pop("THERE")],
    "environment: A1 set, A2 set, A3 set, A4 set and 2 more": [
        lambda: os.environ.update({f"A{number}": "" for number in range(1, 7)}),
    ],
    "environment: \\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\... set": [
        lambda: os.environ.update({"\n" * 1000: "1"}),
    ],
    "NumPy's error state: divide='raise'": [lambda: np.seterr(divide="raise")],
    "NumPy's error state: divide='ignore', invalid='ignore', over='ignore'": [lambda: np.seterr(all="ignore")],
    "NumPy's error state: call='another'": [lambda: np.seterrcall(print)],
    "the recursion limit is 500": [lambda: sys.setrecursionlimit(500)],
    "the recursion limit is 98765": [lambda: sys.setrecursionlimit(98765)],
    "the warnings filters are others": [
        lambda: warnings.simplefilter("ignore"),
        lambda: warnings.simplefilter("error"),
        warnings.resetwarnings,
        lambda: setattr(warnings, "filters", [Unequal()]),
    ],
    "NumPy's functions: abs, mean replaced": [lambda: vars(np).update(mean=max, abs=abs)],
    "NumPy's functions: hypot replaced": [lambda: delattr(np, "hypot")],
    "NumPy's functions: pi replaced": [lambda: setattr(np, "pi", np.arange(3))],
    "NumPy's print options: precision, suppress": [lambda: np.set_printoptions(precision=2, suppress=True)],
    "NumPy's print options: formatter": [lambda: np.set_printoptions(formatter=Unequal())],
}


@pytest.mark.usefixtures("_run")
@pytest.mark.parametrize(("told", "act"), [(told, act) for told, acts in CHANGES.items() for act in acts])
def test_what_a_call_leaves_changed_is_put_back_and_told(told, act):
    before = state()
    assert left_by(act) == [f"{told} after forward"]
    assert state() == before


@np.errstate(all="raise")
@np.printoptions(precision=1)
def for_a_while():
    with warnings.catch_warnings():
        warnings.simplefilter("error")


@pytest.mark.usefixtures("_run")
@pytest.mark.parametrize(
    "act",
    [
        lambda: None,
        for_a_while,
        lambda: np.seterr(**np.seterr(all="raise")),
        lambda: np.seterr(divide="warn", over="warn", under="ignore", invalid="warn"),  # as NumPy begins
        lambda: (os.chdir("below"), os.chdir("..")),
        lambda: os.environ.update(THERE="1"),
        lambda: (os.environ.update(NEW="1"), os.environ.pop("NEW")),
    ],
)
def test_what_is_as_it_was_when_the_call_is_over_is_not_told(act):
    before = state()
    assert left_by(act) == []
    assert state() == before


KEPT = [
    (lambda: os.chdir("below"), lambda: os.path.basename(os.getcwd()) == "below"),
    (lambda: os.environ.update(THERE="2"), lambda: os.environ["THERE"] == "2"),
    (lambda: os.environ.pop("THERE"), lambda: "THERE" not in os.environ),
    (lambda: sys.setrecursionlimit(98765), lambda: sys.getrecursionlimit() == 98765),
    (lambda: setattr(np, "sqrt", abs), lambda: np.sqrt is abs),
]


@pytest.mark.usefixtures("_place")
@pytest.mark.parametrize(("act", "there"), KEPT)
def test_code_finds_again_what_it_may_count_on_in_its_next_call_of_this_run_or_the_next(act, there):
    with guard.quiet():
        told = left_by(act)
        assert not there()
        with guard.user_code():
            assert there()
    with guard.quiet():
        assert left_by(lambda: None, "backward") == told, "it is told as the doing of the call that did it"
        assert not there()
        guard.forget_replaced()
        with guard.user_code():
            assert not there(), "another target's calls find nothing of it"


@pytest.mark.usefixtures("_run")
def test_what_code_itself_puts_back_in_a_later_call_is_not_there_any_more():
    usual = np.sqrt
    left_by(lambda: (os.environ.update(NEW="1"), setattr(np, "sqrt", abs)))
    assert left_by(lambda: (os.environ.pop("NEW"), setattr(np, "sqrt", usual))) == []
    assert left_by(lambda: None) == []


@pytest.mark.usefixtures("_run")
def test_a_block_inside_another_is_a_part_of_its_call():
    def act():
        os.chdir("below")
        with guard.user_code("inner"):
            assert os.path.basename(os.getcwd()) == "below"
        assert os.path.basename(os.getcwd()) == "below"

    assert left_by(act) == ["the current folder is another one after forward"]


@pytest.mark.usefixtures("_run")
def test_what_an_import_changes_stays_and_is_not_told():
    with guard.quiet_import():
        os.chdir("below")
        os.environ["NEW"] = "1"
        sys.setrecursionlimit(98765)
        np.sqrt = abs
        np.seterr(all="raise")
    assert (os.path.basename(os.getcwd()), os.environ["NEW"], sys.getrecursionlimit()) == ("below", "1", 98765)
    assert np.sqrt is not abs, "the code finds it, and bncheck does not"
    assert left_by(lambda: None) == []
    assert guard.replaced_in_numpy() == ["sqrt"]
    os.environ.pop("NEW")


LIBRARY = """
import os, warnings
os.environ.setdefault("OF_LIBRARY", "1")
warnings.simplefilter("always")
"""


@pytest.mark.usefixtures("_run")
def test_what_a_library_does_when_a_call_first_imports_it_is_not_told(monkeypatch, tmp_path):
    (tmp_path / "bncheck_imports_me.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(tmp_path)

    def act():
        import bncheck_imports_me  # noqa: F401

        assert os.environ["OF_LIBRARY"] == "1"

    first, second = left_by(act), left_by(act)
    assert set(first) & set(second) == set()
    assert second == []
    assert "OF_LIBRARY" not in os.environ
    assert left_by(lambda: os.environ.update(OF_CALL="1")) == ["environment: OF_CALL set after forward"]


@pytest.mark.usefixtures("_run")
def test_what_bncheck_imports_between_calls_stays_and_is_not_told(monkeypatch, tmp_path):
    (tmp_path / "bncheck_imports_me_too.py").write_text(LIBRARY + "import sys; sys.setrecursionlimit(98765)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert left_by(lambda: None) == []
    import bncheck_imports_me_too  # noqa: F401

    assert [how for how in left_by(lambda: None) if "filters" not in how] == []
    assert (os.environ.pop("OF_LIBRARY"), sys.getrecursionlimit()) == ("1", 98765)


@pytest.mark.usefixtures("_run")
def test_what_changes_between_calls_stays_unless_a_call_has_changed_it_before():
    assert left_by(lambda: os.environ.update(NEW="1")) == ["environment: NEW set after forward"]
    os.environ.update(NEW="2", OTHER="2")
    assert left_by(lambda: os.environ.pop("NEW")) == []
    assert "NEW" not in os.environ
    assert os.environ.pop("OTHER") == "2"


@pytest.mark.usefixtures("_place")
def test_the_process_is_after_a_run_as_it_was_before():
    before = state()
    with guard.quiet():
        with guard.quiet(), guard.user_code():
            np.seterr(all="raise")
        left_by(lambda: (os.chdir("below"), np.seterr(all="raise"), warnings.simplefilter("error")))
    assert state() == before


@pytest.mark.usefixtures("_place")
def test_what_changes_between_runs_is_nobody_s_business():
    with guard.quiet():
        left_by(lambda: None)
    with np.printoptions(precision=1), np.errstate(all="raise"):
        os.chdir("below")
        before = state()
        with guard.quiet():
            assert left_by(lambda: None) == []
        assert state() == before


@pytest.mark.usefixtures("_run")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system makes no copies of processes")
def test_a_copy_of_the_process_that_comes_out_of_a_call_ends_there():
    copies = []
    with guard.user_code():
        copies.append(os.fork())
    if copies == [0]:
        os._exit(1)  # it must not run the other tests
    assert os.waitpid(copies[0], 0)[1] == 0


def test_the_name_of_a_class_is_had_whatever_its_metaclass_says():
    class Meta(type):
        def __getattribute__(cls, name):
            raise RuntimeError("no")

    assert guard.class_name(Meta("Odd", (), {})()) == "Odd"
    assert len(guard.class_name(type("O" * 10**6, (), {})())) == 200


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("/home/me/bn.py", True),
        (str(Path(bncheck.__file__).parent / "samples" / "misprinted.py"), True),
        (str(Path(bncheck.__file__).parent / "cli.py"), False),
        ("/home/me/venv/lib/python3.12/site-packages/torch/nn/functional.py", False),
        (np.__file__, False),
    ],
)
def test_what_users_write_is_told_from_what_they_install(file, told):
    assert guard.is_written_file(file) is told
