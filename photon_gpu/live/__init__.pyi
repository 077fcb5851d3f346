from .feeds import Batch as Batch
from .feeds import Feed as Feed
from .feeds import GrowingFile as GrowingFile
from .feeds import PacedFeed as PacedFeed
from .feeds import RawFeed as RawFeed
from .feeds import SourceFeed as SourceFeed
from .ome_writers_stream import FrameStream as FrameStream
from .record_feed import RecordReport as RecordReport
from .record_feed import record as record
from .recovery.recover import RecoverReport as RecoverReport
from .recovery.recover import recover as recover
from .spool.spool import pending as pending
from .state.config import LiveConfig as LiveConfig
from .state.status import LiveStatus as LiveStatus
from .watch import WatchFeed as WatchFeed
from .writer import LiveWriter as LiveWriter

__all__ = [
    "Batch",
    "Feed",
    "FrameStream",
    "GrowingFile",
    "LiveConfig",
    "LiveStatus",
    "LiveWriter",
    "PacedFeed",
    "RawFeed",
    "RecordReport",
    "RecoverReport",
    "SourceFeed",
    "WatchFeed",
    "pending",
    "record",
    "recover",
]
