"""``photon-gpu info``: describe a stored movie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from photon_gpu.cli import console
from photon_gpu.cli.console import spoken
from photon_gpu.cli.options.running import Debug, Json
from photon_gpu.cli.options.stored_movie import MovieArgument, StorageOption, read_storage_options
from photon_gpu.engine.runtime.lazy_property import lazy_property
from photon_gpu.recording import Recording
from photon_gpu.sources.truncated_file import truncation_note
from photon_gpu.store.chunk_grid import chunk_number
from photon_gpu.store.ome_zarr.pyramid_levels import is_level_file, levels_in
from photon_gpu.writer.report import in_columns

if TYPE_CHECKING:
    from photon_gpu.reader.movie import Movie


def info(
    movie: MovieArgument,
    storage_option: StorageOption = None,
    json: Json = False,
    debug: Debug = False,
) -> console.Report:
    """Describe a stored movie and its size.

    Shape, sizes, step in sigma, and the noise model: gain in ADU per photon, offset in
    ADU, variance in ADU^2, with intervals if it was estimated. Chunks are counted, not
    read; missing ones are reported.

    For example:
      photon-gpu info movie.zarr
      photon-gpu info s3://bucket/movie.zarr --json
    """
    from photon_gpu.reader.open import open as open_movie

    storage_options = read_storage_options(storage_option, movie)
    return MovieInfo.of(open_movie(movie, storage_options=storage_options))


@dataclass(frozen=True, kw_only=True)
class MovieInfo:
    """Description of a stored movie; its names are those in the report of an encode."""

    movie: Movie
    stored_bytes: int
    files: int
    missing_chunks: int
    pyramid: int
    """Number of levels below the full resolution."""
    pyramid_bytes: int

    @classmethod
    def of(cls, movie: Movie) -> MovieInfo:
        """Describe a movie from one listing of its files."""
        sizes = movie.storage.sizes()
        expected = movie.folder.chunk_count
        names = sizes if movie.storage.container == "folder" else movie.storage.names()
        numbers = {number for name in names if (number := chunk_number(name)) is not None}
        ome = movie.storage.container == "ome-zarr"
        levels = {name: size for name, size in sizes.items() if ome and is_level_file(name)}
        present = sum(number < expected for number in numbers)
        return cls(
            movie=movie,
            stored_bytes=sum(sizes.values()),
            files=len(sizes),
            missing_chunks=expected - present,
            pyramid=levels_in(levels),
            pyramid_bytes=sum(levels.values()),
        )

    @lazy_property
    def recording(self) -> Recording:
        """Metadata of the recording; those that cannot be read are listed in ``not_kept``."""
        from photon_gpu.errors import PhotonError
        from photon_gpu.store.source_metadata import described

        try:
            return self.movie.recording
        except PhotonError as error:
            recording = described(self.movie.attrs)
            return recording.replace(not_kept=(*recording.not_kept, f"what cannot be read: {error}"))

    @property
    def notes(self) -> list[str]:
        """Warnings and remarks about the movie."""
        from photon_gpu.writer import auto_noise

        lines = [f"FAIL {name}: {measured}" for name, measured in self.movie.failed_check.items()]
        lines += [spoken(finding) for finding in auto_noise.findings(self.movie.attrs)]
        if truncated := truncation_note(self.movie.attrs):
            lines.append(truncated)
        if self.missing_chunks:
            lines.append(f"{self.missing_chunks:,} chunks are missing: their frames cannot be read")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        from photon_gpu.engine.codec.encoding import noise_of_channels
        from photon_gpu.engine.model.noise import noise_floor_bits
        from photon_gpu.writer.auto_noise import CHANNELS_KEY, KEY

        movie, encoding = self.movie, self.movie.encoding
        bits = 8.0 * self.stored_bytes / movie.size
        return {
            "url": movie.url,
            "codec_version": movie.attrs["codec_version"],
            "layout": movie.layout,
            "container": movie.storage.container,
            "pyramid": self.pyramid,
            "pyramid_bytes": self.pyramid_bytes,
            "shape": list(movie.shape),
            "dtype": encoding.dtype,
            "chunk_frames": movie.chunks[0],
            "noise": movie.noise.to_dict() if movie.noise else None,
            **({"channel_noise": noise_of_channels(encoding)} if encoding.channels else {}),
            "noise_estimate": movie.attrs.get(KEY, movie.attrs.get(CHANNELS_KEY)),
            "step": movie.step,
            "dither": encoding.dither,
            "peaks": encoding.peaks,
            "predictor": encoding.predictor.to_dict(),
            "exact": encoding.exact,
            "compressor": encoding.compressor.to_dict(),
            "raw_bytes": movie.nbytes,
            "stored_bytes": self.stored_bytes,
            "ratio": movie.nbytes / self.stored_bytes,
            "bits_per_pixel": bits,
            "above_floor_percent": 100.0 * (bits / noise_floor_bits(movie.step) - 1.0)
            if movie.step
            else None,
            "files": self.files,
            "missing_chunks": self.missing_chunks,
            "failed_check": self.movie.failed_check,
            "attributes": movie.attrs,
            "recording": self.recording.to_dict(),
            "source_metadata": {one.name: len(one.data) for one in self.recording.documents},
            "notes": self.notes,
        }

    @property
    def _pyramid_text(self) -> str:
        size = f"{self.pyramid_bytes:,} of the stored bytes"
        return f"{self.pyramid} levels below the full resolution, {size}"

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each line of the table."""
        from photon_gpu.writer.auto_noise import note

        facts = self.to_dict()
        movie, encoding, noise = self.movie, self.movie.encoding, self.movie.noise
        rows = [
            ("movie", facts["url"]),
            ("shape", f"{' x '.join(map(str, movie.shape))} {encoding.dtype}"),
            ("layout", f"{movie.layout}, format {facts['codec_version']}"),
            *([("container", "OME-Zarr 0.5")] if movie.storage.container != "folder" else []),
            *([("pyramid", self._pyramid_text)] if self.pyramid else []),
            ("chunks", f"of {movie.chunks[0]} frames; {self.files} files"),
            *self.recording.rows(),
        ]
        if noise:
            rows.append(
                (
                    "noise model",
                    f"gain {noise.gain:g} ADU/photon, offset {noise.offset:g} ADU, variance "
                    f"{noise.variance:g} ADU^2",
                )
            )
        for number, model in enumerate(movie.channel_noise):
            if model is not None:
                start = f"gain {model.gain:g} ADU/photon, offset {model.offset:g} ADU, variance "
                rows.append((f"noise, channel {number}", f"{start}{model.variance:g} ADU^2"))
        if estimated := note(movie.attrs):
            rows.append(("noise estimate", estimated))
        if encoding.exact or movie.step is None:
            rows.append(("step", "none: nothing was rounded"))
        else:
            dither = f", dithered by seed {encoding.dither}" if encoding.dither is not None else ""
            rows.append(("step", f"{movie.step:g} sigma{dither}"))
        if encoding.peaked:
            rows.append(("in the dark", encoding.peaks_by_channel))
        rows += [
            ("raw", f"{movie.nbytes:,} bytes"),
            ("stored", f"{self.stored_bytes:,} bytes"),
            ("ratio", f"{facts['ratio']:.2f}"),
            ("bits per pixel", f"{facts['bits_per_pixel']:.2f}"),
        ]
        if facts["above_floor_percent"] is not None:
            rows.append(("above the noise floor", f"{facts['above_floor_percent']:+.1f} %"))
        rows.append(("by", encoding.by))
        if movie.failed_check:
            rows.append(("check", f"FAILED when it was stored, on {', '.join(movie.failed_check)}"))
        return rows + [("note", line) for line in self.notes]

    def __str__(self) -> str:
        return in_columns(self.rows())
