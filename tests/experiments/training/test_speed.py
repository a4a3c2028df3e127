import pytest
import torch

from experiments.config.recipe import TrainConfig
from experiments.training.augmentation import Preparation
from experiments.training.batches import DeviceSplit, measure_accuracy
from experiments.training.gradients import Gradients
from experiments.training.hardware import choose_precision, compile_network, compiles

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("setting", "device", "left", "wanted"),
    [
        ("always", CPU, None, True),
        ("never", GPU, 1e6, False),
        ("auto", GPU, None, False),  # before an epoch has shown how long the rest takes
        ("auto", GPU, 400.0, False),
        ("auto", GPU, 600.0, True),
        ("auto", CPU, 1e6, False),
    ],
)
def test_compiling_must_save_twice_its_cost(setting, device, left, wanted):
    assert compiles(setting, device=device, seconds_left=left) is wanted


def test_a_cpu_computes_in_float32_unless_told_otherwise():
    assert choose_precision("auto", CPU) is None
    assert choose_precision("bfloat16", CPU) is torch.bfloat16


@pytest.mark.parametrize(("capability", "wanted"), [((8, 0), torch.bfloat16), ((7, 5), None)])
def test_a_gpu_computes_in_bfloat16_where_it_has_it(monkeypatch, capability, wanted):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert choose_precision("auto", GPU) is wanted


@pytest.fixture
def backend(monkeypatch):
    """torch.compile with a backend that counts the graphs it is given, and the modes asked for."""
    told = {"graphs": 0, "modes": []}

    def count(graph, _inputs):
        told["graphs"] += 1
        return graph

    compile_ = torch.compile

    def counted(network, *, mode):
        told["modes"].append(mode)
        return compile_(network, backend=count)

    monkeypatch.setattr(torch, "compile", counted)
    yield told
    torch._dynamo.reset()


def test_every_network_of_a_process_that_is_labelled_compiled_is_compiled(backend, build):
    for seed in range(10):  # torch gives up at the ninth, saying so only in its log
        network = compile_network(build(seed=seed).eval(), CPU, graphs=True)
        network(torch.zeros(2, 1, 8, 8))
        assert backend["graphs"] == seed + 1


@pytest.mark.parametrize(
    ("device", "graphs", "mode"),
    [(GPU, True, "reduce-overhead"), (GPU, False, "default"), (CPU, True, "default")],
)
def test_cuda_graphs_are_for_a_gpu_and_a_whole_batch(backend, build, device, graphs, mode):
    compile_network(build(), device, graphs=graphs)
    assert backend["modes"] == [mode]


def test_a_batch_in_parts_does_not_run_through_cuda_graphs(build, prepare):
    network = build()
    captured = torch.compile(network, backend="eager")
    gradients = Gradients(TrainConfig(accumulation=2), device=CPU, workers=1)
    gradients.graphs, calls = True, []
    network.register_forward_hook(lambda *_: calls.append(torch.compiler.is_compiling()))
    labels = torch.tensor([0, 1, 0, 1])
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    gradients.of(captured, images, labels, targets=labels, prepare=prepare)
    assert calls == [False, False]


@pytest.fixture
def prepare(data):
    return Preparation.of(data.statistics, resolution=8, device=CPU)


def test_the_accuracy_is_measured_in_the_trainings_precision(data, prepare):
    seen = []

    class Noting(torch.nn.Linear):
        def forward(self, images):
            out = super().forward(images.flatten(1))
            seen.append(out.dtype)
            return out

    split = DeviceSplit.of(data.validation, CPU)
    measure_accuracy(Noting(64, 2), split, prepare=prepare, precision=torch.bfloat16)
    assert set(seen) == {torch.bfloat16}


def test_an_evaluation_that_runs_out_of_memory_takes_smaller_batches(data, prepare):
    class Large(torch.nn.Linear):
        def forward(self, images):
            if len(images) > 8:
                raise torch.OutOfMemoryError("another trial on the card took it")
            return super().forward(images.flatten(1))

    network, small = Large(64, 2), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
    small[1].load_state_dict(network.state_dict())
    split = DeviceSplit.of(data.validation, CPU)
    assert measure_accuracy(network, split, prepare=prepare) == measure_accuracy(
        small, split, prepare=prepare
    )


def test_images_for_which_a_card_has_no_room_stay_in_memory(data, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 1000))
    moved = []
    to = torch.Tensor.to

    def noted(tensor, device, **options):
        moved.append(tensor.ndim)
        return to(tensor, "cpu" if device == GPU else device, **options)

    monkeypatch.setattr(torch.Tensor, "to", noted)
    DeviceSplit.of(data.train, GPU)
    assert moved == [1]  # the labels alone
