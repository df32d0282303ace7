"""Samples that a training goes through: in memory as far as they fit, else made when needed."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace

import torch


class Samples:
    """A sequence of samples; what does not fit into memory is made again each time.

    Parameters
    ----------
    makers : sequence of callables
        Each makes one `Sample`.
    limit : float
        Bytes that may be kept; the rest is made by a thread, one ahead of its use, and
        `overflowed` is set.
    """

    def __init__(self, makers, limit=float("inf")):
        self._makers = list(makers)
        self._kept = {}
        self._left = limit
        self.overflowed = False

    @classmethod
    def of(cls, samples):
        """Return `samples` if it is one, else one of what the sequence holds."""
        if isinstance(samples, cls):
            return samples
        return cls([lambda s=s: s for s in samples])

    def __len__(self):
        """Return their number."""
        return len(self._makers)

    def __getitem__(self, number):
        """Return one."""
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

    def __iter__(self):
        """Go through all of them."""
        return self.in_order(range(len(self)))

    def in_order(self, numbers):
        """Go through some of them; the next is made while one is used.

        Parameters
        ----------
        numbers : sequence of int
            Which.

        Yields
        ------
        Sample
            In that order.
        """
        numbers = list(numbers)
        if all(n in self._kept for n in numbers):
            yield from (self._kept[n] for n in numbers)
            return
        with ThreadPoolExecutor(1) as thread:
            coming = thread.submit(self.__getitem__, numbers[0]) if numbers else None
            for following in [*numbers[1:], None]:
                sample = coming.result()
                if following is not None:
                    coming = thread.submit(self.__getitem__, following)
                yield sample


def tensor_bytes(value):
    """Return the memory of all tensors in nested dataclasses, lists and dicts.

    Parameters
    ----------
    value : object
        What is looked through.

    Returns
    -------
    int
        Bytes.
    """
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return sum(tensor_bytes(v) for v in _inside(value))


def to_device(value, device):
    """Return nested dataclasses, lists and dicts with their tensors on a device.

    Parameters
    ----------
    value : object
        What is to be moved; what holds no tensors stays the same object.
    device : torch.device
        Where to.

    Returns
    -------
    object
        Of the same kind.
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


def _inside(value):
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, (list, tuple)):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, f.name) for f in fields(value)]
    return ()


def _tensors(value):
    if isinstance(value, torch.Tensor):
        yield value
    for inner in _inside(value):
        yield from _tensors(inner)
