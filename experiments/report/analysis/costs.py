"""What the trials took, by how they ended."""

import pandas as pd


def outcome_costs(trials: pd.DataFrame, *, gpus_per_trial: float = 1.0) -> pd.DataFrame:
    """A row a study and state: trials, epochs, seconds and their share of the run's, GPU seconds.

    GPU seconds are those of trials on a CUDA device times `gpus_per_trial`; seconds are a trial's
    own, not what the run took: several trials may run at a time.
    """
    on_gpu = trials["device"].str.startswith("cuda")
    table = (
        trials.assign(gpu_seconds=trials["seconds"].where(on_gpu, 0.0) * gpus_per_trial)
        .groupby(["run", "study", "state"], observed=True)
        .agg(
            trials=("number", "size"),
            epochs=("epochs", "sum"),
            seconds=("seconds", "sum"),
            gpu_seconds=("gpu_seconds", "sum"),
        )
        .reset_index()
    )
    whole = table.groupby("run")["seconds"].transform("sum")
    share = (table["seconds"] / whole).where(whole > 0)
    table = table.assign(share=share).astype({"trials": "Int64"})
    return table[["run", "study", "state", "trials", "epochs", "seconds", "share", "gpu_seconds"]]
