"""Numbers as text: a value with its error, a share, a count with its noun."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

__all__ = [
    "capitalized",
    "change",
    "count_of",
    "dash",
    "error_text",
    "estimate_text",
    "first_of",
    "joined",
    "share",
    "short_error",
    "signed",
    "thousands",
    "value_text",
    "with_error",
]


def with_error(value: float, error: float) -> str:
    """A value and its error to two digits of the error, which is left out where six decimals do not show it.

    >>> with_error(0.17239, 0.0036), with_error(3.688879, 1e-7)
    ('0.1724 ± 0.0036', '3.689')
    """
    if not math.isfinite(error) or error < 5e-7:
        return f"{value:.3f}"
    decimals = min(6, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def estimate_text(value: float, error: float = 0.0) -> str:
    """A value and its error with a true minus sign; two decimals where there is no error.

    >>> estimate_text(-96.664, 0.5), estimate_text(-96.664)
    ('−96.66 ± 0.50', '−96.66')
    """
    return dash(with_error(value, error)) if error > 0 and math.isfinite(value) else signed(value)


def value_text(value: float) -> str:
    """A value in a table: three decimals, and a dash where it is unknown.

    >>> value_text(-1.5), value_text(-0.0001), value_text(math.nan)
    ('−1.500', '0.000', '–')
    """
    return dash(f"{value:z.3f}")


def error_text(error: float) -> str:
    """An error in a table: three decimals, and a dash where it is unknown.

    >>> error_text(math.nan), error_text(0.0), error_text(0.0001), error_text(0.25)
    ('–', '0', '<0.001', '0.250')
    """
    if error == 0 or math.isnan(error):
        return "–" if math.isnan(error) else "0"
    return f"{error:.3f}" if error >= 0.0005 else "<0.001"


def short_error(error: float) -> str:
    """An error to two digits; a dash where it is unknown.

    >>> short_error(0.0123), short_error(math.nan)
    ('0.012', '–')
    """
    return "–" if math.isnan(error) else f"{error:.2g}"


def signed(value: float) -> str:
    """A value with two decimals and a true minus sign.

    >>> signed(-1.5)
    '−1.50'
    """
    return dash(f"{value:.2f}")


def change(value: float) -> str:
    """A difference with its sign.

    >>> change(-1.5), change(2.0)
    ('−1.50', '+2.00')
    """
    return dash(f"{value:+.2f}")


def dash(text: str) -> str:
    """Text with true minus signs before numbers; hyphens within words stay.

    >>> dash("-1.5 nats of -inf, nan in full-rank Cannan-2")
    '−1.5 nats of −∞, – in full-rank Cannan-2'
    """
    text = re.sub(r"(?<!\w)-(?=\d)|(?<=\de)-(?=\d)|(?<!\w)-(?=inf\b)", "−", text)
    return re.sub(r"(?<!\w)nan\b", "–", text).replace("−inf", "−∞")


def share(part: float) -> str:
    """A share in percent; neither none nor all where it is only nearly so.

    >>> share(0.0), share(0.001), share(0.256), share(0.999), share(1.0)
    ('0 %', 'less than 1 %', '26 %', 'more than 99 %', '100 %')
    """
    if 0 < part < 0.01:
        return "less than 1 %"
    return "more than 99 %" if 0.99 < part < 1 else f"{100 * part:.0f} %"


def thousands(number: int) -> str:
    """An integer with its thousands apart.

    >>> thousands(10000)
    '10,000'
    """
    return f"{number:,}"


def count_of(number: int, word: str) -> str:
    """A number and its noun.

    >>> count_of(1, "observation"), count_of(1200, "observation")
    ('1 observation', '1,200 observations')
    """
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def first_of(number: int, word: str = "observation") -> str:
    """The first ones of something.

    >>> first_of(1), first_of(20, "test observation")
    ('the first observation', 'the first 20 test observations')
    """
    return f"the first {word}" if number == 1 else f"the first {count_of(number, word)}"


def joined(words: Sequence[str]) -> str:
    """Words with commas and a last "and".

    >>> joined(["a"]), joined(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def capitalized(text: str) -> str:
    """Text with a capital first letter, the rest as it is.

    >>> capitalized("not annealed: 'Y' is discrete")
    "Not annealed: 'Y' is discrete"
    """
    return text[:1].upper() + text[1:]
