"""What tokens cost, by the package `genai-prices`, which takes a tenth of a millisecond to say so.

Where each token of a model costs the same, however many there are, the package is asked once what that is, and the
rest is multiplication. Its answer is kept for a minute: some prices depend on the time of the day.
"""

from __future__ import annotations

import importlib
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from voicespan.runtime.bounded import put

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "genai_prices"
_KEPT_SECONDS = 60.0
_MOST_TABLES = 64
#: A usage in which there is some of everything, and what is a part of something else is less.
_SAMPLE = {
    "input_tokens": 1_000_000,
    "input_audio_tokens": 200_000,
    "input_image_tokens": 100_000,
    "input_video_tokens": 100_000,
    "cache_read_tokens": 300_000,
    "cache_audio_read_tokens": 100_000,
    "cache_image_read_tokens": 50_000,
    "output_tokens": 1_000_000,
    "output_audio_tokens": 100_000,
}


class Price(NamedTuple):
    """Dollars."""

    input_price: Decimal
    output_price: Decimal
    total_price: Decimal


#: What one token more of each kind costs.
_Table = dict[str, Price]
_tables: dict[tuple[str, str, tuple[str, ...], tuple[str, ...]], tuple[float, _Table | None]] = {}
_NOT_KNOWN: _Table = {}


def price(provider: str, model: str, usage: Mapping[str, float]) -> Price | None:
    """What this usage costs. None: the package does not know the model, or not enough of the usage."""
    if not _is_whole(usage):
        return _asked(provider, model, usage)
    # Of a kind that there is none of, the package knows more than of one that is not named.
    used, unused = tuple(filter(usage.get, usage)), tuple(name for name, count in usage.items() if not count)
    table = _table(provider, model, used, unused)
    if table is None:
        return _asked(provider, model, usage)
    if table is _NOT_KNOWN:
        return None
    each = [(table[name], int(usage[name])) for name in used]
    return Price(*(sum((of[part] * count for of, count in each), Decimal(0)) for part in range(3)))


def _is_whole(usage: Mapping[str, float]) -> bool:
    """Whether these are tokens, of which no part is more than the whole: the package refuses what is otherwise."""
    if not usage.keys() <= _SAMPLE.keys() or not all(type(n) is int and n >= 0 for n in usage.values()):
        return False
    of = usage.get
    audio, image, cached = (
        of("input_audio_tokens", 0),
        of("input_image_tokens", 0),
        of("cache_read_tokens", 0),
    )
    cached_audio, cached_image = of("cache_audio_read_tokens", 0), of("cache_image_read_tokens", 0)
    text = of("input_tokens", 0) - audio - image - of("input_video_tokens", 0) - cached
    return (
        text + cached_audio + cached_image >= 0
        and cached >= cached_audio + cached_image
        and audio >= cached_audio
        and image >= cached_image
        and of("output_tokens", 0) >= of("output_audio_tokens", 0)
    )


def _table(provider: str, model: str, used: tuple[str, ...], unused: tuple[str, ...]) -> _Table | None:
    """What a token of each kind costs; None: that depends on how many there are."""
    now = time.monotonic()
    key = provider, model, used, unused
    known = _tables.get(key)
    if known is None or now >= known[0]:
        known = now + _KEPT_SECONDS, _made(provider, model, used, unused)
        put(_tables, key, known, _MOST_TABLES)
    return known[1]


def _made(provider: str, model: str, used: tuple[str, ...], unused: tuple[str, ...]) -> _Table | None:
    sample = {**{name: _SAMPLE[name] for name in used}, **dict.fromkeys(unused, 0)}
    try:
        whole = _calculated(provider, model, sample)
    except (LookupError, ValueError):
        # No such model; or the package asks for a kind that was not counted, however much there is of the others.
        return _NOT_KNOWN
    if not all(value is None or isinstance(value, Decimal) for value in vars(whole.model_price).values()):
        return None
    base = _price_of(whole)
    table = {}
    for name in used:
        more = _price_of(_calculated(provider, model, {**sample, name: sample[name] + 1}))
        table[name] = Price(*(one - other for one, other in zip(more, base, strict=True)))
    again = Price(
        *(sum((table[name][part] * sample[name] for name in used), Decimal(0)) for part in range(3))
    )
    return table if again == base else None


def _asked(provider: str, model: str, usage: Mapping[str, float]) -> Price | None:
    try:
        return _price_of(_calculated(provider, model, usage))
    except (LookupError, ValueError):
        return None


def _calculated(provider: str, model: str, usage: Mapping[str, float]) -> Any:
    prices = importlib.import_module(PACKAGE)
    return prices.calc_price(prices.Usage(**usage), model, provider_id=provider)


def _price_of(calculated: Any) -> Price:
    return Price(calculated.input_price, calculated.output_price, calculated.total_price)
