"""The references' training steps: PyTorch's optimizers, schedulers and losses, or timm's and torchvision's."""

import math

import numpy as np
import torch

# The errors that evaluations are said to find, where the rate waits for a plateau: it falls each 30 steps.
ERRORS = [0.99 if step % 30 > 22 else 0.9 - 0.002 * step for step in range(100)]
_SCHEDULES = torch.optim.lr_scheduler


def family(name: str) -> str:
    """The presets of one source are alike but for their numbers."""
    return "strikes_back" if name.startswith("strikes_back") else name


def steps_of(name, steps, net, flag, batches):
    """The reference's loop: of each step the loss, the gradient's norm, the rate, the state, and the average's state
    where there is one.

    Args:
        batches: of float pictures [B,H,W,3] and targets [B,K] without smoothing.
    """
    parameters = list(net.named_parameters())
    optimizer = _optimizer(name, parameters, flag)
    criterion = _criterion(name, flag)
    follow = _following(name, steps, optimizer, flag)
    net.register_buffer("left", torch.ones((), dtype=torch.float64))  # of the first variance
    average = _average(net, flag) if "ema" in flag and flag.ema else None
    found = []
    for step, (pictures, targets) in zip(range(steps), batches, strict=False):
        optimizer.zero_grad()
        loss = criterion(net(_channels_first(pictures)), torch.from_numpy(targets))
        loss.backward()
        net.left *= 0.9
        norm = float(torch.sqrt(sum((p.grad**2).sum() for _, p in parameters)))
        rate = optimizer.param_groups[0]["lr"]
        optimizer.step()
        if average:
            _torchvision_s_average(average, net, step, flag)
        states = [state(net), state(average.module) if average else None]
        found.append((float(loss.detach()), norm, rate, *states))
        follow(step)
        if name.startswith("paper"):
            # Caffe's update, V = 0.9 V - rate x gradient, with which they were trained
            ratio = rate / optimizer.param_groups[0]["lr"]
            for held in optimizer.state.values():
                held["momentum_buffer"] *= ratio
    return found


def state(net) -> tuple[dict, float]:
    """Every weight and moving statistic, and what is left in the variances of their first values."""
    arrays = {n: v.detach().numpy().copy() for n, v in net.state_dict().items() if v.ndim}
    return arrays, float(net.left)


def counts(net, size, batch):
    """Values that each norm averages over in a batch: PyTorch's moving variance has N / (N - 1) of it."""
    found, hooks = {}, []
    for place, layer in net.named_modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            hooks.append(
                layer.register_forward_hook(
                    lambda layer, inputs, out, place=place: found.update(
                        {place: inputs[0].numel() // inputs[0].shape[1]}
                    )
                )
            )
    before = {n: v.clone() for n, v in net.state_dict().items()}
    with torch.no_grad():
        net(torch.zeros(batch, 3, size, size, dtype=next(net.parameters()).dtype))
    net.load_state_dict(before)
    for hook in hooks:
        hook.remove()
    return found


def mixed(pictures, labels, drawn, classes):
    """A batch in which each two neighbours are mixed by torchvision's MixUp or CutMix, with the draws handed in.

    Args:
        pictures: float64 [B,H,W,3]; labels: int [B].
        drawn: of `mixing.Mix`.

    Returns:
        Pictures [B,H,W,3] and targets [B,classes], float64.
    """
    from torchvision.transforms import v2

    cut = drawn["box"].any()
    top, left, bottom, right = drawn["box"][0].astype(int).tolist()
    own = float(drawn["own"][0])
    mixer = (v2.CutMix if cut else v2.MixUp)(num_classes=classes)
    mixer.make_params = lambda _: {
        "lam": own, "lam_adjusted": own, "box": (left, top, right, bottom),
    }  # fmt: skip
    x = _channels_first(pictures)
    dense = torch.nn.functional.one_hot(torch.from_numpy(labels), classes).to(x.dtype)
    pairs = [mixer(x[i : i + 2], dense[i : i + 2]) for i in range(0, len(x), 2)]
    x, dense = (torch.cat(parts).numpy() for parts in zip(*pairs, strict=True))
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)), dense


def _channels_first(pictures):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pictures, -1, 1)))


