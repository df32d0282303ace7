"""Samples that a training goes through: in memory as far as they fit, else made when needed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch

from moireio.network.training.samples import TrainingSample


class Samples:
    """A sequence of samples; those that do not fit into memory are made again each time.

    Parameters
    ----------
    makers : sequence of callables
        Each makes one `TrainingSample`.
    limit : float
        Bytes that may be kept. The other samples are made by a thread, one ahead of its use, and
        `overflowed` is set.
    """

    def __init__(
        self, makers: Iterable[Callable[[], TrainingSample]], limit: float = float("inf")
    ) -> None:
        self._makers = list(makers)
        self._kept: dict[int, TrainingSample] = {}
        self._left = limit
        self.overflowed = False

    @classmethod
    def of(cls, samples: "Samples | Sequence[TrainingSample]") -> "Samples":
        """Return `samples` themselves, or a sequence of samples as `Samples`.

        Parameters
        ----------
        samples : Samples or sequence of TrainingSample
            Either.

        Returns
        -------
        Samples
            The same samples.
        """
        if isinstance(samples, cls):
            return samples
        return cls([lambda s=s: s for s in samples])

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._makers)

    def __getitem__(self, number: int) -> TrainingSample:
        """Return one sample."""
        if number in self._kept:
            return self._kept[number]
        sample = self._makers[number]()
        size = tensor_bytes(sample)
        if size <= self._left:
            self._left -= size
            self._kept[number] = sample
        else:
            self.overflowed = True
        return sample

    def __iter__(self) -> Iterator[TrainingSample]:
        """Go through all samples."""
        return self.in_order(range(len(self)))

    def in_order(self, numbers: Iterable[int]) -> Iterator[TrainingSample]:
        """Go through some samples; the next one is made while one is used.

        Parameters
        ----------
        numbers : sequence of int
            Numbers of the samples.

        Yields
        ------
        TrainingSample
            In that order.
        """
        numbers = list(numbers)
        if all(n in self._kept for n in numbers):
            yield from (self._kept[n] for n in numbers)
            return
        with ThreadPoolExecutor(1) as thread:
            coming = thread.submit(self.__getitem__, numbers[0])
            for following in [*numbers[1:], None]:
                sample = coming.result()
                if following is not None:
                    coming = thread.submit(self.__getitem__, following)
                yield sample


def tensor_bytes(value: Any) -> int:
    """Return the memory of all tensors in nested dataclasses, lists and dicts.

    Parameters
    ----------
    value : object
        Container that is looked through.

    Returns
    -------
    int
        Bytes.
    """
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(value))


def to_device(value: Any, device: torch.device) -> Any:
    """Return nested dataclasses, lists and dicts with their tensors on a device.

    Parameters
    ----------
    value : object
        Container; parts without tensors stay the same objects.
    device : torch.device
        Device.

    Returns
    -------
    object
        Container of the same kind.
    """
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {k: to_device(v, device) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_device(v, device) for v in value)
    if is_dataclass(value) and any(True for _ in _tensors(value)):
        return replace(
            value, **{f.name: to_device(getattr(value, f.name), device) for f in fields(value)}
        )
    return value


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, (list, tuple)):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, f.name) for f in fields(value)]
    return ()


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    for inner in _inside(value):
        yield from _tensors(inner)
