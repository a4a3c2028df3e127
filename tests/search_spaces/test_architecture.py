import json

import pytest
import torch
import yaml

from search_spaces import (
    Architecture,
    InputError,
    MBConv,
    build_network,
    list_architectures,
    load_architecture,
)


@pytest.mark.parametrize("name", list_architectures())
def test_yaml_and_json_read_back_as_the_same_architecture(name):
    network = load_architecture(name)
    assert Architecture.parse(yaml.safe_load(network.to_yaml()), source="yaml") == network
    assert Architecture.model_validate_json(network.model_dump_json()) == network


def test_yaml_holds_a_row_a_stage(small):
    lines = small.to_yaml().splitlines()
    rows = [line for line in lines if line.startswith("- {channels")]
    assert len(rows) == len(small.stages)


def test_json_file_loads_like_yaml(small, tmp_path):
    path = tmp_path / "net.json"
    path.write_text(json.dumps(small.model_dump(mode="json")))
    assert load_architecture(path) == small


def test_key_ignores_the_name_and_how_stages_are_cut(small):
    first, second = small.stages
    cut = (first, second.replace(layers=1), second.replace(layers=1, stride=1))
    assert small.replace(name="other", stages=cut).key == small.key


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": 17},
        {"drop_connect": 0.1},
        {"conventions": {"padding": "same"}},
        {"head": {"channels": 40, "dropout": 0.1}},
    ],
)
def test_key_tells_different_networks_apart(small, change):
    assert small.replace(**change).key != small.key


def test_key_sees_through_ratios_to_widths(small):
    """0.25 and 0.3 of 8 channels both squeeze to 2: the same network."""
    one, two = (
        small.replace(
            stages=(
                small.stages[0].replace(
                    block=MBConv(expand_ratio=1, kernel_size=3, se_ratio=ratio)
                ),
            )
        )
        for ratio in (0.25, 0.3)
    )
    assert one != two
    assert one.key == two.key


def test_network_maps_images_to_scores_and_taps_each_stride(small):
    network = build_network(small, num_classes=10, in_channels=1).eval()
    x = torch.zeros(2, 1, 16, 16)
    assert network(x).shape == (2, 10)
    assert [tuple(f.shape[1:]) for f in network.features(x)] == [(8, 16, 16), (16, 8, 8)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 0}, r"stages\.0\.channels: .*greater than or equal to 1, but got 0"),
        ({"layers": 0}, r"stages\.0\.layers: .*greater than or equal to 1, but got 0"),
        ({"stride": 64}, r"stages\.0: stride 64 must not exceed the feature map, which is 16 px"),
        ({"chanels": 8}, r"unknown key 'stages\.0\.chanels'; did you mean 'channels'"),
        ({"block": {"kind": "mbcnv"}}, r"block: unknown kind 'mbcnv'; did you mean 'mbconv'"),
        (
            {"block": {"kind": "mbconv", "expand_ratio": 3, "kernel_size": 4}},
            "a kernel size must be odd .* but got 4",
        ),
    ],
)
def test_a_wrong_row_is_one_line_that_names_place_value_and_rule(small, change, message):
    data = small.model_dump(mode="json")
    data["stages"][0].update(change)
    with pytest.raises(InputError, match=message) as caught:
        Architecture.parse(data, source="net.yaml")
    assert str(caught.value).startswith("net.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_resolution_too_small_for_the_strides_is_refused():
    with pytest.raises(ValueError, match="stride 2 must not exceed the feature map, which is 1 px"):
        load_architecture("efficientnet_b0").replace(resolution=16)


def test_unknown_architecture_names_the_nearest():
    with pytest.raises(InputError, match="unknown architecture 'efficientnet_b9'; did you mean"):
        load_architecture("efficientnet_b9")


@pytest.mark.parametrize(("text", "message"), [("a: [", "not valid YAML"), ("[1]", "a mapping")])
def test_a_file_that_is_no_architecture_is_refused(tmp_path, text, message):
    path = tmp_path / "net.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_architecture(path)
