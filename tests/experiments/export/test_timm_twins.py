"""Named networks that are timm's own: with its weights, the exported folder gives its scores."""

from pathlib import Path

import pytest
import torch

import experiments.export.timm  # noqa: F401, registers the network
from experiments.export.folder import write_exported
from experiments.export.model import untrained_model

timm = pytest.importorskip("timm")

OTHER_NAMES = {
    "mobilenet_v1": "mobilenetv1_100",
    "mobilenet_v2": "mobilenetv2_100",
    "mnasnet_a1": "semnasnet_100",
    "mnasnet_b1": "mnasnet_100",
}
QUICK = ("mnasnet_small",)
TWINS = (
    "resnet18",
    *QUICK,
    *OTHER_NAMES,
    *(f"resnet{n}" for n in (34, 50, 101, 152, 200)),
    *(f"resnext{n}" for n in ("50_32x4d", "101_32x4d", "101_64x4d", "101_32x8d")),
    *(f"densenet{n}" for n in (121, 161, 169, 201)),
    *("inception_v3", "inception_v4", "inception_resnet_v2"),
    *(f"efficientnet_b{n}" for n in range(9)),
    *(f"efficientnet_lite{n}" for n in range(5)),
)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TWINS],
)
def test_local_dir_loads_timms_own_weights_from_our_folder(name, tmp_path):
    torch.manual_seed(0)
    model = OTHER_NAMES.get(name, name)
    theirs = timm.create_model(model, num_classes=5).eval()
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    exported = untrained_model(
        name, num_classes=5, weights=tmp_path / "w.pth", source="timm", source_model=model
    )
    write_exported(exported, tmp_path / "out")
    ours = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        wanted = theirs(images)
        assert (ours(images) - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_the_page_names_every_twin():
    page = Path("docs/export.md").read_text()
    assert [name for name in TWINS if f"`{name}`" not in page] == []
