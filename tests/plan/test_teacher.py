"""Teachers: their labels are made once for teacher, data and side, and kept."""

import torch

from effbench.plan.teacher import Teacher, TeacherRequest

CPU = torch.device("cpu")


def kept_in(kept):
    def keep(name, make):
        if name not in kept:
            kept[name] = make()
        return kept[name]

    return keep


def test_labels_are_the_outputs_for_every_training_example_and_are_made_once(toy_data, toy_network):
    network, asked, kept = toy_network().eval(), [], {}
    teacher = Teacher(key="t", side=8, network=lambda: asked.append(1) or network, keep=kept_in(kept))
    logits = teacher.logits(toy_data, device=CPU)
    images, _ = next(toy_data.batches("train", side=8, batch_size=1000))
    with torch.no_grad():
        torch.testing.assert_close(logits, network(images), rtol=1e-4, atol=1e-5)
    assert logits.shape == (203, 4)
    assert teacher.logits(toy_data, device=CPU) is logits
    assert asked == [1]


def test_labels_belong_to_teacher_data_and_side(toy_data, make_toy_data):
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(4, 4))
    kept = {}
    for key, data, side in [
        ("a", toy_data, 8),
        ("b", toy_data, 8),
        ("a", make_toy_data(seed=1), 8),
        ("a", toy_data, 6),
    ]:
        for _ in range(2):
            Teacher(key=key, side=side, network=lambda: network, keep=kept_in(kept)).logits(data, device=CPU)
    assert len(kept) == 4


def test_a_request_leaves_to_the_reference_what_it_does_not_say():
    request = TeacherRequest(name="reference")
    assert (request.alpha, request.fraction, request.epochs, request.seed, request.augment) == (None,) * 5
