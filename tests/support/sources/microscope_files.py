"""Write files of microscopes, NWB and OME-Zarr as their own software does."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pynwb
import scipy.io
from pynwb.image import ImageSeries
from pynwb.ophys import OpticalChannel, TwoPhotonSeries

SCANBOX_LINE_RATE = 7930.0

OME_AXES = [
    {"name": "t", "type": "time", "unit": "millisecond"},
    {"name": "c", "type": "channel"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "micrometer"},
]


def write_ome_zarr(group, movie, *, version="0.5", levels=("full", "half"), axes=OME_AXES):
    """Write an image of two levels, whose first level in the metadata is the last by name."""
    names = {"full": "s1", "half": "s0"}
    scales = {"full": [20.0, 1.0, 0.5, 0.5], "half": [20.0, 1.0, 1.0, 1.0]}
    datasets = [
        {"path": names[level], "coordinateTransformations": [{"type": "scale", "scale": scales[level]}]}
        for level in levels
    ]
    group.create_array("s1", data=movie)
    group.create_array("s0", data=movie[..., ::2, ::2])
    ome = {
        "multiscales": [{"version": version, "axes": axes, "datasets": datasets}],
        "omero": {"channels": [{"label": "GCaMP"}, {"label": "tdTomato"}]},
    }
    group.attrs.update(ome if version == "0.4" else {"ome": {"version": version, **ome}})


def write_thorimage(folder: Path, frames, *, channel, promised, wavelengths=(), streaming="", lsm="") -> Path:
    """Write a raw file and the parts of Experiment.xml that describe it, as ThorImageLS 4 does."""
    names = "".join(f'<Wavelength name="{name}" exposuretimeMS="0" />' for name in wavelengths)
    (folder / "Experiment.xml").write_text(
        '<?xml version="1.0"?>\n<ThorImageExperiment><Software version="4.1.2020.1131" />'
        f'<Wavelengths>{names}</Wavelengths><ZStage name="x" steps="3" stepSizeUM="5" />'
        '<Timelapse timepoints="1" intervalSec="0" />'
        f'<LSM pixelX="16" pixelY="12" channel="{channel}" pixelSizeUM="1.5" frameRate="30.5" {lsm}/>'
        f'<Streaming enable="1" frames="{promised}" rawData="1" {streaming}/></ThorImageExperiment>'
    )
    path = folder / "Image_0001_0001.raw"
    frames.astype("<u2").tofile(path)
    return path


def write_suite2p(folder, movie, **ops):
    ops = {"Ly": 12, "Lx": 16, "nframes": len(movie), "fs": 7.5, "meanImg": movie[0], "path": folder, **ops}
    np.save(folder / "ops.npy", ops)
    movie.tofile(folder / "data.bin")
    return folder / "data.bin"


def write_scanbox(folder, movie, *, inverted=True, **info):
    """Write 65535 minus the values as Scanbox does: channels vary fastest, then columns, rows, frames."""
    path = folder / "scan.sbx"
    stored = 65535 - movie if inverted else movie
    stored.transpose(0, 2, 3, 1).astype("<u2").tofile(path)
    channels = {1: 2, 2: 1}[movie.shape[1]]  # 1: both, 2: the first, 3: the second
    fields = {
        "sz": [12.0, 16.0],
        "recordsPerBuffer": 12,
        "channels": channels,
        "scanmode": 1,
        "resfreq": SCANBOX_LINE_RATE,
    }
    scipy.io.savemat(folder / "scan.mat", {"info": {"scanmode": 1, **fields, **info}})
    return path


def write_nwb(path, **series):
    """Write series by name; their data are arrays or names of files."""
    nwb = pynwb.NWBFile(
        session_description="session",
        identifier="id",
        session_start_time=datetime(2024, 1, 1, tzinfo=UTC),
    )
    device = nwb.create_device("microscope")
    plane = nwb.create_imaging_plane(
        name="plane",
        optical_channel=OpticalChannel(name="green", description="-", emission_lambda=500.0),
        description="-",
        device=device,
        excitation_lambda=920.0,
        indicator="GCaMP",
        location="V1",
        imaging_rate=30.0,
    )
    for name, data in series.items():
        if isinstance(data, list):
            where = {"external_file": data, "starting_frame": [0] * len(data), "format": "external"}
            made = ImageSeries(name=name, **where, rate=30.0, unit="n.a.", num_samples=20)
        else:
            made = TwoPhotonSeries(name=name, data=data, imaging_plane=plane, unit="n.a.", rate=30.0)
        nwb.add_acquisition(made)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(nwb)
    return path
