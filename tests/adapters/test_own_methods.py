"""Which methods of a layer's own switch the mode, and which only read as if they did."""

import contextlib

import pytest

from bncheck.adapters.own_methods import changed_by_method, own_methods, turned
from bncheck.adapters.places import Place


class Switched:
    mode = None

    def train(self, mode=True):
        self.mode = mode
        return self

    def eval(self):
        return self.train(mode=False)


class Named:
    def set_train(self):
        self.mode = True

    def set_test_mode(self):
        self.mode = False


class Asked:
    def is_training(self):
        return self.mode

    def is_testing(self):
        return not self.mode


class Entered:
    @contextlib.contextmanager
    def train_mode(self):
        self.mode = True
        yield

    @contextlib.contextmanager
    def eval_mode(self):
        self.mode = False
        yield


class Busy:
    def train(self, data):
        self.mode = data

    def test(self, data):
        self.mode = data


class One(Switched):
    eval = None


class Hooks:
    def train(self):
        pass

    def eval(self):
        """Left to those who need it."""


class Below(Hooks):
    pass


@pytest.mark.parametrize("cls", [Switched, type("Derived", (Switched,), {})])
def test_train_and_eval_switch_the_mode(cls):
    layer = cls()
    assert own_methods(cls) == {True: "train", False: "eval"}
    assert (turned(layer, train=False), layer.mode) == ("eval()", False)
    assert (turned(layer, train=True), layer.mode) == ("train()", True)


def test_other_words_for_the_modes_are_understood():
    assert own_methods(Named) == {True: "set_train", False: "set_test_mode"}


@pytest.mark.parametrize("cls", [Asked, Entered, Busy, One, Below], ids=lambda cls: cls.__name__)
def test_what_asks_for_the_mode_or_does_something_else_is_no_switch(cls):
    assert own_methods(cls) == {}


def test_methods_without_anything_in_them_count_where_the_layer_itself_has_them():
    assert own_methods(Hooks) == {True: "train", False: "eval"}


def test_a_method_that_answers_a_question_has_not_switched():
    layer = type("Layer", (Switched,), {"eval": lambda self: 0.9})()  # the accuracy of a model, say
    assert turned(layer, train=False) == ""


class Also(Switched):
    def learn(self, lr=0.1):
        self.gamma -= lr * self.dgamma

    def test(self):
        assert self.mode is not None


def test_what_else_reads_as_a_mode_is_none_beside_train_and_eval():
    assert own_methods(Also) == {True: "train", False: "eval"}


class Parameter:
    def __init__(self, data):
        self.data, self.version = data, 0

    def put(self, data):
        self.data, self.version = data, self.version + 1


@pytest.mark.parametrize(("key", "told"), [("data", True), ("version", True), ("grad", False)])
def test_a_parameter_that_a_method_changes_is_told(key, told):
    place = Place(Parameter(1.0), key, (key,))
    assert changed_by_method(place, object(), ()) is told
    assert not changed_by_method(place, object(), ("put",))


@pytest.mark.parametrize(("cls", "told"), [(Also, False), (type("Steps", (), {"step": Also.learn}), True)])
def test_parameters_in_a_dict_are_changed_by_what_reads_as_a_step(cls, told):
    assert changed_by_method(Place({}, "gamma", ("gamma",)), cls(), ("learn",)) is told
