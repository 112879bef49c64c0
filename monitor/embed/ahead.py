"""Iterators that overlap: the next item made in a thread, or asked for before the present one is used."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_END: Any = object()


def made_beside(items: Iterable[T]) -> Iterator[T]:
    """Yield items in order, the next one made in a thread while the present one is used."""
    iterator = iter(items)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as thread:
        coming = thread.submit(next, iterator, _END)
        while (item := coming.result()) is not _END:
            coming = thread.submit(next, iterator, _END)
            yield item


def one_later(items: Iterable[T]) -> Iterator[T]:
    """Yield items in order, each after the next one was made: work that was begun goes on while a result is read.

    >>> def made():
    ...     for number in range(2):
    ...         print("made", number)
    ...         yield number
    >>> for number in one_later(made()):
    ...     print("used", number)
    made 0
    made 1
    used 0
    used 1
    """
    held = _END
    for item in items:
        if held is not _END:
            yield held
        held = item
    if held is not _END:
        yield held
