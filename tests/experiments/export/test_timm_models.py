"""What timm's own tests ask of every convolutional network, asked of ours."""

import math

import pytest
import timm
import torch
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

import experiments.export.timm  # noqa: F401, registers the networks

_QUICK = ["cifar_resnet20", "mobilenet_v2"]
_MORE = [
    *("vgg11", "vgg11_lrn", "vgg16_bn", "googlenet", "googlenet_aux", "bn_inception"),
    *("inception_v3", "inception_v3_aux", "inception_v4", "inception_resnet_v2"),
    *("resnet18", "resnet50", "resnet50_v1", "resnet18_a", "resnet34_c", "plain18"),
    *("resnext50_32x4d", "cifar_resnet20_b", "cifar_plain20", "cifar_resnet164_original_a"),
    *("cifar_resnet110_full_pre_activation", "cifar_resnext29_16x64d", "cifar_highway19"),
    *("densenet121", "cifar_densenet_bc100_k12", "mobilenet_v1", "mnasnet_a1"),
    *("efficientnet_b0", "efficientnet_lite0"),
]
NETWORKS = [*_QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in _MORE)]
each_network = pytest.mark.parametrize("name", NETWORKS)


def images_for(network, *, most, batch=1):
    channels, *sides = network.default_cfg["input_size"]
    return torch.randn(batch, channels, *(min(side, most) for side in sides))


def made(name, **arguments):
    torch.manual_seed(0)
    return timm.create_model(f"scaler_{name}", **arguments).eval()


@each_network
def test_a_forward_and_a_backward_pass_reach_every_parameter(name):
    network = made(name, num_classes=42)
    images = images_for(network, most=128, batch=2)
    with torch.no_grad():
        assert network(images).isfinite().all()
    scores = network.train()(images)
    assert scores.shape == (2, 42)
    scores.mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


@each_network
@torch.no_grad()
def test_the_default_config_is_true(name):
    network = made(name)
    config, state = network.default_cfg, network.state_dict()
    images = images_for(network, most=448)
    assert len(state[f"{config['classifier']}.weight"]) == config["num_classes"] == 1000
    assert state[f"{config['first_conv']}.weight"].shape[1] == config["input_size"][0] == 3
    maps = network.forward_features(images)
    assert maps.shape == (1, network.num_features, *config["pool_size"])
    features = network.forward_head(maps, pre_logits=True)
    assert features.shape == (1, network.head_hidden_size)
    assert torch.equal(network.get_classifier()(features), network(images))
    network.reset_classifier(0)
    assert torch.equal(network(images), features)
    network.reset_classifier(0, "")
    assert torch.equal(network(images), maps)
    assert made(name, num_classes=0, global_pool="")(images).shape == maps.shape


def check_maps(maps, info, images):
    channels, reductions = info.channels(), info.reduction()
    assert len(maps) == len(channels) >= 3
    for x, count, stride in zip(maps, channels, reductions, strict=True):
        assert x.shape[:2] == (len(images), count)
        assert max(x.shape[2:]) <= math.ceil(images.shape[-1] / stride) + 1
        assert x.isfinite().all()


@each_network
@torch.no_grad()
def test_each_way_to_extract_features_gives_the_same_maps(name):
    images = images_for(made(name), most=96)
    every = [made(name, features_only=True, feature_cls=c) for c in ("list", "getter", "hook")]
    every.append(made(name, features_only=True, feature_cls="fx"))
    maps = [network(images) for network in every]
    check_maps(maps[0], every[0].feature_info, images)
    for other in maps[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, maps[0], strict=True))
    two = made(name, features_only=True, out_indices=(0, 2))
    assert all(torch.equal(a, maps[0][i]) for a, i in zip(two(images), (0, 2), strict=True))
    assert two.feature_info.channels() == [maps[0][i].shape[1] for i in (0, 2)]


@each_network
@torch.no_grad()
def test_intermediates_are_the_features_with_and_without_checkpoints(name):
    network = made(name)
    images = images_for(network, most=96)
    last, maps = network.forward_intermediates(images)
    check_maps(maps, timm.models.FeatureInfo(network.feature_info, len(maps)), images)
    assert torch.equal(last, network.forward_features(images))
    network.set_grad_checkpointing()
    again, others = network.forward_intermediates(images)
    assert torch.equal(again, last)
    assert all(torch.equal(a, b) for a, b in zip(maps, others, strict=True))
    (first,) = network.forward_intermediates(
        images, indices=[0], stop_early=True, intermediates_only=True
    )
    assert torch.equal(first, maps[0])
    assert network.prune_intermediate_layers([1]) == [1]
    assert torch.equal(network(images), maps[1])


@each_network
def test_checkpoints_leave_the_gradients_as_they_are(name):
    gradients = []
    for enable in (False, True):
        network = made(name, num_classes=5).train()
        network.set_grad_checkpointing(enable)
        torch.manual_seed(1)
        network(images_for(network, most=96, batch=2)).square().mean().backward()
        gradients.append({n: p.grad for n, p in network.named_parameters()})
    assert all(torch.equal(gradients[0][n], gradients[1][n]) for n in gradients[0])


@each_network
def test_torch_fx_extracts_scores_and_trains(name):
    network = made(name, num_classes=42, drop_path_rate=0.2)
    images = images_for(network, most=128, batch=2)
    train, evaluated = get_graph_node_names(network)
    graph = create_feature_extractor(
        network, train_return_nodes=[train[-1]], eval_return_nodes=[evaluated[-1]]
    )
    with torch.no_grad():
        (scores,) = graph.eval()(images).values()
        assert torch.equal(scores, network.eval()(images))
    (scores,) = graph.train()(images).values()
    scores.mean().backward()
    assert [n for n, p in graph.named_parameters() if p.grad is None] == []


@each_network
@torch.no_grad()
def test_torch_script_compiles_the_network_its_features_and_its_graph(name):
    network = made(name)
    images = images_for(network, most=96)
    scores = network(images)
    assert torch.allclose(torch.jit.script(network)(images), scores, atol=1e-4)
    node = get_graph_node_names(network)[1][-1]
    graph = torch.jit.script(create_feature_extractor(network, [node]))
    assert torch.allclose(graph(images)[node], scores, atol=1e-4)
    maps = made(name, features_only=True)
    scripted = torch.jit.script(maps)(images)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(scripted, maps(images), strict=True))
