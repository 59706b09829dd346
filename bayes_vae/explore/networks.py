"""A network as a list of steps that the page can run: only such as give the numbers that the network itself gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from bayes_vae.errors import NotDefinedError
from bayes_vae.networks.convolutions import ConvolutionalDecoder, ConvolutionalEncoder
from bayes_vae.networks.foreign import ForeignNetwork

__all__ = ["Step", "steps_of"]

Step: TypeAlias = dict[str, Any]
"""One step: its kind under "step", and what it needs; tensors are weights."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softplus": functional.softplus,
    "elu": functional.elu,
    "silu": functional.silu,
}
"""Steps without numbers of their own: number by number."""

FUNCTIONS = {**{f: name for name, f in ACTIVATIONS.items()}, functional.relu: "relu", functional.tanh: "tanh"}
FUNCTIONS |= {functional.sigmoid: "sigmoid"}

TOLERANCE = 1e-9
"""How far the steps may be from the network, relative, in float64."""

Size: TypeAlias = tuple[int, ...]


def steps_of(network: nn.Module, shape: Size, compute: Callable[[Tensor], Any] | None = None) -> list[Step]:
    """The steps of a network from rows of numbers to rows of numbers, in float64.

    Args:
        network: in float64: a perceptron, the library's convolutions, or a module elsewhere that is made of such
            layers one after another.
        shape: of what it takes for each row, (D,) or that of an image.
        compute: what the network gives for rows, where that is more than calling it; its output is flattened.

    Returns:
        steps of the kinds linear, add, conv, conv-transpose, and those of ``ACTIVATIONS``.

    Raises:
        NotDefinedError: a layer that the page does not know, or steps that give other numbers than the network.
    """
    num_inputs = math.prod(shape)
    steps = []
    for layer in _layers(network):
        found, shape = _step(layer, shape)
        steps += found
    _check(steps, num_inputs, network, network if compute is None else compute)
    return steps


def run_steps(steps: list[Step], rows: Tensor) -> Tensor:
    """What the steps give for rows of numbers, shape (N, numbers): what the page computes."""
    for step in steps:
        kind = step["step"]
        if kind == "linear":
            rows = functional.linear(rows, step["weight"], step["bias"])
        elif kind == "add":
            rows = rows + step["value"]
        elif kind in ("conv", "conv-transpose"):
            images = rows.reshape(-1, *step["from"])
            options = {"stride": step["stride"], "padding": step["padding"]}
            if kind == "conv":
                images = functional.conv2d(images, step["weight"], step["bias"], **options)
            else:
                options["output_padding"] = step["extra"]
                images = functional.conv_transpose2d(images, step["weight"], step["bias"], **options)
            rows = images.flatten(1)
        else:
            rows = ACTIVATIONS[kind](rows)
    return rows


def _check(steps: list[Step], num_inputs: int, network: nn.Module, compute: Callable[[Tensor], Any]) -> None:
    """Compare the steps with the network at a few inputs."""
    rows = torch.linspace(-2.5, 2.5, 7 * num_inputs, dtype=torch.float64).reshape(7, num_inputs).sin()
    rows, name = rows.to(next(network.parameters()).device), type(network).__name__
    expected = compute(rows)
    if isinstance(expected, tuple):
        expected = torch.cat([part.flatten(1) for part in expected], 1)
    found = run_steps(steps, rows)
    expected = expected.reshape(len(rows), -1)
    if found.shape != expected.shape or not torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE):
        raise NotDefinedError(
            f"the layers of {name}, one after another, give other numbers than {name} itself. The page can run "
            "networks that are a plain sequence of linear or convolutional layers and activations."
        )


def _layers(network: nn.Module) -> Iterator[nn.Module | str | Tensor | Size]:
    """The layers one after another: modules, names of activations, tensors to add, shapes to take."""
    if isinstance(network, ConvolutionalDecoder):
        yield network.input
        yield network._first
        yield from _layers(network.convolutions)
        yield network.output_bias
    elif isinstance(network, ConvolutionalEncoder):
        yield network._image
        yield from _layers(network.convolutions)
        yield network.output
    elif isinstance(network, ForeignNetwork):
        yield from _traced(network)
    elif isinstance(network, nn.Sequential):
        for layer in network:
            yield from _layers(layer)
    else:
        yield network


def _traced(network: ForeignNetwork) -> Iterator[nn.Module | str | Tensor | Size]:
    """The layers of a module written elsewhere, read off its forward, which must be a chain."""
    owner, method = network.network, network._method
    if isinstance(owner, nn.Sequential) and not method:
        yield from _layers(owner)
        return
    name = network.description
    holder = _Call(owner, method)
    try:
        graph = fx.Tracer().trace(holder)
    except Exception as error:  # whatever a program does that a tracer cannot follow
        raise NotDefinedError(f"{name} cannot be read as a sequence of layers: {error}") from error
    modules, before = dict(holder.named_modules()), None
    heads: list[Any] = []
    for node in graph.nodes:
        if node.op == "placeholder":
            before = node
        elif node.op == "output":
            heads = list(node.args[0]) if isinstance(node.args[0], tuple) else []
        elif _is_head(node, graph, before):
            continue
        elif node.op == "call_module" and node.args == (before,) and not node.kwargs:
            yield from _layers(modules[str(node.target)])
            before = node
        elif (known := _known_call(node, before)) is not None:
            yield known
            before = node
        else:
            raise NotDefinedError(
                f"{name} is not a plain sequence of layers: {node.format_node()} is not one that the page can run."
            )
    if heads:
        yield _joined([modules[str(head.target)] for head in heads], name)


