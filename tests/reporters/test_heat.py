"""The picture of an error: which elements are marked, and how strongly, with no colour to see."""

import math

from bncheck.reporters.heat import channel_bars, heat_map
from bncheck.reporters.specimen import compare


def lines(shape, want, got, room=76):
    return [str(line) for line in heat_map(compare("dx", "reference", shape, tuple(want), tuple(got)), room, most=8)]


def test_one_line_per_channel_and_one_sign_per_element():
    one, two = lines((3, 2), [0] * 6, [0, 1, 0, 0.04, 0, 0.004])
    assert (one[:15], two[:15]) == ("channel 0 │...│", "channel 1 │█▒░│")


def test_spatial_elements_follow_one_another():
    assert lines((2, 1, 2), [0] * 4, [0, 1, 0, 0.2]) == ["channel 0 │.█.▓│"]


def test_parameters_have_one_element_per_channel():
    assert [line[:13] for line in lines((2,), [1, 1], [1, 2])] == ["channel 0 │.│", "channel 1 │█│"]


def test_each_of_several_channels_has_a_bar_as_long_as_its_error_is_large():
    drawn = lines((2, 4), [0] * 8, [0, 4, 1, 0.001, 0, 0, 2, 0])
    bars = ["within bounds", "████████ 4", "████     2", "█        0.001"]
    assert [line.partition("│  ")[2] for line in drawn] == bars
    assert [line.partition("│  ")[2] for line in lines((2,), [0, 0], [math.nan, 3])] == ["████████ inf", "█        3"]
    assert max(map(len, lines((300, 2), [0.0] * 600, [1.23e-10] * 600, room=40))) <= 40


def test_bars_of_channels_stand_on_one_line_where_the_numbers_are_seen():
    drawn = compare("dx", "reference", (2, 4), (0.0,) * 8, (0.0, 4.0, 1.0, 0.001, 0.0, 0.0, 2.0, 0.0))
    assert str(channel_bars(drawn)) == "error of dx by channel  .█▄▁  up to 4 in channel 1"
    assert channel_bars(compare("dx", "reference", (2, 1), (0.0,) * 2, (0.0, 4.0))) is None
    assert channel_bars(compare("dgamma", "reference", (1,), (0.0,), (4.0,))) is None
    of_parameters = channel_bars(compare("dgamma", "reference", (3,), (0.0,) * 3, (1.0, 0.0, 4.0)))
    assert str(of_parameters) == "error of dgamma by channel  ▂.█  up to 4 in channel 2"
    assert channel_bars(compare("dgamma", "reference", (), (0.0,), (4.0,))) is None
    endless = compare("dx", "reference", (1, 2), (0.0,) * 2, (math.inf, 4.0))
    assert str(channel_bars(endless)) == "error of dx by channel  █▁  up to inf in channel 0"


def test_what_is_not_finite_is_as_wrong_as_can_be():
    assert lines((3, 1), [0, 0, 0], [math.nan, 1, math.inf]) == ["channel 0 │███│"]


def test_many_elements_are_put_together_and_the_worst_is_shown():
    got = [0.0] * 300
    got[299] = 1.0
    (line,) = lines((300, 1), [0.0] * 300, got, room=40)
    assert len(line) <= 40
    assert line.endswith(".█│")
    pictured = lines((1, 100), [0.0] * 100, [0.0] * 99 + [1.0])
    assert len(pictured) == 8
    assert pictured[-1].startswith("channels 91 to 99 │█│")


def test_tensors_of_other_shapes_have_no_picture():
    wrong = compare("dx", "reference", (2,), (1.0, 2.0), (1.0, 2.0))
    other = compare("dx", "reference", (1,), (1.0,), (1.0,))
    assert list(heat_map(type(wrong)("dx", "reference", wrong.expected, other.found, wrong.allowed), 76, 8)) == []
