"""Getting the user's code in: packages, neighbours, files that are scripts too, odd names and encodings."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
import types

import numpy as np
import pytest

from bncheck.adapters import resolve
from bncheck.adapters.clock import SECONDS
from bncheck.adapters.loading import Source, load, parse
from bncheck.errors import TargetError
from bncheck.model import TargetSpec

NUMPY = "import numpy as np\n"
PAIR = """
def bn_forward(x, gamma, beta):
    std = np.sqrt(x.var(axis=0) + EPS)
    xhat = (x - x.mean(axis=0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)

def bn_backward(dout, cache):
    xhat, std, gamma = cache
    g = dout * gamma
    dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""
RIGHT = NUMPY + "EPS = 1e-3\n" + PAIR


@pytest.fixture
def put(tmp_path):
    def _put(file, source):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        return path

    return _put


def loaded(path, name="", **how):
    return load(Source(str(path), name, True), **how)


def forward(namespace):
    x = np.arange(6.0).reshape(3, 2)
    return namespace.things["bn_forward"](x, np.ones(2), np.zeros(2))[0]


def eps_found(path):
    return resolve.cards(TargetSpec(str(path)))[0].conventions.eps


# ------------------------------------------------------------------------------------------------------------- packages


def test_relative_imports_without_an_init(put):
    put("pkg/constants.py", "EPS = 1e-3\n")
    path = put("pkg/norms/bn.py", NUMPY + "from ..constants import EPS\n" + PAIR)
    assert eps_found(path) == 1e-3


def test_relative_imports_inside_a_function_are_climbed_for_too(put):
    put("pkg/norms/__init__.py", "")
    put("pkg/constants.py", "EPS = 1e-3\n")
    inside = PAIR.replace("    std = np", "    from ..constants import EPS\n    std = np")
    assert forward(loaded(put("pkg/norms/bn.py", NUMPY + inside))).shape == (3, 2)


def test_a_folder_whose_name_is_no_module_name(put):
    put("week 2-norms/constants.py", "EPS = 1e-3\n")
    path = put("week 2-norms/my-bn (1).py", NUMPY + "from .constants import *\n" + PAIR)
    assert eps_found(path) == 1e-3


@pytest.mark.parametrize("init", ["1 / 0\n", "import not_there_at_all.either\n", "def f(:\n", "raise SystemExit(3)\n"])
def test_an_init_that_fails_does_not_matter(put, init):
    put("failing_pkg/__init__.py", init)
    put("failing_pkg/constants.py", "EPS = 1e-3\n")
    assert eps_found(put("failing_pkg/bn.py", NUMPY + "from .constants import EPS\n" + PAIR)) == 1e-3


def test_an_init_that_passes_the_target_on(put):
    put("passing_pkg/__init__.py", "from .bn import *\n")
    put("passing_pkg/constants.py", "EPS = 1e-3\n")
    assert eps_found(put("passing_pkg/bn.py", NUMPY + "from .constants import EPS\n" + PAIR)) == 1e-3


def test_a_package_in_a_folder_above_the_target(put):
    put("my_project/constants.py", "EPS = 1e-3\n")
    path = put("my_project/norms/bn.py", NUMPY + "from my_project.constants import EPS\n" + PAIR)
    assert eps_found(path) == 1e-3


def test_a_package_that_is_imported_in_lower_case(put):
    put("MyProject/constants.py", "EPS = 1e-3\n")
    put("MyProject/Helpers/plain.py", "ONE = 1\n")
    imports = "from myproject.constants import EPS\nfrom myproject.helpers.Plain import ONE\n"
    path = put("MyProject/norms/bn.py", NUMPY + imports + PAIR)
    card = resolve.cards(TargetSpec(str(path)))[0]
    assert card.conventions.eps == 1e-3
    assert "myproject is taken from MyProject, which is spelled otherwise" in card.conventions.notes


def test_a_module_may_be_named_like_a_file():
    assert parse("package.module::name") == Source("package.module", "name", False)
    assert parse("package.py::name") == Source("package.py", "name", True)


def test_two_folders_may_have_neighbours_of_the_same_name(put):
    for folder, eps in (("one", 1e-3), ("two", 1e-2)):
        put(f"{folder}/constants_beside.py", f"EPS = {eps}\n")
        path = put(f"{folder}/bn.py", NUMPY + "from constants_beside import EPS\n" + PAIR)
        assert eps_found(path) == eps


def test_circular_imports_meet_the_same_module(put):
    put("circle_other.py", "import circle_bn\ndef eps(): return circle_bn.EPS\n")
    source = RIGHT.replace("+ EPS", "+ circle_other.eps()") + "import circle_other\n"
    namespace = loaded(put("circle_bn.py", source))
    forward(namespace)
    assert sys.modules["circle_bn"] is namespace.module


@pytest.mark.parametrize("where", [".", "src"])
def test_a_module_below_the_current_folder(put, tmp_path, monkeypatch, where):
    name = f"layers_of_{'src' if where == 'src' else 'here'}"
    put(f"{where}/{name}/__init__.py", "")
    put(f"{where}/{name}/bn.py", RIGHT)
    monkeypatch.chdir(tmp_path)
    assert "bn_forward" in load(parse(f"{name}.bn:bn_forward")).things


def test_a_class_that_a_module_only_passes_on(put, tmp_path, monkeypatch):
    put("passed_inner.py", "class BatchNorm:\n    def forward(self, x): return x\n")
    put("passed_outer.py", "from passed_inner import BatchNorm\ndef other(): pass\n")
    monkeypatch.chdir(tmp_path)
    assert "BatchNorm" in load(parse("passed_outer:BatchNorm")).things
    assert "BatchNorm" in load(parse("passed_outer.py::BatchNorm")).things


# ------------------------------------------------------------------------------------------- files that are scripts too


@pytest.mark.parametrize(
    "script",
    [
        "while True: pass",
        "import time\nfor i in range(1000): time.sleep(1)",
        "import time\ntime.sleep(100)",
        "def train():\n    while True: pass\ntrain()",
        "import sys\nsys.exit(1)",
        "raise RuntimeError('no')",
        "data = open('not-there/data_batch_1').read()",
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('x')\nargs = p.parse_args()",
        "assert False",
        "x = input()",
        "1 / 0",
    ],
)
def test_what_a_script_does_is_left_out(put, script):
    start = time.monotonic()
    assert forward(loaded(put("bn.py", RIGHT + script + "\n"))).shape == (3, 2)
    assert time.monotonic() - start < 1.0


def test_a_script_is_noted_with_its_line(put):
    assert loaded(put("bn.py", RIGHT + "\nfor i in range(3): print(i)\n")).notes == (
        "only the definitions of bn.py were run: its top level trains, plots or reads data (line 15)",
    )


def test_a_statement_that_raises_is_noted_with_its_line(put):
    (note,) = loaded(put("bn.py", RIGHT.replace("EPS = 1e-3", "EPS = 1e-3\nDATA = [][0]"))).notes
    assert note == (
        "only the definitions of bn.py were run: its top level raises IndexError (list index out of range) in line 3"
    )


@pytest.mark.parametrize(
    "quiet", ["print('hello')", "import sys; sys.path.append('..')", "np.random.seed(0)", "'text'"]
)
def test_what_harms_nobody_is_not_noted(put, quiet):
    assert loaded(put("bn.py", RIGHT + quiet + "\n")).notes == ()


def test_definitions_behind_what_fails_are_there(put):
    assert "bn_forward" in loaded(put("bn.py", "open('not-there')\n" + RIGHT)).things


@pytest.mark.parametrize(
    "state",
    [
        "def make(): return 1e-3\nEPS = make()\n",
        "class Config: pass\nconfig = Config()\nconfig.eps = 1e-3\nEPS = config.eps\n",
        "table = {}\nfor name in ('a', 'EPS'): table[name] = 1e-3\nEPS = table['EPS']\n",
        "def fill(t): t['EPS'] = 1e-3\ntable = {}\nfill(table)\nEPS = table['EPS']\n",
        "def setup():\n    global EPS\n    EPS = 1e-3\nsetup()\n",
        "exec('EPS = 1e-3')\n",
        "globals().update(EPS=1e-3)\n",
        "try:\n    EPS = float('no')\nexcept ValueError:\n    EPS = 1e-3\n",
        "if True:\n    EPS = 1e-3\nelse:\n    EPS = 2\n",
        "from argparse import *\np = ArgumentParser()\np.add_argument('--e', default=1e-3)\nEPS = p.parse_args().e\n",
        "for EPS in (1, 2, 1e-3): pass\n",
    ],
)
def test_state_that_batch_norm_needs_is_made(put, state):
    script = "\nwhile True: pass\n"
    assert eps_found(put("bn.py", NUMPY + state + PAIR + script)) == 1e-3


def test_a_method_that_is_put_into_the_class_afterwards(put):
    source = NUMPY + "class BatchNorm: pass\ndef forward(self, x): return x\nsetattr(BatchNorm, 'forward', forward)\n"
    assert hasattr(loaded(put("bn.py", source)).things["BatchNorm"], "forward")


def test_state_that_takes_minutes_is_stopped_and_told(put, monkeypatch):
    monkeypatch.setattr("bncheck.adapters.clock.SECONDS", 0.2)
    slow = "def make():\n    while True:\n        try: pass\n        except Exception: pass\n"
    with pytest.raises(TargetError, match=r"EPS should be set in line 6 of bn.py, which takes more than .* seconds"):
        resolve.cards(TargetSpec(str(put("bn.py", NUMPY + slow + "EPS = make()\n" + PAIR))))
    assert SECONDS <= 10


def test_a_missing_global_tells_its_story(put):
    source = NUMPY + "EPS = float(open('not-there.txt').read())\n" + PAIR
    with pytest.raises(TargetError, match=r"EPS should be set in line 2 of bn.py, which raises FileNotFoundError"):
        resolve.cards(TargetSpec(str(put("bn.py", source))))


def test_a_story_goes_on_through_what_depends_on_it(put):
    source = NUMPY + "data = open('not-there.txt').read()\nEPS = data * 2\n" + PAIR
    with pytest.raises(TargetError, match=r"data should be set in line 2 of bn.py"):
        resolve.cards(TargetSpec(str(put("bn.py", source))))


def test_main_is_not_run(put):
    assert loaded(put("bn.py", RIGHT + "if __name__ == '__main__':\n    raise SystemExit\n")).notes == ()


def test_a_neighbour_that_trains_on_import(put):
    put("trains_on_import.py", RIGHT + "while True: pass\n")
    namespace = loaded(put("uses_it.py", "from trains_on_import import bn_forward, bn_backward\n"))
    assert forward(namespace).shape == (3, 2)


def test_what_is_asked_of_a_neighbour_is_made(put):
    put("computes_eps.py", "def make(): return 1e-3\neps = make()\nother = make()\nwhile True: pass\n")
    assert eps_found(put("uses_eps.py", NUMPY + "from computes_eps import eps as EPS\n" + PAIR)) == 1e-3


def test_what_a_second_neighbour_asks_for_is_made_too(put):
    put("computes_both.py", "def make(): return 1e-3\none = make()\ntwo = make()\n")
    put("wants_one.py", "from computes_both import one\n")
    put("wants_two.py", "from computes_both import two\n")
    source = NUMPY + "from wants_one import one\nfrom wants_two import two as EPS\n" + PAIR
    assert eps_found(put("uses_both.py", source)) == 1e-3


def test_what_only_a_neighbours_own_script_needs_is_not_made(put):
    source = RIGHT + "def load():\n    while True: pass\nDATA = load()\ndef train(): return DATA\n"
    put("trains_with_data.py", source)
    start = time.monotonic()
    loaded(put("uses_trainer.py", "from trains_with_data import bn_forward, bn_backward\n"))
    assert time.monotonic() - start < 1.0


def test_an_import_inside_a_function_finds_the_neighbour(put):
    put("late_constants.py", "EPS = 1e-3\nwhile True: pass\n")
    source = NUMPY + PAIR.replace("    std = np", "    from late_constants import EPS\n    std = np")
    assert eps_found(put("bn.py", source)) == 1e-3


def test_a_file_called_torch_is_not_found_by_others(put):
    installed = importlib.util.find_spec("torch")
    loaded(put("torch.py", RIGHT))
    assert importlib.util.find_spec("torch") == installed


def test_a_file_is_run_once_whatever_is_asked_of_it(put):
    path = put("bn.py", RIGHT)
    assert loaded(path).module is loaded(path, "bn_forward").module


def test_the_arguments_of_bncheck_are_not_the_scripts(put):
    before = list(sys.argv)
    namespace = loaded(put("bn.py", "import sys\nARGUMENTS = list(sys.argv)\n" + RIGHT))
    assert namespace.module.ARGUMENTS == [str(namespace.module.__file__)]
    assert sys.argv == before


# ---------------------------------------------------------------------------------------------------- names, encodings


@pytest.mark.parametrize("name", ["my bn.py", "my-bn.py", "2bn.py", "bn.v2.py", "bn(1).py", "größe.py"])
def test_names_of_files(put, name):
    assert eps_found(put(name, RIGHT)) == 1e-3


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + RIGHT.encode(),
        b"# -*- coding: latin-1 -*-\n# gr\xf6\xdfe\n" + RIGHT.encode(),
        RIGHT.replace("\n", "\r\n").encode(),
        RIGHT.encode() + b"\n\x0c\n",
    ],
    ids=["BOM", "latin-1", "CRLF", "form feed"],
)
def test_encodings(put, text):
    assert eps_found(put("bn.py", text)) == 1e-3


