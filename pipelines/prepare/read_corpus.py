"""Which reader of emosphere.corpora a request means, and with which of its options."""

from emosphere.clips.rows import Corpus, parse_scale
from emosphere.corpora.audformat import ROLES as AUDFORMAT_ROLES
from emosphere.corpora.audformat import read_audformat
from emosphere.corpora.declared_table import parse_columns, read_table, read_words
from emosphere.corpora.iemocap import read_iemocap
from emosphere.corpora.msp_podcast import RELEASES, read_msp_podcast
from emosphere.errors import UsageError
from emosphere.store import locate
from pipelines.prepare.request import OPTIONS, PrepareRequest


def read_corpus(request: PrepareRequest) -> Corpus:
    """The corpus that ``request`` names, as its reader gives it. Raises UsageError for options that are missing."""
    source = locate(request.source)
    audio = locate(request.audio) if request.audio else None
    scale = parse_scale(request.scale) if request.scale else None
    if request.format == "msp-podcast":
        if request.release is None:
            raise UsageError(f"Which release is it? --release {'|'.join(RELEASES)}; results of two never compare.")
        drop = "X,O" if request.drop is None else request.drop
        letters = [letter.strip() for letter in drop.split(",") if letter.strip()]
        return read_msp_podcast(source, release=request.release, drop=letters, audio=audio)
    if request.format == "iemocap":
        test, dev = request.test_session, request.dev_session
        return read_iemocap(source, test_session=5 if test is None else test, dev_session=4 if dev is None else dev)
    if request.format == "audformat":
        tables = [name.strip() for name in (request.tables or "").split(",") if name.strip()]
        columns = parse_columns(request.columns, AUDFORMAT_ROLES)
        return read_audformat(source, scale=scale, columns=columns, tables=tables, split=request.split)
    if not source.path.endswith(f".{request.format}"):
        raise UsageError(f"{request.source}: --format {request.format} wants a file that ends in .{request.format}.")
    if request.words:
        given = [name for name in OPTIONS["csv"] if name != "words" and getattr(request, name) is not None]
        if given:
            raise UsageError(f"--words leaves no room for --{', --'.join(given)}: its columns and scale are fixed.")
        return read_words(source)
    return read_table(
        source, scale=scale, columns=parse_columns(request.columns), corpus=request.corpus, split=request.split,
        audio=audio,
    )  # fmt: skip
