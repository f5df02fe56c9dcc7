"""Keys that people bring along from other tools, with what they are called here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from search_spaces.unknown_names import did_you_mean

_CALLED: Mapping[str, str] = {
    **dict.fromkeys(
        ("grad_clip", "gradient_clip", "gradient_clip_val", "max_grad_norm", "clip_grad_norm"),
        "clip_norm",
    ),
    **dict.fromkeys(
        (
            "accumulate_grad_batches",
            "accumulation_steps",
            "grad_accumulation",
            "gradient_accumulation",
            "gradient_accumulation_steps",
        ),
        "accumulate",
    ),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_scheduler_type", "lr_schedule"), "schedule"),
    **dict.fromkeys(("amp", "use_amp", "mixed_precision", "fp16", "bf16"), "precision"),
    **dict.fromkeys(("sampler", "class_balanced", "balanced", "weighted_sampling"), "sampling"),
    **dict.fromkeys(("learning_rate", "base_lr", "initial_lr"), "lr"),
    **dict.fromkeys(("epochs", "num_epochs", "n_epochs", "num_train_epochs"), "max_epochs"),
    **dict.fromkeys(("batchsize", "train_batch_size", "per_device_train_batch_size"), "batch_size"),
    **dict.fromkeys(("warmup", "warm_up", "num_warmup_steps"), "warmup_steps"),
    **dict.fromkeys(("optim", "optimiser"), "optimizer"),
    **dict.fromkeys(("criterion", "loss_fn"), "loss"),
    **dict.fromkeys(("eta_min", "min_lr"), "end_factor"),
    "monitor": "metric",
    "anneal_strategy": "anneal",
    "grace_period": "min_epochs",
}
_DECAY = "a penalty decays weights, so that λ is searched: `space: {penalty: l2, lambda: auto}`"
_EXPLAINED: Mapping[str, str] = {
    **dict.fromkeys(("weight_decay", "wd", "decay"), _DECAY),
    "lambd": _DECAY,
    "num_workers": "set `data.loader.workers`",
    **dict.fromkeys(
        ("T_max", "t_max", "total_steps", "total_iters"), "it runs over `training.max_epochs`"
    ),
}
_ABOVE: Mapping[str, str] = {
    **dict.fromkeys(("lr", "learning_rate", "max_lr"), "lr"),
    **dict.fromkeys(("warmup_epochs", "warmup_steps", "warmup"), "warmup_epochs"),
}
"""Keys of ``training`` that people look for in its components."""


def suggest_key(key: object, valid: Iterable[str]) -> str:
    """What a wrong key may stand for, after ``; ``; empty if nothing is near."""
    known, name = list(valid), str(key)
    if name in _EXPLAINED:
        return f"; {_EXPLAINED[name]}"
    for called in (_CALLED.get(name), _ABOVE.get(name)):
        if called in known:
            return f"; did you mean {called!r}?"
    if name in _ABOVE:
        return f"; set `training.{_ABOVE[name]}`"
    return did_you_mean(key, known)
