"""The whole of `scaler proxy`: measure what is missing, then the table."""

import time

import pandas as pd

from experiments.config.files import write_text
from experiments.config.messages import event
from experiments.config.run_folder import RunFolder
from experiments.config.schema import SearchConfig
from experiments.config.units import readable_count, readable_seconds
from experiments.data.sources import load_data
from experiments.steps.proxies.measuring import measure, planned, read_kept
from experiments.steps.proxies.table import cheapest, measured_networks, proxy_table
from experiments.store.run_lock import RunLock


def run_proxies(config: SearchConfig) -> tuple[pd.DataFrame, str | None]:
    """The table of proxies, and the name of the cheapest with the wished correlation.

    Measurements are kept in `proxies.jsonl` of the run folder, the table in `tables/proxies.csv`.
    Raises InputError for a folder that holds something else, and for a space with too few members
    within the limits.
    """
    data = load_data(config.data, seed=config.seed)
    kept = config.run_folder / "proxies.jsonl"
    begun = {"proxy"} if kept.is_file() else set()
    folder = RunFolder.check(config, begun)
    folder.check_facts({"data": data.fingerprint})
    total = config.proxy.networks * len(planned(config.proxy))
    with RunLock(folder.path):
        folder.write_config()
        folder.write_environment(data=data.fingerprint)
        done, began = len(read_kept(kept)), time.monotonic()
        for count, record in enumerate(measure(config, data, kept=kept), start=1):
            left = (time.monotonic() - began) / count * (total - done - count)
            told = f"accuracy {record['accuracies'][-1]:.4f}  " if "accuracies" in record else ""
            event(
                "measured",
                line=f"proxy {done + count:>{len(str(total))}}/{total}  {record['name']}  "
                f"{readable_count(record['flops'])}FLOPs  {told}{record['seconds']:.1f} s  "
                f"{readable_seconds(left)} left",
                **record,
            )
        networks = measured_networks(read_kept(kept), config.proxy)
        table = proxy_table(networks, config.proxy)
        write_text(folder.tables / "proxies.csv", table.to_csv(index=False))
        write_text(folder.tables / "proxy_networks.csv", networks.to_csv(index=False))
    return table, cheapest(table, correlation=config.proxy.correlation)
