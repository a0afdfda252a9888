"""What a store offers."""

from emosphere.store import Location


def check_offers(out: Location) -> None:
    """To come."""
