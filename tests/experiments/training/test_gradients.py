import pytest
import torch
import torch.nn.functional as F

from experiments.config.recipe import TrainConfig
from experiments.training.gradients import make_loss

SCORES = torch.tensor([[2.0, 0.5, -1.0], [0.0, 0.0, 0.0]])
LABELS = torch.tensor([0, 2])


@pytest.mark.parametrize("name", ["cross_entropy", "focal", "mse"])
def test_labels_and_their_one_hot_shares_are_the_same_target(name):
    loss = make_loss(TrainConfig(loss=name))
    shares = F.one_hot(LABELS, 3).float()
    assert loss(SCORES, LABELS).item() == pytest.approx(loss(SCORES, shares).item())


def test_focal_loss_without_gamma_is_cross_entropy():
    focal = make_loss(TrainConfig(loss="focal", focal_gamma=0))
    plain = make_loss(TrainConfig(loss="cross_entropy"))
    assert focal(SCORES, LABELS).item() == pytest.approx(plain(SCORES, LABELS).item())


def test_focal_loss_by_hand():
    loss = make_loss(TrainConfig(loss="focal", focal_gamma=2, label_smoothing=0))
    right = torch.tensor([0.785597, 1 / 3])  # softmax of the right class
    assert loss(SCORES, LABELS).item() == pytest.approx(
        (-((1 - right) ** 2) * right.log()).mean().item(), rel=1e-4
    )


def test_mse_is_of_scores_and_one_hot():
    loss = make_loss(TrainConfig(loss="mse", label_smoothing=0))
    assert loss(SCORES, LABELS).item() == pytest.approx((1 + 0.25 + 1 + 0 + 0 + 1) / 6)