def test_the_future_is_imported_for_all_statements(put):
    source = "from __future__ import annotations\n" + RIGHT.replace("(x, gamma, beta)", "(x: undefined, gamma, beta)")
    assert eps_found(put("bn.py", source)) == 1e-3


@pytest.mark.parametrize("name", ["numpy", "torch", "test", "random", "scipy", "json"])
def test_a_file_does_not_shadow_the_library_of_its_name(put, name):
    before = sys.modules.get(name)
    assert eps_found(put(f"{name}.py", "import numpy\nimport random, json\n" + RIGHT)) == 1e-3
    assert sys.modules.get(name) is before


def test_a_neighbour_does_not_shadow_numpy(put):
    put("numpy.py", "raise RuntimeError\n")
    assert eps_found(put("bn.py", RIGHT)) == 1e-3


def test_a_symlink_finds_the_neighbours_of_the_file(put, tmp_path):
    put("real/constants_of_real.py", "EPS = 1e-3\n")
    path = put("real/bn.py", NUMPY + "from constants_of_real import EPS\n" + PAIR)
    os.symlink(path, tmp_path / "link.py")
    assert eps_found(tmp_path / "link.py") == 1e-3


@pytest.mark.parametrize("line", ["print 'x'", "print x", "exec 'x'", "raise ValueError, 'x'", "x = 1 <> 2"])
def test_python_2_is_named(put, line):
    with pytest.raises(TargetError, match="It looks like Python 2"):
        loaded(put("bn.py", f"import os\n{line}\n"))


