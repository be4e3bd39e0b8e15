"""From MovieLens-100K titles to profiles, intents, embeddings, a trained IRLLRec, recommendations.

``--folder`` holds ``u.item`` and ``u.data`` (GroupLens) or ``ml-100k.item`` and ``ml-100k.inter``
(RecBole); neither may be passed on, so neither comes with this package. The language model is
whatever answers at ``--base-url``; it is asked about ``--limit`` sampled nodes a step, and **all
other nodes take a text from a template** (title, year, genres). README.md shows a run's output.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch
from torch_geometric.data import HeteroData

from irllrec_pyg import build_model
from irllrec_pyg.datasets import from_interactions
from irllrec_pyg.datasets.movielens import GENRES
from irllrec_pyg.text import (
    STEPS,
    ChatSettings,
    Embedder,
    Endpoint,
    RunSettings,
    TextPipeline,
    TrainingTexts,
    WordLlamaEncoder,
    plan,
    write_manifest,
)
from irllrec_pyg.training import fit

HERE = Path(__file__).resolve().parent


def read_movielens(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Liked films (ratings 4 and 5) of users and films with five of them; and the films."""
    if (folder / "u.item").exists():
        names = ["item", "title", "released", "video", "url", *GENRES]
        raw = pd.read_csv(folder / "u.item", sep="|", names=names, encoding="latin-1")
        items = pd.DataFrame(
            {
                "item": raw["item"],
                "title": raw["title"].str.replace(r"\s*\(\d{4}\)$", "", regex=True),
                "year": raw["title"].str.extract(r"\((\d{4})\)$")[0],
                "genres": [
                    ", ".join(genre for genre in GENRES if row[genre]) for _, row in raw.iterrows()
                ],
            }
        )
        pairs = pd.read_csv(folder / "u.data", sep="\t", names=["user", "item", "rating", "time"])
    else:
        items = pd.read_csv(folder / "ml-100k.item", sep="\t")
        items.columns = pd.Index(["item", "title", "year", "genres"])
        items["genres"] = items["genres"].str.replace(" ", ", ")
        pairs = pd.read_csv(folder / "ml-100k.inter", sep="\t")
        pairs.columns = pd.Index(["user", "item", "rating", "time"])
    pairs = pairs[pairs["rating"] >= 4]
    while True:
        keep = (pairs.groupby("user")["item"].transform("size") >= 5) & (
            pairs.groupby("item")["user"].transform("size") >= 5
        )
        if keep.all():
            return pairs, items
        pairs = pairs[keep]


def make_texts(data: HeteroData, items: pd.DataFrame, args: argparse.Namespace) -> None:
    """Profiles and intents by the model for a sample, by template for the rest; embeddings."""
    pipeline = TextPipeline(
        TrainingTexts(data, items),
        args.out,
        ChatSettings(
            args.model,
            Endpoint(args.base_url),
            max_tokens=250,
            response_format=args.response_format,
        ),
        prompts=HERE / "short_answers",
        run=RunSettings(concurrency=args.concurrency),
    )
    print(plan(pipeline, args.limit).to_string(index=False))
    for step in STEPS:
        pipeline.run_step(step, limit=args.limit)
    embedder = Embedder(pipeline, WordLlamaEncoder(), allow_incomplete=True)
    embedder.attach(data)
    write_manifest(pipeline, embedder, embedder.write(data))
    for what, counts in embedder.counts().items():
        print(f"{what}: {counts}")
    for step in STEPS:
        node, text = next(iter(pipeline.texts(step).items()))
        item = pipeline.source.titles[node] if pipeline.side(step) == "item" else ""
        print(f"{step} of {item or data['user'].raw_id[node]}: {text}")


def main() -> None:
    """Runs the example; stopped at any point, it goes on from there when it is run again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("movielens_texts"))
    parser.add_argument("--base-url", default="http://127.0.0.1:8011/v1")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--response-format", default="json_object")
    parser.add_argument("--limit", type=int, default=50, help="nodes a step for the model")
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()

    pairs, items = read_movielens(args.folder)
    data = from_interactions(
        pairs, user="user", item="item", split=(0.6, 0.2, 0.2), seed=0, name="ml-100k"
    )
    make_texts(data, items, args)
    rows = []
    for name in ("lightgcn", "lightgcn_plus", "lightgcn_int"):
        for seed in range(args.seeds):
            torch.manual_seed(seed)
            model = build_model(name, data, dataset="amazon")
            # The papers' batches of 4096 and patience of 5 evaluations are for data many times
            # larger: here, 8 steps an epoch, lightgcn_int would be stopped before it gets going.
            result = fit(
                model,
                data,
                epochs=args.epochs,
                batch_size=1024,
                patience=20,
                seed=seed,
                progress=False,
                folder=args.out / "runs" / f"{name}-{seed}",
            )
            rows.append({"model": name, "epoch": result.best_epoch} | result.test)
            print(name, "seed", seed, result.test, flush=True)
    table = pd.DataFrame(rows).groupby("model").agg(["mean", "std"]).round(4)
    print(table[["recall@20", "ndcg@20", "epoch"]].to_string())
    titles = items.set_index("item")["title"]
    best = model.recommend(data["user"].raw_id[0], k=5)
    print(best.assign(title=best["item"].map(titles)).to_string(index=False))


if __name__ == "__main__":
    main()
