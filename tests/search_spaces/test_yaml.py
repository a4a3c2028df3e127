"""YAML that a user writes: numbers, keys given twice, files that explode, files of another kind."""

import pytest

from search_spaces import InputError, load_architecture, load_space
from search_spaces.records import dump_yaml, read_mapping
from search_spaces.yaml_text import read_yaml

SPACE = """
resolution: 16
stem: {channels: 8, stride: 1, block: {kind: conv, kernel_size: 3}}
stages:
  - channels: 8
    layers: LAYERS
    stride: 2
    block: {kind: mbconv, expand_ratio: 2, kernel_size: 3, se_ratio: SE}
"""
NETWORK = SPACE.replace("LAYERS", "2").replace("SE", "0.25")
CHOOSING = SPACE.replace("LAYERS", "{choice: [1, 2]}").replace("SE", "0.25")


def write(folder, text, name="mine.yaml"):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("1e-3", 0.001), ("2.0e7", 2e7), ("5e6", 5e6), ("1E5", 1e5), ("-1e3", -1000.0)],
        *[(".5", 0.5), ("1.", 1.0), ("1_000", 1000), ("0x1f", 31), (".inf", float("inf"))],
        *[("010", 10), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), ("1.2.3", "1.2.3")],
        *[
            ("e5", "e5"),
            ("'1e-3'", "1e-3"),
            ("off", False),
            ("~", None),
            ('"\\ud83d\\ude00"', "😀"),
        ],
    ],
)
def test_a_value_means_what_people_read_in_it(text, value):
    (read,) = read_yaml(f"[{text}]")
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize("value", ["1e-3", "010", "1:30", "5e6", "yes", "null", 1e-6, 3.0, None])
def test_what_is_written_reads_back_the_same(value):
    assert read_yaml(dump_yaml({"a": value, "b": [{"c": value}]}))["b"] == [{"c": value}]
    assert read_yaml(dump_yaml({"a": value}))["a"] == value


def test_keys_given_twice_are_all_told_with_their_lines(tmp_path):
    path = write(tmp_path, "a: 1\nb: {c: 1,\n  c: 2}\na: 3\n")
    lines = r"'c' \(lines 2 and 3\), 'a' \(lines 1 and 4\)"
    with pytest.raises(InputError, match=f"keys stand twice: {lines}; keep one of each"):
        read_mapping(path)


def test_a_merged_key_may_be_overridden():
    read = read_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {<<: *a}")
    assert (read["b"], read["c"]) == ({"x": 3, "y": 2}, {"x": 1, "y": 2})


def growing(line: str) -> str:
    """Eleven lines, each of which stands for nine of the line before it."""
    return "a0: &a0 {k0: 1}\n" + "".join(
        f"a{i}: &a{i} {line.format(i=i, before=','.join([f'*a{i - 1}'] * 9))}\n"
        for i in range(1, 12)
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (growing("[{before}]"), "anchors make more than 100,000 values"),
        (growing("{{<<: [{before}], k{i}: 1}}"), "anchors make more than 100,000 values"),
        ("a: &a [*a]", "anchors make more than 100,000 values"),
        ("[" * 5000, "more than 50 levels"),
        ("a: " + "{b: " * 5000, "more than 50 levels"),
        ("- " * 5000, "more than 50 levels"),
        ("a: 1\nb: " + "1" * 5000, "line 2: a value of 5000 characters is no int of 64 bits"),
        ("a: " + "1" * 5000 + ".0", "line 1: a value of 5002 characters is no float of 64 bits"),
        ("a: 1e400", "line 1: 1e400 is no float of 64 bits"),
        ("a: !!bool 3", "line 1: 3 is not a bool"),
        ("a: !!timestamp x", "could not determine a constructor for the tag"),
        ("1: x", "line 1: the key '1' is no text; put it in quotes"),
        ("? [a]\n: b", "line 1: the key of several values is no text"),
        ('a: "\\ud83d"', "line 1: a text holds half a character"),
        ("a: b: c", "line 1: mapping values are not allowed here"),
        ("a: x\x00", "unacceptable character"),
        ("a: 1 # " + "x" * 2**22, "more than 4 MiB"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_in_one_short_line(tmp_path, text, reason):
    with pytest.raises(InputError, match=reason) as caught:
        read_mapping(write(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("options", ["[1e-2, 0.01]", "['0.25', 0.25]", "[1, 1.0]", "[a, a]"])
def test_one_value_in_two_spellings_stands_twice_in_a_choice(tmp_path, options):
    for text in (SPACE.replace("LAYERS", "2").replace("SE", f"{{choice: {options}}}"),
                 CHOOSING + f"training: {{learning_rate: {{choice: {options}}}}}\n"):  # fmt: skip
        with pytest.raises(InputError, match="stands twice in one choice"):
            load_space(write(tmp_path, text))


def test_rates_of_a_space_are_numbers_in_any_spelling(tmp_path):
    rates = "training: {learning_rate: {choice: [1e-3, 3E-2]}}\n"
    assert load_space(write(tmp_path, CHOOSING + rates)).training_options() == {
        "learning_rate": [0.001, 0.03]
    }


@pytest.mark.parametrize(
    ("load", "text", "message"),
    [
        (load_architecture, CHOOSING, "is a search space, but an architecture is needed"),
        (load_architecture, NETWORK + "training: {}\n", "is a search space, but an architecture"),
        (load_space, NETWORK, "is an architecture, but a search space is needed"),
        (load_architecture, "name: x\nsearch: {}\n", "is a config, but an architecture is needed"),
        (load_architecture, "optimizer: sgd\n", "is a recipe, but an architecture is needed"),
        (load_space, "alpha: 1.2\n", "is coefficients, but a search space is needed"),
    ],
)
def test_a_file_of_another_kind_is_recognised(tmp_path, load, text, message):
    with pytest.raises(InputError, match=message):
        load(write(tmp_path, text))


def test_a_name_or_folder_in_place_of_an_architecture_or_space_is_recognised(tmp_path):
    with pytest.raises(InputError, match="'mbconv_small' is a search space, but an architecture"):
        load_architecture("mbconv_small")
    with pytest.raises(InputError, match="'resnet18' is an architecture, but a search space is"):
        load_space("resnet18")
    write(tmp_path, NETWORK, "baseline.yaml")
    with pytest.raises(InputError, match=f"is a folder; name a file, as {tmp_path}/baseline.yaml"):
        load_architecture(tmp_path)