def test_a_syntax_error_of_today_is_not_called_python_2(put):
    with pytest.raises(TargetError) as caught:
        loaded(put("bn.py", "def f(:\n"))
    assert "Python 2" not in str(caught.value)


def test_functions_know_their_source(put):
    import inspect

    assert inspect.getsource(loaded(put("bn.py", RIGHT)).things["bn_forward"]).startswith("def bn_forward")


def test_nothing_is_left_behind(put, tmp_path):
    finders = [finder for finder in sys.meta_path if type(finder).__name__ != "OwnFinder"]
    put("neighbour_left.py", "import not_installed_anywhere\n")
    loaded(put("bn.py", "import neighbour_left, not_installed_too\n" + RIGHT))
    assert [f for f in sys.meta_path if type(f).__name__ != "OwnFinder"] == finders
    assert str(tmp_path) not in sys.path
    assert "not_installed_too" not in sys.modules
    assert "MPLBACKEND" not in os.environ
    assert not list(tmp_path.glob("**/__pycache__"))


@pytest.mark.parametrize(("line", "asked"), [("import keras", 1), ("from keras import ops", 1), ("# import keras", 0)])
def test_the_backend_of_keras_is_chosen_before_keras_is_imported(put, monkeypatch, line, asked):
    calls = []
    module = types.SimpleNamespace(prepare=lambda: calls.append("keras" in sys.modules))
    monkeypatch.setitem(sys.modules, "bncheck.adapters.keras_code", module)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    loaded(put("bn.py", f"def needs():\n    {line}\n    return 1\n{line}\n"))
    assert calls == [False] * asked


