"""What a trained network told of each class: read from the files beside its weights."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from experiments.config.run_folder import RunFolder
from experiments.report.repeats import confirmation_standings, trainings
from experiments.training.judging import CLASSES, CONFUSION, CURVES, class_table, never_predicted
from experiments.training.trial import SHEET

PAIRS = 15  # of classes that are taken for each other, in the table


@dataclass(frozen=True)
class ByClass:
    """One network: its table a class, and who was taken for whom, or of boxes their curves."""

    name: str
    part: str  # test, or validation
    table: pd.DataFrame
    pairs: pd.DataFrame | None
    sheet: bytes | None  # PNG
    told: tuple[str, ...]  # of each network: which classes it never predicts
    curves: pd.DataFrame | None = None  # class, recall, precision

    @property
    def mistakes(self) -> pd.DataFrame:
        """The pairs of classes that are taken for each other most; share is of the true class."""
        if self.pairs is None:
            return pd.DataFrame()
        share = self.pairs["count"] / self.pairs.groupby("truth")["count"].transform("sum")
        wrong = self.pairs.assign(share=share)[self.pairs["truth"] != self.pairs["prediction"]]
        return wrong.sort_values("count", ascending=False, kind="stable").head(PAIRS)


def look_by_class(folder: RunFolder, tables: dict[str, pd.DataFrame]) -> ByClass | None:
    """The best member of the family; before there is one the confirmed network, over its seeds.

    None where neither left such files, as in runs of older versions or of an own evaluation.
    """
    family = tables["family"]
    done = family[family["state"] == "complete"]
    names = done.sort_values(["accuracy", "flops"], ascending=[False, True])["member"].tolist()
    names = [name for name in names if (folder.checkpoints / name / CLASSES).is_file()]
    if names:
        told = [_missed(name, _read(folder.checkpoints / name / CLASSES)) for name in names[::-1]]
        return _one(folder.checkpoints, names[:1], names[0], told)
    ranked = confirmation_standings(tables["trials"])
    if not ranked:
        return None
    rows = trainings(tables["trials"], "confirmation", ranked[0])
    members = rows["member"].tolist() if "member" in rows else []
    members = [name for name in members if (folder.checkpoints / name / CLASSES).is_file()]
    if not members:
        return None
    called = f"{ranked[0].contender}, {len(members)} seeds together"
    found = _one(folder.checkpoints, members, called, [])
    return ByClass(**{**vars(found), "told": (_missed(ranked[0].contender, found.table),)})


def _one(folder: Path, members: list[str], name: str, told: list[str]) -> ByClass:
    first = _read(folder / members[0] / CLASSES)
    part = str(first["part"].iloc[0])
    table, pairs = first.drop(columns="part"), None
    if all((folder / member / CONFUSION).is_file() for member in members):
        every = pd.concat([_read(folder / member / CONFUSION) for member in members])
        pairs = every.groupby(["truth", "prediction"], sort=False)["count"].sum().reset_index()
        if len(members) > 1:
            names = {name: i for i, name in enumerate(table["class"])}
            matrix = torch.zeros(len(names), len(names), dtype=torch.int64)
            for truth, prediction, count in pairs.itertuples(index=False):
                matrix[names[truth], names[prediction]] = count
            masks = "dice" in table
            table = class_table(matrix, tuple(names), "segmentation" if masks else "classification")
    elif len(members) > 1:  # of boxes there is no matrix to add up
        every = pd.concat([_read(folder / m / CLASSES).drop(columns="part") for m in members])
        table = every.groupby("class", sort=False).mean().reset_index()[list(table)]
    curves = None
    if all((folder / member / CURVES).is_file() for member in members):
        every = pd.concat([_read(folder / member / CURVES) for member in members])
        curves = every.groupby(["class", "recall"], sort=False)["precision"].mean().reset_index()
    sheet = folder / members[0] / SHEET
    drawn = sheet.read_bytes() if sheet.is_file() and len(members) == 1 else None
    return ByClass(name, part, table, pairs, drawn, tuple(one for one in told if one), curves)


def _missed(name: str, table: pd.DataFrame) -> str:
    said = never_predicted(table)
    return f"{name}: {said}" if said else ""


def _read(path: Path) -> pd.DataFrame:
    """Names of classes stay text, also `1`, `NA` and `null`."""
    text = dict.fromkeys(("class", "truth", "prediction", "part"), "string")
    table = pd.read_csv(path, dtype=text, keep_default_na=False, na_values={})
    for name in table.columns.difference(list(text)):
        table[name] = pd.to_numeric(table[name])
    return table