class _Call(nn.Module):
    """A module whose forward is a method of another."""

    def __init__(self, owner: nn.Module, method: str) -> None:
        super().__init__()
        self.owner, self.method = owner, method or "forward"

    def forward(self, rows: Tensor) -> Any:
        """Call the method."""
        return getattr(self.owner, self.method)(rows)


def _is_head(node: Any, graph: Any, before: Any) -> bool:
    """Whether a node is one of several outputs of the last layer."""
    output = next(each for each in graph.nodes if each.op == "output").args[0]
    several = isinstance(output, tuple) and node in output
    return several and node.op == "call_module" and node.args == (before,)


def _joined(heads: list[nn.Module], name: str) -> nn.Linear:
    """Linear layers of one input as one layer, the outputs one after another."""
    if not all(isinstance(head, nn.Linear) for head in heads):
        raise NotDefinedError(f"the outputs of {name} are not linear layers, which is all that the page can join.")
    weights: list[Any] = [head.weight for head in heads]
    joined = nn.Linear(weights[0].shape[1], sum(map(len, weights)), dtype=torch.float64)
    with torch.no_grad():
        joined.weight.copy_(torch.cat(weights))
        biases = [_bias(head, len(weight)) for head, weight in zip(heads, weights, strict=True)]
        joined.bias.copy_(torch.cat(biases))
    return joined


def _known_call(node: Any, before: Any) -> str | Size | None:
    """The activation or the change of shape that a call stands for."""
    if not node.args or node.args[0] is not before:
        return None
    if node.op == "call_function" and node.target in FUNCTIONS and len(node.args) == 1:
        return FUNCTIONS[node.target]
    named = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
    if named in ACTIVATIONS and len(node.args) == 1:
        return str(named)
    if named == "flatten":
        return (-1,)
    if named in ("view", "reshape"):
        sizes = node.args[1] if isinstance(node.args[1], tuple) else node.args[1:]
        if all(isinstance(size, int) for size in sizes[1:]):
            return tuple(sizes[1:])
    return None


def _step(layer: Any, shape: Size) -> tuple[list[Step], Size]:
    """The steps of one layer, and the shape of a row after it."""
    if isinstance(layer, str):
        return [{"step": layer}], shape
    if isinstance(layer, tuple):
        return [], _reshaped(layer, shape)
    if isinstance(layer, Tensor):
        return [{"step": "add", "value": layer.detach().flatten()}], shape
    if isinstance(layer, nn.Identity | nn.Dropout) and not layer.training:
        return [], shape
    if isinstance(layer, nn.Flatten):
        return [], _reshaped((-1,), shape)
    if isinstance(layer, nn.Unflatten):
        return [], tuple(layer.unflattened_size)
    if isinstance(layer, nn.Linear):
        return [_affine("linear", layer)], (layer.out_features,)
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        return _convolution(layer, shape)
    name = type(layer).__name__.lower()
    usual = not (isinstance(layer, nn.ELU) and layer.alpha != 1) and not (
        isinstance(layer, nn.Softplus) and (layer.beta != 1)
    )
    if name in ACTIVATIONS and type(layer).__module__.startswith("torch.nn") and usual:
        return [{"step": name}], shape
    raise NotDefinedError(
        f"the page cannot run a layer {type(layer).__name__}. It runs linear layers, convolutions, transposed "
        f"convolutions and the activations {', '.join(ACTIVATIONS)}."
    )


def _affine(kind: str, layer: Any) -> Step:
    outputs = layer.out_features if kind == "linear" else layer.out_channels
    return {"step": kind, "weight": layer.weight.detach(), "bias": _bias(layer, outputs)}


def _bias(layer: Any, outputs: int) -> Tensor:
    """The bias of a layer; zeros where it has none."""
    bias: Tensor = layer.weight.new_zeros(outputs) if layer.bias is None else layer.bias.detach()
    return bias


def _convolution(layer: nn.Conv2d | nn.ConvTranspose2d, shape: Size) -> tuple[list[Step], Size]:
    plain = layer.groups == 1 and set(layer.dilation) == {1} and layer.padding_mode == "zeros"
    if not plain or isinstance(layer.padding, str) or len(shape) != 3:
        raise NotDefinedError(f"the page cannot run {layer}: only convolutions in one group, without dilation.")
    numbers = zip(shape[1:], layer.kernel_size, layer.stride, layer.padding, layer.output_padding, strict=True)
    if isinstance(layer, nn.Conv2d):
        kind, sizes = "conv", [(n + 2 * pad - k) // by + 1 for n, k, by, pad, _ in numbers]
    else:
        kind, sizes = "conv-transpose", [(n - 1) * by - 2 * pad + k + extra for n, k, by, pad, extra in numbers]
    after = (layer.out_channels, *sizes)
    options = {"stride": list(layer.stride), "padding": list(layer.padding), "extra": list(layer.output_padding)}
    return [{**_affine(kind, layer), **options, "from": list(shape), "to": list(after)}], after


def _reshaped(wanted: Size, shape: Size) -> Size:
    """The shape that is asked for, whose −1 is filled in."""
    known = math.prod(size for size in wanted if size > 0)
    return tuple(size if size > 0 else math.prod(shape) // known for size in wanted)