def test_a_backend_of_keras_that_is_chosen_stays(put, monkeypatch):
    module = types.SimpleNamespace(prepare=lambda: pytest.fail("it was chosen"))
    monkeypatch.setitem(sys.modules, "bncheck.adapters.keras_code", module)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    loaded(put("bn.py", "def needs():\n    import keras\n"))


@pytest.mark.parametrize(("there", "said"), [(8, "n6.ipynb, n7.ipynb."), (10, "n6.ipynb, n7.ipynb and 2 more.")])
def test_of_many_files_beside_one_that_is_not_there_the_first_are_named(tmp_path, there, said):
    for number in range(there):
        (tmp_path / f"n{number}.ipynb").write_text("")
    with pytest.raises(TargetError) as caught:
        resolve.cards(TargetSpec(f"{tmp_path / 'absent.ipynb'}"))
    assert str(caught.value).endswith(said)


@pytest.mark.parametrize("name", ["bn_forward", "BatchNorm.forward", ""])
def test_one_colon_behind_a_file_is_asked_about(tmp_path, name):
    with pytest.raises(TargetError) as caught:
        load(parse(f"{tmp_path}/layers.py:{name}"))
    assert str(caught.value) == f"{tmp_path}/layers.py:{name} is not there. Did you mean {tmp_path}/layers.py::{name}?"
