"""What the finished runs of a study say: means, differences and verdicts."""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..config import ConfigError
from .config import FIRST
from .statistics import Estimate, crossed_mean, holm, verdict
from .units import Units

#: What is compared with what, within one model.
QUESTIONS = {
    ("real", "none"): "does the text help?",
    ("real", "permuted"): "is it the texts' meaning?",
    ("permuted", "none"): "do texts of other items help?",
    ("real", "noise"): "is it more than random features?",
    ("noise", "none"): "do random features help?",
    ("real", "titles"): "does the text say more than the title?",
    ("titles", "none"): "does the title alone help?",
    ("views", "real"): "do several views say more than one?",
    ("views", "none"): "do several views help?",
    ("narrow", "real"): "do few dimensions do as well?",
    ("narrow", "none"): "do few dimensions help?",
}
BEST = "best"
AGAINST = "is it better than the other model?"


class Form(NamedTuple):
    """One arm of the study, where its results are, and the model that it is compared with."""

    data: str
    setting: str
    model: str
    text: str
    path: str
    against: str = ""

    @property
    def words(self) -> str:
        """The model and its text."""
        return f"{self.model}, {self.text}"

    def against_names(self, other: "Form", question: str) -> dict[str, str]:
        """The columns that name a comparison with another arm."""
        return {
            "data": self.data,
            "setting": self.setting,
            "question": question,
            "model": self.model,
            "text": self.text,
            "against": other.model,
            "against_text": other.text,
        }


