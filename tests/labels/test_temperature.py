import time

import pytest

from sympress.labels.temperature import find_temperatures

FEVERS = """
Temp: 101.5 F|temperature of 39,2 °C|T 39.2 C|T: 103|T102.4|T-101.2|Tmax 102.4|Tm 101.8|temp max 39.4
T-max 101.9|spiked to 102.3|spiking to 39|febrile to 38.7|fever of 103|fever to 39|temperature 38.9
Temp (F): 101.2|T(C) 38.9|temp 101-102|T 37.2 - 38.9|VS T38.9 P110|VS: 102.2 120/70 88 18
VS 103 118/72 110 22|Vitals: 101.4, 120/70, 88|102 degrees|38.5C rectal|axillary temp of 101
temp up to 104|103.2°F|101.8 F at home|39.4°|102 temp|103.5 fever|Temp 101.2 °F (38.4 °C) (Oral)
Tmax in last 24 hours 101.3|temp this am 101.1|Temp.101.3|BT: 38.5 C|t39.2|Temp 38|T 101.2/98.6
temps 99 to 101.5|T 39.2 HR 120 RR 30|temp 103 x2 days|HR 110 Temp 39.4C RR 20|temp 100.4|Temp:\t102.3
took his temperature just now at home and it read 103.1|oral thermometer 38.4 twice|the thermometer said 104
temperature measured by mother, 102.4|temp under the arm and got 38.8|forehead scanner read 39.2
"""
NONE = """
Temp 98.6|temp 97.9|temperature of 37.0|Wt 70 kg Temp 36.8 HR 70|VS: 98.2 120/70 88 18|Temp src: Oral
Tc 98|98.6F|T 3 N0 M0|T12-L1 pain|T-score -2.5|CD4 T 40%|T bili 1.2|troponin T 0.4|T3 4.2
Temp probe placed|38 F with cough|38 yo male|BP 105/70|HR 104|flexion to 110 degrees|ROM 0 to 105 degrees
O2 98%|VS: 104 120/70 18|weight 103.1 kg|water temp 102|room temp 102|T 40 mg|temp below 101|39 year old
don't 101|37 C incubator|incubated at 40 C|T 100.3|temp 99.5-100.2|Temp 98.6, HR 102, RR 20
T 98.7 P 104 BP 110/70|Temp 97.8 F (36.6 C)|glucose 101.5|Temp 36.6, 39 weeks|P 101 temp 98.6
temperature of 80 degrees for 90 seconds|saturation 100% on room air with temperature of 99.3
thermometer read 36.9|BP was taken and it read 104|water thermometer 104|Temp normal, HR later 104
weight, it read 103
"""


def listed(lines: str) -> list[str]:
    return [text for line in lines.strip().splitlines() for text in line.split("|")]


@pytest.mark.parametrize("text", listed(FEVERS))
def test_a_high_temperature_is_a_fever(text: str) -> None:
    found = find_temperatures(text)
    assert [one.fever for one in found].count(True) == 1
    assert all(38.0 <= one.celsius < 43.5 for one in found if one.fever)


@pytest.mark.parametrize("text", listed(NONE))
def test_a_normal_temperature_and_any_other_number_is_none(text: str) -> None:
    assert not any(one.fever for one in find_temperatures(text))


@pytest.mark.parametrize(
    ("text", "celsius"),
    [
        ("T 38.0", 38.0),
        ("Temp 100.4", 38.0),
        ("temp 101-102", 38.89),
        ("T 37.2 - 38.9", 38.9),
        ("Temp 98.6", 37.0),
        ("Temp 101.2 F (38.4 C)", 38.44),
    ],
)
def test_the_value_is_in_celsius_and_of_a_range_the_highest(text: str, celsius: float) -> None:
    (found,) = find_temperatures(text)
    assert found.celsius == celsius


def test_a_temperature_spans_what_introduces_it_and_its_unit() -> None:
    text = "Seen at 3 pm. Temp: 101.5 F, HR 88"
    (found,) = find_temperatures(text)
    assert text[found.start : found.end] == "Temp: 101.5 F"


@pytest.mark.parametrize(
    "text", ["T > 101", "temp over 102", "Temp 101 or higher", "temperature greater than 101.5"]
)
def test_a_bound_is_marked(text: str) -> None:
    (found,) = find_temperatures(text)
    assert found.threshold
    assert found.fever


def test_a_span_of_time_is_no_bound() -> None:
    (found,) = find_temperatures("temperature over the past 24 hours was 101.1")
    assert not found.threshold


def test_a_word_for_fever_is_told_from_a_reading() -> None:
    assert [one.named for one in find_temperatures("fever of 103. Temp 103")] == [True, False]


@pytest.mark.parametrize("piece", ["Temp 101.2 ", "101 102 103 ", "T ", "a 39 b ", "temp " * 20 + "39 "])
def test_the_time_grows_with_the_text(piece: str) -> None:
    def seconds(count: int) -> float:
        text = piece * (count // len(piece))
        start = time.process_time()
        find_temperatures(text)
        return time.process_time() - start

    assert min(seconds(120_000) for _ in range(2)) < 12 * min(seconds(15_000) for _ in range(3)) + 0.02
