from __future__ import annotations

import numpy as np
import pytest

from bncheck.guard import describe


def caught(function):
    with pytest.raises(BaseException) as info:  # noqa: PT011
        function()
    return info.value


def fault(tmp_path, body):
    path = tmp_path / "my_bn.py"
    path.write_text(body)
    space = {"np": np}
    exec(compile(body, str(path), "exec"), space)
    return describe(caught(space["f"]), "backward")


def test_kind_message_and_line(tmp_path):
    found = fault(tmp_path, "def g():\n    raise ValueError('bad shape')\n\ndef f():\n    g()\n")
    assert (found.stage, found.kind, found.message, found.where) == (
        "backward",
        "ValueError",
        "bad shape",
        "my_bn.py:2",
    )


def test_the_users_line_not_numpys(tmp_path):
    assert fault(tmp_path, "def f():\n    np.linalg.inv(np.zeros((2, 3)))\n").where == "my_bn.py:2"


def test_the_users_line_not_pythons(tmp_path):
    assert fault(tmp_path, "import json\ndef f():\n    json.loads('{')\n").where == "my_bn.py:3"


def test_exits_and_empty_messages(tmp_path):
    assert fault(tmp_path, "import sys\ndef f():\n    sys.exit(3)\n").kind == "SystemExit"
    assert fault(tmp_path, "def f():\n    assert False\n").message == ""


def test_a_long_message_is_cut_to_one_line(tmp_path):
    message = fault(tmp_path, "def f():\n    raise ValueError('\\n' + 'x' * 500 + '\\nmore')\n").message
    assert len(message) == 200
    assert message.endswith("x...")


def test_a_message_that_cannot_be_shown(tmp_path):
    body = "class E(Exception):\n    def __str__(self): raise RuntimeError\ndef f():\n    raise E\n"
    assert "cannot be shown" in fault(tmp_path, body).message


def test_no_users_line_at_all():
    assert describe(ValueError("x"), "forward").where == ""
