"""Encode full chunks on several threads, with settings chosen from the first."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from photon_gpu.check.fidelity.sample_during_encode import ChunkSample
from photon_gpu.encode_settings import AUTO, checked_noise
from photon_gpu.engine.codec.backend import Backend
from photon_gpu.engine.layouts.base import Layout
from photon_gpu.engine.layouts.registry import layout_for
from photon_gpu.engine.model.noise import NoiseModel
from photon_gpu.engine.model.photon_peak_code_table import LEAST_GAIN
from photon_gpu.engine.runtime.encode_resources import Resources
from photon_gpu.engine.runtime.service_thread import ServiceThread
from photon_gpu.engine.runtime.stopwatch import Stages
from photon_gpu.errors import InvalidInputError
from photon_gpu.estimate import estimate_noise
from photon_gpu.live.state.config import LiveConfig
from photon_gpu.live.state.filling_chunks import Chunk
from photon_gpu.sources.array import ArraySource
from photon_gpu.sources.missing_frames import spans
from photon_gpu.sources.open import open_source
from photon_gpu.store import frame_records
from photon_gpu.writer.auto_noise import ACCEPTED_KEY, CHANNELS_KEY, KEY, judge_channels, processed
from photon_gpu.writer.compression_tuning import choose
from photon_gpu.writer.movie_id import recorded

_ADVICE = "Record with noise='auto', or trust_noise=True"

NoiseOrEstimator = NoiseModel | tuple[NoiseModel, ...] | Callable[[Any], Any] | None


def resolve_noise(noise: Any, layout: str, storage_options: dict[str, Any] | None = None) -> NoiseOrEstimator:
    """Turn the caller's ``noise`` into a noise model, a function that estimates one, or None.

    A path, URL or :class:`~photon_gpu.Movie` is an earlier run, whose model is used;
    ``"auto"`` or ``"estimate"`` is :func:`photon_gpu.estimate_noise`, the default if anything is
    quantized.
    """
    if noise is None and layout != "lossless":
        noise = AUTO
    if noise is None or isinstance(noise, NoiseModel):
        return noise
    if isinstance(noise, list | tuple):
        checked = checked_noise(noise)
        assert isinstance(checked, NoiseModel | tuple)
        return checked
    if isinstance(noise, str) and noise in ("estimate", AUTO):
        return estimate_noise
    if isinstance(noise, (str, os.PathLike)):
        from photon_gpu.reader.open import open as open_movie

        noise = open_movie(noise, storage_options=storage_options)
    if isinstance(carried := getattr(noise, "noise", None), NoiseModel):
        return carried
    several = getattr(noise, "channel_noise", ())
    if isinstance(several, tuple) and several and all(isinstance(one, NoiseModel) for one in several):
        return several
    if callable(noise):
        return noise
    raise InvalidInputError(
        f"noise is {noise!r}; a NoiseModel, a function of frames that returns one, or an earlier "
        f"movie is needed"
    )


def is_estimate(noise: NoiseOrEstimator) -> bool:
    """Whether :func:`photon_gpu.estimate_noise` will estimate the model."""
    from photon_gpu.estimate import estimate_noise

    return noise is estimate_noise


class Encoder:
    """Encodes chunks on several threads.

    Parameters
    ----------
    config : LiveConfig
    noise : NoiseModel, callable or None
        A callable receives the first ``config.estimate_frames`` frames ``(n, ...)``.
    backend : Backend
    workers : int
    fits : callable, optional
        ``fits(layout)`` raises InvalidInputError if the layout cannot hold frames that were accepted.
    token : str
        Token of the recording; chunks carry it.
    chosen : callable
        ``chosen(layout, chunk_shape)`` is called once, before the first chunk is encoded.
    done : callable
        ``done(chunk_number, frames, records, data)`` is called from any thread.
    released : callable
        ``released(chunk)`` is called once the frames of a chunk are no longer needed.
    failed : callable
        ``failed(error)`` is called if encoding fails.
    noted, warned : callable
        ``noted(text)`` reports something that the owner should know, ``warned(text)`` a problem to solve.
    sample : ChunkSample, optional
        Compares some encoded chunks with their frames.
    """

    def __init__(
        self,
        config: LiveConfig,
        noise: NoiseOrEstimator,
        backend: Backend,
        workers: int,
        *,
        token: str,
        fits: Callable[[Layout], None] | None,
        chosen: Callable[[Layout, tuple[int, ...]], None],
        done: Callable[[int, int, bytes | None, bytes], None],
        released: Callable[[Chunk], None],
        failed: Callable[[BaseException], None],
        on_note: Callable[[str], None],
        warned: Callable[[str], None],
        sample: ChunkSample | None = None,
    ) -> None:
        self._config, self._noise, self._backend, self._token = config, noise, backend, token
        self._fits, self._chosen, self._done, self._released, self._failed = (
            fits,
            chosen,
            done,
            released,
            failed,
        )
        self._on_note, self._warned, self._sample = on_note, warned, sample
        self.attributes: dict[str, Any] = {}  # the part of an estimate that .zattrs keeps
        self._layout: Layout | None = None
        self._chunk = config.chunk()
        self._early: list[Chunk | None] = []
        self._queue: queue.SimpleQueue[Chunk | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._ready = self._deciding = False
        self._encoding = 0  # chunks
        self._over = False
        self._threads = [ServiceThread(f"photon-encode-{i}", self._work) for i in range(workers)]

    def describe(self, layout: Layout, chunk: tuple[int, ...]) -> None:
        """Use the layout of an earlier run instead of tuning."""
        self._layout, self._chunk = layout, chunk
        self._ready = True

    def submit(self, chunk: Chunk | None) -> None:
        """Queue a chunk, or None after the last one; never blocks.

        A caller that was interrupted submits the chunk again: it is encoded once.
        """
        with self._lock:
            if self._ready:
                self._put(chunk)
                return
            if chunk not in self._early:
                self._early.append(chunk)
            frames = sum(early.filled for early in self._early if early is not None)
            needed = self._config.estimate_frames if callable(self._noise) else 1
            if self._deciding or (frames < needed and chunk is not None):
                return
        ServiceThread("photon-tune", self._decide)

    @property
    def busy(self) -> bool:
        """Whether frames wait for this encoder (a chunk or the choice of a layout), not for the store."""
        with self._lock:
            return self._encoding > 0 or (self._deciding and not self._ready)

    def join(self) -> None:
        """Wait until the last chunk is encoded."""
        for thread in self._threads:
            thread.wait()

    def _put(self, chunk: Chunk | None) -> None:
        for _ in self._threads if chunk is None else (0,):
            self._queue.put(chunk)

    def _decide(self) -> None:
        with self._lock:
            if self._deciding:
                return
            self._deciding = True
            early = [one for one in self._early if one is not None]
        try:
            if early:
                layout, shape = self._choose(early)
                self._layout, self._chunk = layout, shape
                self._chosen(layout, shape)
        except BaseException as error:
            self._over = True
            self._failed(error)
        with self._lock:  # chunks that arrived meanwhile keep their order
            for chunk in self._early:
                self._put(chunk)
            self._early = []
            self._ready = True

    def _choose(self, early: list[Chunk]) -> tuple[Layout, tuple[int, ...]]:
        config, first = self._config, early[0]
        # A movie shorter than a chunk has one chunk of its own length, as from photon_gpu.encode.
        frames = first.filled if first.number == 0 else config.frames_per_chunk
        noise, layout = self._noise, config.layout
        refusal = ""
        if callable(noise):
            early_frames = np.concatenate([chunk.values[: chunk.filled] for chunk in early])
            early_frames = early_frames[: config.estimate_frames]
            source = open_source(early_frames, axes=config.axes) if is_estimate(noise) else early_frames
            noise, why, self.attributes = _estimated(noise, source, accept=config.accept_processed)
            if noise is None:
                layout = "lossless"
                refusal = f"no noise model could be estimated ({why}): every bit is kept, layout lossless"
        try:
            tuned = self._tuned(first, layout, noise, frames)
        except InvalidInputError as error:
            if layout == "lossless":
                raise
            # These frames are acknowledged, so store values that cannot be quantized as they are.
            refusal = f"{error}; every bit is kept, layout lossless"
            tuned = self._tuned(first, "lossless", noise, frames)
        if refusal:
            self._on_note(refusal)  # only now, when the check of frames has the layout
        return tuned, config.chunk(frames)

    def _tuned(
        self, first: Chunk, layout: str, noise: NoiseModel | tuple[NoiseModel, ...] | None, frames: int
    ) -> Layout:
        """Choose the settings that make the first chunk smallest; they must hold all frames taken so far."""
        config = self._config
        models = noise if isinstance(noise, tuple) else (noise,)
        if config.stated_peaks and any(one is not None and one.gain < LEAST_GAIN for one in models):
            # These frames are acknowledged, so they are stored without what their model does not allow.
            self._on_note(f"peaks is {config.peaks}, and the gain below {LEAST_GAIN:g}: stored without peaks")
            config = config.replace(peaks=0)
        choice = choose(
            open_source(first.values[: first.filled], axes=config.axes),
            config.encoding_of(noise, layout),
            self._backend,
            config,
            chunk_frames=frames,
        )
        for text in choice.warnings:
            self._warned(text)
        tuned = layout_for(recorded(choice.encoding, self._token), self._backend)
        if self._fits is not None:
            self._fits(tuned)
        return tuned

    def _work(self) -> None:
        stages = Stages()
        while (chunk := self._queue.get()) is not None:
            try:
                with self._lock:
                    if self._over or chunk.encoding:
                        continue
                    chunk.encoding = True
                first = chunk.number * self._config.frames_per_chunk
                values = chunk.values[: chunk.filled]
                self._hold(chunk.number, values)
                data = self._encoded(values, first, stages)
                records = frame_records.pack(first, chunk.records[: chunk.filled])
                number, frames = chunk.number, chunk.filled
                assert self._layout is not None
                if self._sample is not None:
                    skipped = [frame_records.skipped(record) for record in chunk.records[:frames]]
                    lost = spans(np.array(skipped, bool))
                    self._sample.add(number, self._layout, data, self._chunk, first, values, lost=lost)
                del values
                self._released(chunk)
                self._done(number, frames, records, data)
            except BaseException as error:
                self._over = True
                self._failed(error)

    def _encoded(self, values: Any, first: int, stages: Stages) -> bytes:
        assert self._layout is not None
        with self._lock:
            self._encoding += 1
        try:
            return self._layout.encode(values, self._chunk, Resources(stages), first)
        except InvalidInputError as error:
            return self._raw(values, first, error)
        finally:
            with self._lock:
                self._encoding -= 1

    def _raw(self, values: Any, first: int, error: InvalidInputError) -> bytes:
        """Store a chunk unquantized: an earlier release accepted frames that cannot be quantized."""
        assert self._layout is not None
        where = f"frames {first} to {first + len(values) - 1}"
        try:
            data = self._layout.encode_raw(values, self._chunk, first)
        except InvalidInputError as none:
            raise InvalidInputError(f"{where} cannot be stored: {none}") from error
        self._on_note(f"{where} could not be quantized and are stored as they are: {error}")
        return data

    def _hold(self, number: int, values: Any) -> None:
        """Test a stated noise model on chunks 0, 1, 2, 4, 8, ..., since the light may be switched on late."""
        noise, step = self._noise, self._config.step
        if number & (number - 1) or callable(noise) or noise is None or self._config.trust_noise:
            return
        if self._config.layout == "lossless":
            return
        try:
            models = noise if isinstance(noise, tuple) else (noise,)
            frames = open_source(ArraySource(values, name=f"chunk {number}"), axes=self._config.axes)
            severity, text = judge_channels(frames, models, step, advice=_ADVICE)
        except Exception as error:  # a failure of the check must not end a recording
            severity, text = "note", f"the noise model was not checked: {type(error).__name__}: {error}"
        if severity in ("warn", "error"):
            self._warned(text)
        elif severity == "note" and number == 0:
            self._on_note(text)


def _estimated(
    function: Callable[[Any], Any], frames: Any, *, accept: bool
) -> tuple[NoiseModel | tuple[NoiseModel, ...] | None, str, dict[str, Any]]:
    """Return the noise model of a function, or why there is none; an error must not end the recording.

    The last item is the part of the estimate that ``.zattrs`` keeps.
    """
    try:
        estimate = function(frames)
    except Exception as error:
        return None, f"{type(error).__name__}: {error}", {}
    attributes: dict[str, Any] = {}
    if getattr(estimate, "verdict", None) in ("PASS", "WARN", "REFUSE"):
        attributes = {KEY: estimate.summary()}
        if estimate.channels:
            attributes = {CHANNELS_KEY: [channel.summary() for channel in estimate.channels]}
        if estimate.verdict == "REFUSE":
            return None, str(estimate.warnings[0])[:400], attributes
        if estimate.processed and not accept:
            return None, processed(estimate), attributes
        if estimate.processed:
            attributes[ACCEPTED_KEY] = list(estimate.processed)
        if estimate.channels and estimate.models is not None:
            return estimate.models, "", attributes
    several = isinstance(estimate, list | tuple) and bool(estimate)
    if several and all(isinstance(one, NoiseModel) for one in estimate):
        return tuple(estimate), "", attributes
    for candidate in (estimate, getattr(estimate, "model", None), getattr(estimate, "noise", None)):
        if isinstance(candidate, NoiseModel):
            return candidate, "", attributes
    return None, f"it returned {str(estimate)[:200]}", attributes
