"""A tiny model of transformers, and what its Trainer is made of."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    EvalPrediction,
    Trainer,
    TrainingArguments,
)

from tests.token_texts import LENGTH, Texts
from trainables.loops.trial import Trial


def network() -> nn.Module:
    config = BertConfig(
        vocab_size=40,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=LENGTH,
        num_labels=2,
    )
    return BertForSequenceClassification(config)


def count_right(predicted: EvalPrediction) -> dict[str, float]:
    right = predicted.predictions.argmax(1) == predicted.label_ids
    return {"accuracy": float(right.mean())}


def arguments(trial: Trial, **options: Any) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(trial.folder),
        per_device_train_batch_size=16,
        per_device_eval_batch_size=16,
        learning_rate=5e-3,
        use_cpu=True,
        seed=trial.seed,
        **options,
    )


class Doubled(Trainer):
    """A user's own loss."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:  # type: ignore[override]  # as users write it
        made = model(**inputs)
        return (2 * made.loss, made) if return_outputs else 2 * made.loss


def make(trial: Trial, kind: type[Trainer] | None = None, **options: Any) -> Trainer:
    given = {"train_dataset": Texts(60, 0), "eval_dataset": Texts(30, 1)}
    given |= {k: options.pop(k) for k in tuple(options) if k in ("eval_dataset", "compute_metrics")}
    return (kind or Trainer)(model=network(), args=arguments(trial, **options), **given)
