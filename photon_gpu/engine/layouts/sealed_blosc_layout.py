"""Base class of the layouts plain and lossless, whose chunks are Blosc frames with a seal."""

from __future__ import annotations

from photon_gpu.engine.codec.blosc import Seal, read_seal, seal_holds
from photon_gpu.engine.codec.header import MisplacedChunkError, check_origin, identity
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.errors import CorruptDataError


class SealedFrames(Layout):
    """Writes the number of a chunk and the identity of its movie after its frame, and checks both.

    Movies without an identity, which earlier releases wrote, have no seals.
    """

    seal_version: tuple[int, int]
    """Major and minor version in a seal."""

    def seal(self, chunk: tuple[int, ...], first_frame: int) -> Seal | None:
        """Return the seal of a chunk; None if the identity of the movie is unknown."""
        if self.encoding.movie_id is None:
            return None
        return Seal(self.seal_version, *identity(self.encoding.movie_id, first_frame // chunk[0]))

    def check_origin(self, data: bytes, number: int | None) -> None:
        """Raise CorruptDataError if the seal of a chunk file names another movie or number."""
        if self.encoding.movie_id is not None and (seal := read_seal(data)) is not None:
            check_origin(seal, self.encoding.movie_id, number)

    def check_proof(self, data: bytes, number: int) -> None:
        """Check a chunk file that no manifest lists by its seal; decoding does not compare the checksum.

        Raises
        ------
        CorruptDataError
            The file was altered, or is not chunk ``number`` of this movie.
        """
        seal, movie_id = read_seal(data), self.encoding.movie_id
        holds = seal is not None and seal_holds(data)
        if movie_id is None:
            if seal is not None and holds:  # else the end of a frame looks like a seal by chance
                raise MisplacedChunkError(
                    f"a chunk of movie {seal.movie:08x} is among those of a movie that has no identity: its "
                    "file comes from elsewhere"
                )
            return
        if seal is None:
            raise CorruptDataError(
                f"chunk {number} has no seal, which every chunk of movie {movie_id} has: it comes from "
                "elsewhere, or another program wrote it"
            )
        if not holds:
            raise CorruptDataError(f"chunk {number} was altered: the checksum in its seal does not match")
        check_origin(seal, movie_id, number)