def _optimizer(name, parameters, flag):
    norms = {n for n, p in parameters if "bn" in n or "downsample.1" in n}
    decayed = {
        # The papers' "weight decay" on convolutions and the classifier's matrix.
        "paper": lambda n, p: p.ndim > 1,
        "paper_2015": lambda n, p: p.ndim > 1,
        # Goyal 2017, 5.1: none on gamma and beta. The classifier's bias has none here.
        "goyal_90": lambda n, p: p.ndim > 1,
        # torchvision: model.parameters(), all of them.
        "torchvision_v1": lambda n, p: True,
        # torchvision: --norm-weight-decay=0.0; NVIDIA: "We do not apply WD on Batch Norm trainable parameters".
        "torchvision_v2": lambda n, p: n not in norms,
        "nvidia_250": lambda n, p: n not in norms,
        # timm's param_groups_weight_decay.
        "strikes_back": lambda n, p: p.ndim > 1,
    }[family(name)]
    groups = [
        {"params": [p for n, p in parameters if decayed(n, p)], "weight_decay": flag.weight_decay},
        {"params": [p for n, p in parameters if not decayed(n, p)], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if family(name) == "strikes_back":
        import timm.optim

        return timm.optim.Lamb(groups, lr=flag.rate)
    momentum = 0.9 if name == "paper" else flag.momentum
    return torch.optim.SGD(groups, lr=flag.rate, momentum=momentum)


def _criterion(name, flag):
    if family(name) == "strikes_back":
        import timm.loss

        return timm.loss.BinaryCrossEntropy(target_threshold=flag.threshold)
    smoothing = 0.0 if name == "paper" else flag.smoothing
    return torch.nn.CrossEntropyLoss(label_smoothing=smoothing)


def _following(name, steps, optimizer, flag):
    """What is done to the rate after each step."""
    if family(name) == "strikes_back":
        import timm.scheduler

        epochs = timm.scheduler.CosineLRScheduler(
            optimizer,
            t_initial=steps // flag.rate_every,
            lr_min=flag.lowest_rate,
            warmup_t=flag.warm_up // flag.rate_every,
            warmup_lr_init=flag.warm_up_rate,
        )
        return lambda step: (
            (step + 1) % flag.rate_every or epochs.step((step + 1) // flag.rate_every)
        )
    if name == "paper_2015":
        falls = _SCHEDULES.ReduceLROnPlateau(
            optimizer, factor=0.1, patience=flag.patience - 1, threshold=0, threshold_mode="abs"
        )
        return lambda step: falls.step(ERRORS[step])
    if name in ("torchvision_v2", "nvidia_250"):
        of_epoch = {"torchvision_v2": _warm_up_then_cosine, "nvidia_250": _nvidia_s}[name]
        epochs = of_epoch(optimizer, steps // flag.rate_every, flag)
        return lambda step: (step + 1) % flag.rate_every or epochs.step()
    chain = [_SCHEDULES.MultiStepLR(optimizer, [int(b) for b in flag.boundaries], 0.1)]
    if name == "goyal_90":
        chain.append(
            _SCHEDULES.LinearLR(optimizer, flag.warm_up_rate / flag.rate, 1.0, flag.warm_up)
        )
    return lambda step: [schedule.step() for schedule in chain]


def _warm_up_then_cosine(optimizer, epochs, flag):
    """torchvision's, with --lr-warmup-method=linear."""
    warm_up = flag.warm_up // flag.rate_every
    return _SCHEDULES.SequentialLR(
        optimizer,
        [
            _SCHEDULES.LinearLR(optimizer, flag.warm_up_rate / flag.rate, total_iters=warm_up),
            _SCHEDULES.CosineAnnealingLR(optimizer, T_max=epochs - warm_up),
        ],
        milestones=[warm_up],
    )


def _nvidia_s(optimizer, epochs, flag):
    """Epoch e of a warm-up of w has (e + 1) / w of the rate."""
    warm_up = flag.cosine_from // flag.rate_every

    def share(epoch):
        if epoch < warm_up:
            return (epoch + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (epoch - warm_up) / (epochs - warm_up)))

    return _SCHEDULES.LambdaLR(optimizer, share)


def _average(net, flag):
    return torch.optim.swa_utils.AveragedModel(
        net, avg_fn=lambda a, b, _: flag.ema * a + (1 - flag.ema) * b, use_buffers=True
    )


def _torchvision_s_average(average, net, step, flag):
    """What its train_one_epoch does after a step, with epochs of --rate_every."""
    epoch, within = divmod(step, flag.rate_every)
    if within % flag.ema_every == 0:
        average.update_parameters(net)
        if epoch < flag.warm_up // flag.rate_every:
            average.n_averaged.fill_(0)
