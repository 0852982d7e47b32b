"""What every refusal of a bad argument is held to."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def one_sentence(about: str) -> Iterator[pytest.ExceptionInfo]:
    """What is done inside must be refused by a ValueError: one short sentence on one line that names the argument."""
    with pytest.raises(ValueError) as reason:
        yield reason
    words = str(reason.value)
    assert type(reason.value) is ValueError, f"{type(reason.value).__name__}: {words}"
    named = re.search(rf"(?<!\w){re.escape(about)}(?!\w)", words)  # "n" is in any sentence, but not as a word
    assert named and "\n" not in words and 15 < len(words) < 300 and words.endswith("."), words
