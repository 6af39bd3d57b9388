"""In-place distillation on CTC posteriors."""

import pytest
import torch

from espnet2_supernet.asr.losses.distill import ctc_distillation
from espnet2_supernet.errors import DataError


def posteriors(seed=0):
    torch.manual_seed(seed)
    teacher = torch.randn(3, 5, 7, requires_grad=True)
    student = torch.randn(3, 5, 7, requires_grad=True)
    return teacher, student, torch.tensor([5, 2, 0])


def test_matches_kl_div_frame_by_frame():
    teacher, student, lengths = posteriors()
    result = ctc_distillation(teacher.log_softmax(-1), student.log_softmax(-1), lengths)
    for b, n in enumerate(lengths.tolist()):
        expected = torch.nn.functional.kl_div(
            student[b, :n].log_softmax(-1),
            teacher[b, :n].log_softmax(-1),
            reduction="sum",
            log_target=True,
        ) / max(n, 1)
        torch.testing.assert_close(result[b], expected)
    assert result[2] == 0


def test_gradient_reaches_the_student_only():
    teacher, student, lengths = posteriors()
    log_probs = student.log_softmax(-1)
    ctc_distillation(teacher.log_softmax(-1), log_probs, lengths).sum().backward()
    assert teacher.grad is None
    gap = student.softmax(-1) - teacher.softmax(-1)
    valid = (torch.arange(5) < lengths[:, None])[..., None]
    expected = (gap * valid / lengths.clamp(min=1)[:, None, None]).detach()
    torch.testing.assert_close(student.grad, expected)


def test_zero_for_equal_posteriors_and_padding_is_ignored():
    teacher, student, lengths = posteriors()
    log_probs = teacher.detach().log_softmax(-1)
    torch.testing.assert_close(ctc_distillation(log_probs, log_probs, lengths), torch.zeros(3))
    student = student.detach().log_softmax(-1)
    poisoned = student.masked_fill((torch.arange(5) >= lengths[:, None])[..., None], float("nan"))
    poisoned.requires_grad_()
    result = ctc_distillation(log_probs, poisoned, lengths)
    torch.testing.assert_close(result, ctc_distillation(log_probs, student, lengths))


def test_tokens_excluded_by_the_teacher_do_not_count():
    teacher, student, lengths = posteriors()
    teacher = teacher.detach().index_fill(2, torch.tensor([3]), -float("inf")).log_softmax(-1)
    result = ctc_distillation(teacher, student.log_softmax(-1), lengths)
    result.sum().backward()
    assert bool(result.isfinite().all()) and bool(student.grad.isfinite().all())


def test_half_precision_is_computed_in_float32():
    teacher, student, lengths = posteriors()
    teacher, student = teacher.log_softmax(-1).half(), student.log_softmax(-1).half()
    result = ctc_distillation(teacher, student, lengths)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, ctc_distillation(teacher.float(), student.float(), lengths))


def test_shapes_that_do_not_fit_are_named():
    teacher, student, lengths = posteriors()
    with pytest.raises(DataError, match=r"float32 \(3, 4, 7\)"):
        ctc_distillation(teacher[:, 1:], student, lengths)
    with pytest.raises(DataError, match=r"int64 \(2,\)"):
        ctc_distillation(teacher, student, lengths[:2])
