"""Where bytes live: one filesystem object per store serves all reads and writes, local and remote alike."""

from emosphere.store.explain import ABSENT, TRIES, explained, is_library_failure, tries
from emosphere.store.location import Location, locate, unsigned, uri_of

__all__ = ["ABSENT", "TRIES", "Location", "explained", "is_library_failure", "locate", "tries", "unsigned", "uri_of"]
