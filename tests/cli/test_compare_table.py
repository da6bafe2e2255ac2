"""The table of `sympress compare` on a wide terminal and on a narrow one."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from sympress.cli.report import comparison_table
from sympress.results import Estimate
from sympress.studies.compare import Paired

PAIR = Paired(
    name="balanced",
    seed=0,
    notes=2_010,
    differing=321,
    micro_f1_a=0.711,
    micro_f1_b=0.7,
    macro_difference=Estimate(value=-0.014, low=-0.021, high=-0.007),
    p_macro=0.001,
    micro_difference=Estimate(value=-0.011, low=-0.018, high=-0.004),
    p_micro=0.002,
    p_mcnemar=0.03,
    p_holm=0.001,
)


def shown(width: int, *, narrow: bool) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as caught:
        console.print(comparison_table([PAIR, PAIR], Path("a"), Path("b"), narrow=narrow))
    return caught.get().splitlines()


def test_a_wide_terminal_has_a_line_a_pair():
    lines = [line for line in shown(140, narrow=False) if "balanced" in line]
    assert len(lines) == 2
    assert "2,010" in lines[0]
    assert "−0.011" in lines[0]


def test_a_narrow_terminal_has_a_line_a_number_and_breaks_none():
    lines = shown(80, narrow=True)
    assert max(map(len, lines)) <= 80
    assert sum("balanced · seed 0" in line for line in lines) == 2
    assert any("Δ micro F1" in line and "−0.011 [−0.018, −0.004]" in line for line in lines)
