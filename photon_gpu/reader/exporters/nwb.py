"""Write a stored movie as an NWB file: one image series for each channel."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any

import h5py
import numpy as np

from photon_gpu.errors import InvalidInputError
from photon_gpu.reader.depth_last_channel import series_axes
from photon_gpu.reader.exporters.frames_to_export import ExportJob
from photon_gpu.reader.exporters.hdf5 import (
    Target,
    compression,
    disk_errors,
    frame_chunks,
    recording_attributes,
    refuse_special,
)
from photon_gpu.recording import Recording
from photon_gpu.sources.hdf5.recording import MARK, content_mark

_TWO_PHOTON = ("scanimage", "experiment.xml", "twophotonseries")
_UNITS = {"µm": 1e-6, "nm": 1e-9, "mm": 1e-3, "m": 1.0, "meters": 1.0}


def write_nwb(job: ExportJob, file: IO[bytes]) -> None:
    """Write a TwoPhotonSeries if the source was a two-photon microscope, else an ImageSeries.

    Raises
    ------
    InvalidInputError
        pynwb is not installed, or the axes are not those of an NWB series.
    """
    try:
        import pynwb
    except ImportError as error:
        raise InvalidInputError(
            f'pynwb is needed to write .nwb: pip install "photon-gpu[nwb]"; or decode to .h5 ({error})'
        ) from error
    refuse_special(file)
    recording = job.movie.recording
    axes = series_axes(recording.axes, job.shape)
    if recording.timestamps is not None and not np.isfinite(recording.timestamps).all():
        job.not_written(["times, since some are not known"], ".h5 and .zarr hold them")
    channels = job.shape[axes.index("c")] if "c" in axes else 1
    nwb = pynwb.NWBFile(
        session_description=f"decoded by photon_gpu from {job.movie.url}; the start of the session is not "
        "known, and 1970-01-01 stands for it",
        identifier=job.movie.url,
        session_start_time=datetime(1970, 1, 1, tzinfo=UTC),
    )
    make = _maker(pynwb, nwb, recording, channels)
    shape = _series_shape(job, axes)
    for channel in range(channels):
        with quiet():
            data = pynwb.H5DataIO(
                shape=shape,
                dtype=job.dtype,
                chunks=frame_chunks(shape, job.dtype),
                allow_plugin_filters=True,  # hdmf needs this for filters that h5py does not include
                **compression(),
            )
        unit = "ADU" if job.counts else "sigma"
        nwb.add_acquisition(
            make(channel, data=data, unit=unit, **series_times(recording, job.first, job.end))
        )
    for document in recording.documents:
        nwb.add_scratch(
            np.frombuffer(document.data, np.uint8),
            name=nwb_name(document.name),
            description=f"{document.name} ({document.media_type}) of the source, its bytes",
        )
    with disk_errors(file.name), Target(file.name) as target:
        with quiet(), h5py.File(target, "w") as hdf5, pynwb.NWBHDF5IO(file=hdf5, mode="w") as io:
            io.write(nwb)
            datasets = [series.data.dataset for series in nwb.acquisition.values()]
            position = 0
            for block in job.aligned():
                parts = np.moveaxis(block, axes.index("c"), 0) if "c" in axes else block[np.newaxis]
                for dataset, part in zip(datasets, parts, strict=True):
                    values = np.moveaxis(part, 1, -1) if "z" in axes else part
                    dataset[position : position + len(block)] = values
                target.check()
                position += len(block)
        with h5py.File(target, "r+") as hdf5:
            for number, name in enumerate(nwb.acquisition):  # NWB has no fields for these
                names = recording.channel_names
                own = recording.replace(channel_names=names[number : number + 1] if "c" in axes else names)
                attributes = hdf5[f"acquisition/{name}/data"].attrs
                attributes.update(recording_attributes(own))
                if recording.rois:
                    attributes["rois"] = json.dumps(list(recording.rois))
            for document in recording.documents:
                attributes = hdf5[f"scratch/{nwb_name(document.name)}"].attrs
                attributes["name"], attributes["media_type"] = document.name, document.media_type
            for name in nwb.acquisition:
                dataset = hdf5[f"acquisition/{name}/data"]
                dataset.attrs[MARK] = content_mark(dataset)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress pynwb's warnings on the temporary name of the file and on filters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def nwb_name(text: str) -> str:
    """Convert a text to a name that NWB allows."""
    return text.replace("/", "_").replace(":", "_")


def _series_shape(job: ExportJob, axes: str) -> tuple[int, ...]:
    """Shape of one channel; NWB stores depth last."""
    sizes = dict(zip(axes, job.shape, strict=True))
    return tuple(sizes[axis] for axis in "tyxz" if axis in sizes)


def series_times(recording: Recording, first: int, end: int) -> dict[str, Any]:
    """Arguments of a series that say when its frames were taken: timestamps, or the rate."""
    times = recording.timestamps
    if times is not None and np.isfinite(times).all():
        return {"timestamps": np.asarray(times[first:end])}
    if recording.frame_rate is not None:
        return {"rate": recording.frame_rate, "starting_time": first / recording.frame_rate}
    frames = np.arange(first, end, dtype=np.float64)
    return {"timestamps": frames, "comments": "no rate is known: timestamps are the numbers of frames"}


def imaging_plane(pynwb: Any, recording: Recording, device: Any, *, name: str, channel: str) -> Any:
    """ImagingPlane with what is known of a recording; the rest is NaN and ``"unknown"``."""
    spacing = [recording.pixel_size[axis] for axis in "xyz" if axis in recording.pixel_size]
    grid = [size * _UNITS[unit] for size, unit in spacing if unit in _UNITS]
    return pynwb.ophys.ImagingPlane(
        name=name,
        optical_channel=pynwb.ophys.OpticalChannel(
            name=channel or "OpticalChannel", description="unknown", emission_lambda=float("nan")
        ),
        description="unknown",
        device=device,
        excitation_lambda=float("nan"),
        indicator="unknown",
        location="unknown",
        imaging_rate=recording.frame_rate,
        **({"grid_spacing": grid, "grid_spacing_unit": "meters"} if len(grid) > 1 else {}),
    )


def _maker(pynwb: Any, nwb: Any, recording: Recording, channels: int) -> Callable[..., Any]:
    """Return the function that makes the series of a channel."""
    names = recording.channel_names if len(recording.channel_names) == channels else ()

    def named(prefix: str, channel: int) -> str:
        name = names[channel] if names else str(channel) if channels > 1 else ""
        return f"{prefix}{nwb_name(name)}"

    texts = [document.name.lower() + str(document.data[:1000]).lower() for document in recording.documents]
    if not any(word in text for word in _TWO_PHOTON for text in texts):
        return lambda channel, **data: pynwb.image.ImageSeries(name=named("ImageSeries", channel), **data)
    device = nwb.create_device(name="Microscope")

    def make(channel: int, **data: Any) -> Any:
        label = names[channel] if names else ""
        plane = imaging_plane(pynwb, recording, device, name=named("ImagingPlane", channel), channel=label)
        nwb.add_imaging_plane(plane)
        return pynwb.ophys.TwoPhotonSeries(
            name=named("TwoPhotonSeries", channel), imaging_plane=plane, **data
        )

    return make
