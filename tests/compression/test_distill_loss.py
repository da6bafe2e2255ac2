"""The distillation loss: zero where it must be, of the published size, with T² in the right place."""

from __future__ import annotations

import math

import pytest
import torch

from sympress.training.losses import loss_of

TASKS = ["topic", "present"]


def random_logits(seed: int, size: float = 3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return size * torch.randn((6, 5), generator=generator)


def one_hot(rows: int = 6, symptoms: int = 5) -> torch.Tensor:
    return torch.eye(symptoms)[torch.arange(rows) % symptoms]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_loss_and_gradient_are_zero_when_the_student_equals_the_teacher(task: str, temperature: float):
    teacher = random_logits(0)
    student = teacher.clone().requires_grad_()
    loss = loss_of(task).soft_targets(student, teacher, temperature)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    torch.testing.assert_close(student.grad, torch.zeros_like(teacher), atol=1e-6, rtol=0)


@pytest.mark.parametrize("task", TASKS)
def test_loss_is_positive_for_any_other_student(task: str):
    for seed in range(1, 20):
        assert loss_of(task).soft_targets(random_logits(seed), random_logits(0), 4.0).item() > 0


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_topic_loss_of_a_hand_computed_note(temperature: float):
    # softened teacher (1/4, 3/4), student (1/2, 1/2): KL = 1/4 ln(1/2) + 3/4 ln(3/2)
    teacher = torch.tensor([[0.0, temperature * math.log(3)]])
    expected = (0.25 * math.log(0.5) + 0.75 * math.log(1.5)) * temperature**2
    assert loss_of("topic").soft_targets(torch.zeros(1, 2), teacher, temperature).item() == pytest.approx(
        expected
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_present_loss_of_a_hand_computed_note(temperature: float):
    # two symptoms, each a Bernoulli of 3/4 against 1/2; the second note agrees and halves the mean
    teacher = torch.tensor([[temperature * math.log(3)] * 2, [0.0, 0.0]])
    one = (0.25 * math.log(0.5) + 0.75 * math.log(1.5)) * temperature**2
    loss = loss_of("present").soft_targets(torch.zeros(2, 2), teacher, temperature)
    assert loss.item() == pytest.approx(2 * one / 2)


@pytest.mark.parametrize("task", TASKS)
def test_gradient_does_not_shrink_with_the_temperature(task: str):
    sizes = []
    for temperature in (4.0, 16.0):
        student = random_logits(1, size=0.2).requires_grad_()
        loss_of(task).soft_targets(student, random_logits(0, size=0.2), temperature).backward()
        sizes.append(student.grad.norm().item())
    assert sizes[0] / sizes[1] == pytest.approx(1.0, abs=0.02)


def test_gradient_at_a_high_temperature_matches_logits():
    """Hinton et al. 2015, eq. 4: (z - v - mean(z - v)) / K, here averaged over the notes."""
    student, teacher = random_logits(1, size=0.5).requires_grad_(), random_logits(0, size=0.5)
    loss_of("topic").soft_targets(student, teacher, 500.0).backward()
    gap = student.detach() - teacher
    expected = (gap - gap.mean(1, keepdim=True)) / 5 / 6
    torch.testing.assert_close(student.grad, expected, atol=1e-3, rtol=2e-2)


@pytest.mark.parametrize("task", TASKS)
def test_extreme_logits_stay_finite(task: str):
    student = torch.tensor([[500.0, -500.0]], requires_grad=True)
    loss = loss_of(task).soft_targets(student, torch.tensor([[-500.0, 500.0]]), 1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


def test_label_losses_of_hand_computed_notes():
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]])
    assert loss_of("topic")(logits, targets, None).item() == pytest.approx(
        (math.log(2) + math.log(4 / 3)) / 2
    )
    # note 1: ln 2 twice; note 2: ln 2 for the absent symptom, ln(4/3) for the present one
    assert loss_of("present")(logits, targets, None).item() == pytest.approx(
        (3 * math.log(2) + math.log(4 / 3)) / 2
    )


def test_probabilities_are_softmax_or_sigmoid():
    logits = torch.tensor([[0.0, math.log(3)]])
    torch.testing.assert_close(loss_of("topic").probabilities(logits), torch.tensor([[0.25, 0.75]]))
    torch.testing.assert_close(loss_of("present").probabilities(logits), torch.tensor([[0.5, 0.75]]))
