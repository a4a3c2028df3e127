"""A final training leaves a checkpoint from which the network can be taken away whole."""

import torch

from experiments.config.schema import DataConfig, TrainConfig
from experiments.export import load_exported, write_exported
from experiments.export.model import checkpoint_model
from experiments.training.trial import TrainingEvaluation


def test_an_exported_training_scores_raw_test_images_as_the_training_did(data, small, tmp_path):
    evaluation = TrainingEvaluation(
        data=data,
        data_config=DataConfig(),
        train_config=TrainConfig(batch_size=16, learning_rate=0.05, device="cpu"),
        epochs=3,
        final=True,
    )
    measured = evaluation(small, report=lambda *_: None, seed=0, checkpoint_dir=tmp_path)
    write_exported(checkpoint_model(tmp_path / "weights.safetensors"), tmp_path / "out")
    model = load_exported(tmp_path / "out")
    with torch.no_grad():
        scores = model.network(model.preprocessing(torch.from_numpy(data.test.images)))
    right = (scores.argmax(1).numpy() == data.test.labels).mean()
    assert abs(right - measured["test_accuracy"]) < 1e-6
    assert model.metrics["test_accuracy"] == measured["test_accuracy"]
    assert model.preprocessing.mean == data.statistics.mean
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Trained for 3 epochs on 100 images of `bars`" in card
