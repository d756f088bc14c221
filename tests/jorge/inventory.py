"""The houses the simulated MLS offers: the same ones in every process."""

import random
from functools import cache
from itertools import product

from tests.jorge.needs import AREAS
from tests.jorge.state import Listing

_BASE_PRICE = dict(zip(AREAS, (410_000, 390_000, 370_000, 400_000, 380_000), strict=True))
_PER_BEDROOM = 65_000
_PREMIUM = {"garage": 15_000, "pool": 60_000, "yard": 20_000}
_FEATURES = (["yard"], ["garage"], ["garage", "yard"], ["pool", "yard"], ["garage", "pool", "yard"])


@cache
def inventory() -> tuple[Listing, ...]:
    """One house for each area, number of bedrooms (2–5) and set of features, cheapest first."""
    draw = random.Random("inventory")
    kinds = enumerate(product(AREAS, range(2, 6), _FEATURES), start=1000)
    houses = [_house(f"MLS-{number}", *kind, draw.randrange(0, 30_000, 1_000)) for number, kind in kinds]
    return tuple(sorted(houses, key=lambda house: (house["price"], house["id"])))


def _house(id_: str, area: str, bedrooms: int, features: list[str], surcharge: int) -> Listing:
    price = _BASE_PRICE[area] + _PER_BEDROOM * (bedrooms - 2) + surcharge
    return Listing(
        id=id_,
        area=area,
        price=price + sum(_PREMIUM[feature] for feature in features),
        bedrooms=bedrooms,
        bathrooms=1 + bedrooms / 2,
        features=features,
    )