class Summary:
    """The finished runs of a study.

    Args:
        units (Units): Where they are.
        forms (sequence of Form): The arms.
        margin (float): Share of the reference that counts as no difference.
    """

    def __init__(self, units: Units, forms: Sequence[Form], margin: float) -> None:
        self.units, self.margin = units, margin
        self.damaged: list[str] = []
        self.rows = self._rows()
        finished = set(self.rows["path"]) if len(self.rows) else set()
        self.forms = [form for form in forms if form.path in finished]
        self.missing = [form for form in forms if form.path not in finished]
        # Users' values are great, and asked for arm after arm; means are small.
        self.values = lru_cache(maxsize=16)(self._values)
        self._both = lru_cache(maxsize=2)(self._merged)
        self.estimate = cache(self._estimate)
        self.comparisons = cache(self._comparisons)

    def _rows(self) -> pd.DataFrame:
        rows = []
        for unit in self.units.named("*/*/*/*/split-*"):
            try:
                row = self.units.read(unit) or {}
            except ConfigError as error:
                self.damaged.append(str(error))
                continue
            metrics = row.pop("metrics")
            path = unit.rpartition("/")[0]
            rows.append({**row, "path": path, "unit": unit, **metrics})
        return pd.DataFrame(rows)

    def runs(self, form: Form) -> pd.DataFrame:
        """The reported runs of an arm."""
        return self.rows[self.rows["path"] == form.path]

    def tuning(self, form: Form) -> dict[str, Any]:
        """How its settings were chosen; nothing where the file is damaged."""
        return self._read(f"{form.path}/tuning")

    def failure(self, form: Form) -> str:
        """Why an arm has no results, where it was tried."""
        return str(self._read(f"{form.path}/failed").get("reason", "not run yet"))

    def _read(self, unit: str) -> dict[str, Any]:
        try:
            return self.units.read(unit) or {}
        except ConfigError as error:
            if str(error) not in self.damaged:
                self.damaged.append(str(error))
            return {}

    def _values(self, path: str) -> pd.DataFrame:
        """Values by split and user, averaged over the seeds."""
        tables = []
        for row in self.rows[self.rows["path"] == path].to_dict("records"):
            tables.append(self.units.users(row["unit"]).assign(split=row["split"]))
        keys = ["split", "user"]
        return pd.concat(tables).groupby(keys, sort=True).mean().reset_index()

    def metrics(self, form: Form) -> list[str]:
        """Its metrics, the first one first."""
        values = self.values(form.path)
        of_users = [str(name) for name in values if "@" in str(name) and values[name].notna().any()]
        of_lists = [name for name in map(str, self.rows) if name.startswith("coverage@")]
        runs = self.runs(form)
        found = [*of_users, *(name for name in of_lists if runs[name].notna().any())]
        return sorted(found, key=lambda name: name != FIRST[form.setting])

    def _estimate(self, form: Form, metric: str) -> Estimate:
        """The mean of a metric."""
        if metric.startswith("coverage"):
            runs = self.runs(form)
            value = runs.groupby("split")[metric].mean()
            return crossed_mean(np.zeros(len(value)), value.index, value)
        values = self.values(form.path)[["user", "split", metric]].dropna()
        return crossed_mean(values["user"], values["split"], values[metric])

    def difference(
        self, ours: Form, theirs: Form, metric: str, where: Mapping[str, Any] | None = None
    ) -> tuple[Estimate, float] | None:
        """The difference of two arms over the same users and splits, and the mean of the second.

        Args:
            ours, theirs (Form): The arms.
            metric (str): A metric of users.
            where (mapping, optional): Values that columns of the users' table must have.
        """
        both = self.both(ours, theirs)
        for column, value in (where or {}).items():
            both = both[both[column] == value]
        both = both[["user", "split", metric, f"{metric} "]].dropna()
        if both.empty:
            return None
        change = both[metric] - both[f"{metric} "]
        return crossed_mean(both["user"], both["split"], change), float(both[f"{metric} "].mean())

    def both(self, ours: Form, theirs: Form) -> pd.DataFrame:
        """The users and splits that two arms share; the second one's metrics end with a space."""
        return self._both(ours.path, theirs.path)

    def _merged(self, ours: str, theirs: str) -> pd.DataFrame:
        keys = ["split", "user"]
        others = self.values(theirs).drop(columns=["history", "history_group"])
        others = others.rename(columns={name: f"{name} " for name in others if name not in keys})
        return self.values(ours).merge(others, on=keys)

    def table(self) -> pd.DataFrame:
        """Every mean, as ``summary.csv`` has it."""
        rows = []
        for form in self.forms:
            runs = self.runs(form)
            for metric in self.metrics(form):
                found = self.estimate(form, metric)
                rows.append(
                    {
                        "data": form.data,
                        "setting": form.setting,
                        "model": form.model,
                        "text": form.text,
                        "metric": metric,
                        "mean": found.mean,
                        "low": found.low,
                        "high": found.high,
                        "splits": runs["split"].nunique(),
                        "seeds": runs["seed"].nunique(),
                        "commit": " ".join(sorted({str(one)[:12] for one in runs["commit"]})),
                    }
                )
        return pd.DataFrame(rows)

    def best(self, data: str, setting: str) -> tuple[Form, Form] | None:
        """The best arm with the real texts and the best one without any, by validation alone."""
        found = []
        for wanted in ("real", "none"):
            own = [f for f in self.forms if (f.data, f.setting, f.text) == (data, setting, wanted)]
            if not own:
                return None
            found.append(max(own, key=lambda form: self.tuning(form).get("value", -np.inf)))
        return found[0], found[1]

    @property
    def by_name(self) -> dict[tuple[str, ...], Form]:
        """The arms with results by data, setting, model and text."""
        return {form[:4]: form for form in self.forms}

    def pairs(self) -> list[tuple[str, Form, Form]]:
        """What is compared: a question, an arm, and the one that it is compared with."""
        by_name = self.by_name
        found = []
        for data, setting in dict.fromkeys((form.data, form.setting) for form in self.forms):
            if (best := self.best(data, setting)) is not None:
                found.append((BEST, *best))
            for form in (one for one in self.forms if one.against and one[:2] == (data, setting)):
                own = by_name.get((data, setting, form.model, "none"), form)
                texts = [form.text, "none"]  # a model without texts has no other arm
                others = [by_name.get((data, setting, form.against, text)) for text in texts]
                other = next((one for one in others if one is not None), form)
                if other.path not in (form.path, own.path):  # which its own questions name
                    found.append((AGAINST, form, other))
            for model in dict.fromkeys(form.model for form in self.forms):
                for (ours, theirs), question in QUESTIONS.items():
                    names = [(data, setting, model, text) for text in (ours, theirs)]
                    if all(name in by_name for name in names):
                        found.append((question, by_name[names[0]], by_name[names[1]]))
        return found

    def _comparisons(self) -> pd.DataFrame:
        """Every comparison by every metric; verdicts are given by the first metric alone."""
        rows = []
        for question, ours, theirs in self.pairs():
            for metric in self.metrics(ours):
                if metric.startswith("coverage") or " items " in metric:
                    continue
                if (found := self.difference(ours, theirs, metric)) is None:
                    continue
                change, reference = found
                rows.append(
                    {
                        **ours.against_names(theirs, question),
                        "metric": metric,
                        "difference": change.mean,
                        "low": change.low,
                        "high": change.high,
                        "reference": reference,
                        "p": change.pvalue,
                        "first": metric == FIRST[ours.setting],
                        "fit_seconds": self.runs(ours)["fit_seconds"].median(),
                        "against_fit_seconds": self.runs(theirs)["fit_seconds"].median(),
                    }
                )
        table = pd.DataFrame(rows)
        if table.empty:
            return table
        table["p_holm"] = np.nan
        table.loc[table["first"], "p_holm"] = holm(table.loc[table["first"], "p"])
        table["verdict"] = [
            verdict(row["low"], row["high"], row["reference"], row["p_holm"], self.margin)
            if row["first"]
            else ""
            for row in table.to_dict("records")
        ]
        return table
