import pytest
import torch

from experiments.config.recipe import TrainConfig
from experiments.engine.evaluation import reason
from experiments.training import batches
from experiments.training.augmentation import Preparation
from experiments.training.batches import DeviceSplit, StreamedSplit, measure_confusion
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
    measure_confusion(Noting(64, 2), split, prepare=prepare, precision=torch.bfloat16)
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
    found, wanted = (measure_confusion(each, split, prepare=prepare) for each in (network, small))
    assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronous"),
    ],
)
def test_a_card_that_another_trial_filled_cuts_batches_whoever_finds_out(data, prepare, error):
    """Torch's allocator, cuBLAS, cuDNN and the driver each say it in their own words."""

    class Large(torch.nn.Linear):
        def forward(self, images):
            if len(images) > 2:
                raise error
            return super().forward(images.flatten(1))

    network = Large(64, 2)
    gradients = Gradients(TrainConfig(), device=CPU, workers=1)
    labels = torch.tensor([0, 1, 0, 1])
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    gradients.of(network, images, labels, targets=labels, prepare=prepare)
    assert gradients.parts == 2
    matrix = measure_confusion(network, DeviceSplit.of(data.validation, CPU), prepare=prepare)
    assert matrix.sum() == len(data.validation)
    assert reason(error).startswith("out of memory: ")


def test_another_error_of_the_card_does_not_cut_the_batch(prepare):
    class Broken(torch.nn.Linear):
        def forward(self, _):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    gradients = Gradients(TrainConfig(), device=CPU, workers=1)
    labels = torch.tensor([0, 1, 0, 1])
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        gradients.of(Broken(64, 2), images, labels, targets=labels, prepare=prepare)
    assert gradients.parts == 1


META = torch.device("meta")  # a device of its own, which takes copies and computes nothing


def test_images_beside_the_card_come_pinned_and_without_waiting(data, monkeypatch):
    """The order comes over once for all batches: each such copy waits for all the card's work."""
    copies, pinned = [], []
    to = torch.Tensor.to

    def noted(tensor, device, **options):
        if tensor.device.type != torch.device(device).type:
            copies.append((tensor.ndim, str(device), options.get("non_blocking", False)))
        return to(tensor, device, **options)

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(1) or tensor)
    images, labels = (torch.from_numpy(part) for part in (data.train.images, data.train.labels))
    split = DeviceSplit(images, labels.to(META), META)
    monkeypatch.setattr(torch.Tensor, "to", noted)
    chosen = [torch.tensor([3, 1]), torch.tensor([0, 2])]
    for some, own in split.batches(iter(chosen)):
        assert (some.device, own.device) == (META, META)
    assert [copy for copy in copies if copy[0] == 4] == [(4, "meta", True)] * 2
    assert len(pinned) == 2
    assert len([copy for copy in copies if copy[1] == "cpu"]) == 0  # the order was here already


def test_streamed_images_come_pinned_and_without_waiting(monkeypatch):
    asked, copies = {}, []

    class Loader(list):
        def __init__(self, _files, *, batch_sampler, **options):
            super().__init__([(torch.zeros(2, 1, 8, 8), torch.zeros(2))])
            self.batch_sampler = batch_sampler
            asked.update(options)

    def noted(tensor, device, **options):
        copies.append((tensor.ndim, device, options))
        return tensor

    monkeypatch.setattr(batches, "DataLoader", Loader)
    monkeypatch.setattr(torch.Tensor, "to", noted)
    next(StreamedSplit(None, GPU, 2).batches([torch.tensor([0, 1])]))
    assert asked["pin_memory"] is True
    assert copies == [(4, GPU, {"non_blocking": True}), (1, GPU, {"non_blocking": True})]


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
